"""The stage that shapes a list: what is weighed beside the scores, and what is pinned before all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agent.request import Answer, Recommended, Request
from retrieval import shaping
from retrieval.data.crowd import users_of
from retrieval.data.events import History
from retrieval.data.mixes import check_field, main_field, mixes
from retrieval.data.titles import TitleMatcher
from retrieval.data.workspace import Workspace
from retrieval.errors import InputError, command
from retrieval.ranking import Floats, Rankings
from retrieval.shaping import Shaping

PINNED = "pin"


@dataclass(frozen=True)
class Chosen:
    """The items, by id, that stand first in this order, and those that never stand in a list."""

    pinned: tuple[str, ...] = ()
    banned: frozenset[str] = frozenset()

    @classmethod
    def of(cls, request: Request, titles: Callable[[], TitleMatcher]) -> "Chosen":
        """What the request names; ``titles`` is asked for only if it names any.

        Raises:
            InputError: an unknown title, an item that is pinned and banned, or more pins than the list has places.
        """
        if not request.pin and not request.ban:
            return cls()
        find = titles().find
        pinned = tuple(dict.fromkeys(find(title) for title in request.pin))
        banned = frozenset(find(title) for title in request.ban)
        if both := [item_id for item_id in pinned if item_id in banned]:
            raise InputError(f"item {both[0]!r} is pinned and banned; leave one of --pin and --ban out")
        if len(pinned) > request.k:
            raise InputError(f"{len(pinned)} items are pinned in a list of {request.k}; raise -k")
        return cls(pinned, banned)


@dataclass(frozen=True)
class Ordered:
    """Candidates of one request in order, what each stage gave them, and which stages had a say."""

    found: Rankings
    stages: dict[str, dict[str, float]]
    by: tuple[str, ...]


class ShapingStage:
    """Makes the rows of an answer."""

    def __init__(self, workspace: Workspace, had: Mapping[str, int] | None = None):
        """``had``: how many users had each item that somebody had, None for those of all events."""
        self._workspace = workspace
        self._had = had

    def check(self, chosen: Chosen, history: History) -> None:
        """Make sure that a person may be shown what is pinned.

        Raises:
            InputError: they disliked or hid it, so it is never recommended to them, which is a promise.
        """
        for item_id in chosen.pinned:
            if item_id in history.never:
                label = self._workspace.catalog.label(item_id)
                listed = command("feedback list", self._workspace.root)
                raise InputError(
                    f"this user disliked or hid {label}, which is never recommended to them; leave --pin out, or take "
                    f"that back: {listed} shows it, and whyrec feedback undo takes the last one back"
                )

    def fill(
        self,
        answer: Answer,
        ordered: Ordered,
        request: Request,
        chosen: Chosen,
        history: History,
        vectors: Callable[[Sequence[str]], Floats],
    ) -> None:
        """Give the answer its rows: the steps in the order of `shaping.STEPS`, then the pins, then the cut at k.

        vectors: of items, by id. A note tells of a step that has nothing to go by.

        Raises:
            InputError: the catalog has no field to calibrate by.
        """
        found, by = self._shaped(answer, ordered, request, history, vectors)
        given, label = dict(found.row(0)), self._workspace.catalog.label
        by |= dict.fromkeys(chosen.pinned, (PINNED,))
        listed = list(dict.fromkeys([*chosen.pinned, *given]))[: request.k]
        answer.rows = [
            Recommended(place, one, label(one), given.get(one), ordered.stages.get(one, {}), by[one])
            for place, one in enumerate(listed, start=1)
        ]
        if len(answer.rows) < request.k:
            answer.notes.append(f"only {len(answer.rows)} of {request.k} items could be found")

    def _shaped(
        self,
        answer: Answer,
        ordered: Ordered,
        request: Request,
        history: History,
        vectors: Callable[[Sequence[str]], Floats],
    ) -> tuple[Rankings, dict[str, tuple[str, ...]]]:
        """The list after all steps, and what had a say in the place of each item; stages get the value of each step."""
        found, by = ordered.found, {item_id: ordered.by for item_id, _ in ordered.found.row(0)}
        asked = request.shaping
        for step in asked.steps:
            before = found
            found = self._step(step, before, asked, history, vectors)
            if found is before:
                answer.notes.append(f"{step} changed nothing: the history's items have no {self._field(asked)}")
                continue
            if step == "explore":
                found, marked = found.first(max(request.k, shaping.POOL)), _lifted(before, found)
            else:
                marked = frozenset(by)
            by |= {item_id: (*by[item_id], step) for item_id in marked}
            for item_id, value in found.row(0):
                ordered.stages[item_id][step] = value
        return found, by

    def _step(
        self,
        step: str,
        found: Rankings,
        asked: Shaping,
        history: History,
        vectors: Callable[[Sequence[str]], Floats],
    ) -> Rankings:
        """The list after a step; the very list where the step has nothing to go by."""
        ids, strength = [item_id for item_id, _ in found.row(0)], getattr(asked, step)
        if step == "diversity":
            return shaping.diversified(found, vectors(ids)[None], strength)
        if step == "calibrated":
            shares = mixes(self._workspace.catalog, self._field(asked), [*ids, *history.items])
            wanted = shares[len(ids) :].sum(axis=0)
            if not wanted.any():
                return found
            return shaping.calibrated(found, shares[None, : len(ids)], (wanted / wanted.sum())[None], strength)
        had = users_of(self._workspace, ids) if self._had is None else self._had
        users = np.array([[had.get(item_id, 0) for item_id in ids]], dtype=np.int64)
        if step == "novelty":
            return shaping.damped(found, users, strength)
        return shaping.explored(found, users, strength, asked.seed)

    def _field(self, asked: Shaping) -> str:
        catalog = self._workspace.catalog
        return check_field(catalog, asked.field) if asked.field else main_field(catalog)


def _lifted(before: Rankings, after: Rankings) -> frozenset[str]:
    """The items that stand higher than before."""
    place = {item_id: number for number, (item_id, _) in enumerate(before.row(0))}
    return frozenset(item_id for number, (item_id, _) in enumerate(after.row(0)) if number < place[item_id])
