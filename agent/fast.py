"""Recommendations by the student alone: no index, no encoder and no language model is loaded, nor torch."""

import time
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from agent.request import Answer, Request
from agent.settings import Settings
from agent.shaping_stage import Chosen, Ordered, ShapingStage
from agent.stored_student import STUDENT, StoredStudent, current_student, serves
from retrieval.cf.rounding import TablePrecision
from retrieval.cf.student import Student
from retrieval.data.events import History
from retrieval.data.histories import Histories
from retrieval.data.titles import TitleMatcher
from retrieval.data.workspace import Workspace
from retrieval.errors import InputError, ModelError, WorkspaceError, command
from retrieval.ranking import Floats


class FastRecommender:
    """Answers requests from one workspace by its student."""

    def __init__(self, workspace: Workspace, settings: Settings):
        """Load the student; raises what `serving_student` raises."""
        self._workspace = workspace
        self._settings = settings
        self._stored = serving_student(workspace, settings.student.precision)
        self._items = tuple(sorted(workspace.catalog.ids))
        self._shaping = ShapingStage(workspace)

    def recommend(self, request: Request) -> Answer:
        """Recommend at most ``request.k`` items for a history, likes, or both.

        Raises:
            InputError: unknown user or title, a query, nothing to go on, a filter that no item fits, or items that
                cannot be pinned or calibrated by.
            WorkspaceError: the events cannot be read.
        """
        if request.query.strip():
            raise InputError("--mode fast reads no words; leave --mode out for a --query")
        start, answer = time.perf_counter(), Answer([])
        chosen = Chosen.of(request, lambda: self._titles)
        history, named = self._history(request)
        if len(history) == 0:
            raise InputError(request.nothing_to_go_on)
        self._shaping.check(chosen, history)
        histories = Histories.of([history], self._items)
        left_out = tuple(history.excluded(had=request.exclude_seen) | set(named.items))
        excluded = Histories.of([History(left_out, (1.0,) * len(left_out))], self._items)
        found = self._stored.student.recommend(
            histories,
            request.shaping.pool(request.k),
            exclude=excluded.values,
            candidates=self._candidates(request, chosen.banned),
        )
        if found.lengths[0] == 0:
            raise InputError("no item is left to recommend: every one is filtered out or was seen (--include-seen)")
        stages = {item_id: {Student.name: score} for item_id, score in found.row(0)}
        ordered = Ordered(found, stages, (Student.name,))
        self._shaping.fill(answer, ordered, request, chosen, history, self._vectors)
        answer.notes += self._notes()
        answer.seconds[Student.name] = time.perf_counter() - start
        return answer

    def _notes(self) -> list[str]:
        root = self._workspace.root
        notes = []
        made = self._stored.made
        if "transferred" in made:
            notes.append(f"no teacher has taught it; what serves is {serves(made)}")
        elif not made["validation"]["proven"]:
            notes.append("the untaught twin of the student serves: validation did not prove that teaching helps")
        if made["events"] != self._workspace.events_fingerprint:
            again = f"{command('label', root)} && {command('distill', root)}"
            again = made["command"] if "transferred" in made else again
            notes.append(f"the student was taught on other events than there are now; renew it: {again}")
        return notes

    def _history(self, request: Request) -> tuple[History, History]:
        """What is known of the person, the likes of the request as the newest; and these likes alone."""
        named = tuple(dict.fromkeys(self._titles.find(title) for title in request.likes))
        likes = History(named, (self._settings.events.liked_from,) * len(named))
        return (self._workspace.history(request.user) if request.user is not None else History((), ())).then(
            likes
        ), likes

    @cached_property
    def _titles(self) -> TitleMatcher:
        return TitleMatcher(self._workspace.catalog)

    def _vectors(self, ids: Sequence[str]) -> Floats:
        """(n, d) of length 1, what the student knows of items: the index with their text is not opened here."""
        vectors = self._stored.student.vectors[np.searchsorted(self._items, ids)]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0))

    def _candidates(self, request: Request, banned: frozenset[str]) -> NDArray[np.bool_] | None:
        allowed = np.array([item_id not in banned for item_id in self._items]) if banned else None
        if not request.where:
            return allowed
        from retrieval.text.filters import compile_where, fitting  # a grammar that most requests do without

        catalog = self._workspace.catalog
        fits = fitting(catalog, compile_where(request.where, catalog))
        fits = fits[[catalog.row(item_id) for item_id in self._items]]
        return fits if allowed is None else fits & allowed


def serving_student(workspace: Workspace, precision: TablePrecision = "float32") -> StoredStudent:
    """The student that serves in a workspace, from its tables in this precision.

    Raises:
        ModelError: there is none, or it is damaged.
        WorkspaceError: it was made for other items.
    """
    found = current_student(workspace.root / STUDENT, precision)
    if found is None:
        raise ModelError(
            f"there is no student to serve; make one with: {command('label', workspace.root)} && "
            f"{command('distill', workspace.root)}"
        )
    if found.catalog != workspace.catalog_fingerprint:
        raise WorkspaceError(
            "the student was made for other items than the catalog has now; run: "
            f"{command('label', workspace.root)} && {command('distill', workspace.root)}"
        )
    return found
