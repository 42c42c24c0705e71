"""What the items of a history do for the score of another item: the score with one of them less that without it."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from retrieval.cf.student import Student
from retrieval.data.events import History
from retrieval.data.histories import Histories
from retrieval.ranking import Floats
from retrieval.text.profile import SHARPNESS

LOOKED_AT = 50  # items of a history whose effect is computed, at most


class Attribution(Protocol):
    """Tells what items of a history do for an item."""

    def effects(self, item_id: str, history: History, among: Sequence[str]) -> dict[str, float]:
        """By item id, ``s(history, item) − s(history without it, item)`` for the strongest of ``among``.

        ``among``: items of the history, at least one, none of them the item itself.
        """


class StudentAttribution:
    """By the student's scores, which are computed anew without each of the items: exact, whatever the history."""

    def __init__(self, student: Student, items: Sequence[str]):
        """``items``: those of the student's rows."""
        self._student = student
        self._items = tuple(items)
        self._column = {item_id: column for column, item_id in enumerate(items)}

    def effects(self, item_id: str, history: History, among: Sequence[str]) -> dict[str, float]:
        """As `Attribution`."""
        column, others = self._column[item_id], np.array([self._column[other] for other in among])
        shares = self._student.parts[others] @ self._student.vectors[column]
        strongest = np.argsort(-shares, kind="stable")[:LOOKED_AT]
        without = [history.without(among[place]) for place in strongest]
        scores = self._student.score(Histories.of([history, *without], self._items), np.array([column]))[:, 0]
        return {among[place]: float(scores[0] - less) for place, less in zip(strongest, scores[1:], strict=True)}


class TextAttribution:
    """By the soft maximum of the cosines of texts, as the text alone ranks (`Interest.score`)."""

    def __init__(self, vectors: Callable[[Sequence[str]], Floats]):
        """``vectors`` gives the text vectors (n, d) of item ids."""
        self._vectors = vectors

    def effects(self, item_id: str, history: History, among: Sequence[str]) -> dict[str, float]:  # noqa: ARG002
        """As `Attribution`; of the history, the text knows ``among`` alone."""
        vectors = self._vectors([item_id, *among]).astype(np.float64)
        cosines = vectors[1:] @ vectors[0]
        if len(among) == 1:
            return {among[0]: float(cosines[0])}
        weights = np.exp(SHARPNESS * cosines)
        with_all, without = np.log(weights.mean()), np.log((weights.sum() - weights) / (len(among) - 1))
        effects = (with_all - without) / SHARPNESS
        strongest = np.argsort(-effects, kind="stable")[:LOOKED_AT]
        return {among[place]: float(effects[place]) for place in strongest}
