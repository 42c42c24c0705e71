"""Recommendations by the student alone: no index, no encoder and no language model is loaded, nor torch."""

import time

import numpy as np
from numpy.typing import NDArray

from agent.request import Answer, Recommended, Request
from agent.settings import Settings
from agent.stored_student import STUDENT, StoredStudent, current_student
from retrieval.cf.student import Student
from retrieval.data.events import History
from retrieval.data.histories import Histories
from retrieval.data.titles import TitleMatcher
from retrieval.data.workspace import Workspace
from retrieval.errors import InputError, ModelError, WorkspaceError, command


class FastRecommender:
    """Answers requests from one workspace by its student."""

    def __init__(self, workspace: Workspace, settings: Settings):
        """Load the student; raises what `serving_student` raises."""
        self._workspace = workspace
        self._settings = settings
        self._stored = serving_student(workspace)
        self._items = tuple(sorted(workspace.catalog.ids))

    def recommend(self, request: Request) -> Answer:
        """Recommend at most ``request.k`` items for a history, likes, or both.

        Raises:
            InputError: unknown user or title, a query, nothing to go on, or a filter that no item fits.
            WorkspaceError: the events cannot be read.
        """
        if request.query.strip():
            raise InputError("--mode fast reads no words; leave --mode out for a --query")
        start, answer = time.perf_counter(), Answer([])
        catalog = self._workspace.catalog
        history, named = self._history(request)
        if len(history) == 0:
            raise InputError(request.nothing_to_go_on)
        histories = Histories.of([history], self._items)
        left_out = tuple(history.excluded(had=request.exclude_seen) | set(named.items))
        excluded = Histories.of([History(left_out, (1.0,) * len(left_out))], self._items)
        found = self._stored.student.recommend(
            histories, request.k, exclude=excluded.values, candidates=self._candidates(request)
        )
        answer.rows = [
            Recommended(place, item_id, catalog.label(item_id), score, {Student.name: score}, (Student.name,))
            for place, (item_id, score) in enumerate(found.row(0), start=1)
        ]
        if not answer.rows:
            raise InputError("no item is left to recommend: every one is filtered out or was seen (--include-seen)")
        if len(answer.rows) < request.k:
            answer.notes.append(f"only {len(answer.rows)} of {request.k} items could be found")
        answer.notes += self._notes()
        answer.seconds[Student.name] = time.perf_counter() - start
        return answer

    def _notes(self) -> list[str]:
        root = self._workspace.root
        notes = []
        if not self._stored.made["validation"]["proven"]:
            notes.append("the untaught twin of the student serves: validation did not prove that teaching helps")
        if self._stored.made["events"] != self._workspace.events_fingerprint:
            again = f"{command('label', root)} && {command('distill', root)}"
            notes.append(f"the student was taught on other events than there are now; renew it: {again}")
        return notes

    def _history(self, request: Request) -> tuple[History, History]:
        """What is known of the person, the likes of the request as the newest; and these likes alone."""
        titles = TitleMatcher(self._workspace.catalog) if request.likes else None
        named = tuple(dict.fromkeys(titles.find(title) for title in request.likes)) if titles else ()
        likes = History(named, (self._settings.events.liked_from,) * len(named))
        return (self._workspace.history(request.user) if request.user is not None else History((), ())).then(
            likes
        ), likes

    def _candidates(self, request: Request) -> NDArray[np.bool_] | None:
        if not request.where:
            return None
        from retrieval.text.filters import compile_where, fitting  # a grammar that most requests do without

        catalog = self._workspace.catalog
        fits = fitting(catalog, compile_where(request.where, catalog))
        return fits[[catalog.row(item_id) for item_id in self._items]]


def serving_student(workspace: Workspace) -> StoredStudent:
    """The student that serves in a workspace.

    Raises:
        ModelError: there is none, or it is damaged.
        WorkspaceError: it was made for other items.
    """
    found = current_student(workspace.root / STUDENT)
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
