"""What the items of a history do for the score of another item: the score with one of them less that without it."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.cf.student import Student
from retrieval.data.events import History
from retrieval.data.histories import Histories
from retrieval.ranking import Floats
from retrieval.text.scorers import SoftKnnConfig
from retrieval.text.spread import Spread

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
    """By the closeness of texts, as the text alone ranks (`Interest.score`)."""

    def __init__(
        self,
        vectors: Callable[[Sequence[str]], Floats],
        spread: Callable[[], Spread],
        config: SoftKnnConfig,
    ):
        """``vectors`` gives the text vectors (n, d) of item ids, ``spread`` tells how far all of them spread."""
        self._vectors = vectors
        self._spread = spread
        self._config = config

    def effects(self, item_id: str, history: History, among: Sequence[str]) -> dict[str, float]:
        """As `Attribution`; items of the history that are not ``among`` it count as not liked."""
        config, count = self._config, len(among)
        left_out = {*among, item_id, *history.never}
        others = [one for one in history.items if one not in left_out]
        vectors = self._vectors([item_id, *among, *others])
        item, had = vectors[0], vectors[1:]
        weights = np.full(len(had), 1 if config.positive_from is None else config.weak, dtype=np.float32)
        weights[:count] = 1
        whole = weights @ had
        towards = self._spread().towards(np.stack([whole, *(whole - had[:count])]), config.flat) @ item
        anchors = had if config.positive_from is None else had[:count]
        effects = _nearest(anchors @ item, config.sharpness)[:count] + config.lean * (towards[0] - towards[1:])
        strongest = np.argsort(-effects, kind="stable")[:LOOKED_AT]
        return {among[place]: float(effects[place]) for place in strongest}


def _nearest(cosines: Floats, sharpness: float) -> NDArray[np.float64]:
    """(n,) what the soft maximum of cosines is less without each of them."""
    weights = np.exp(sharpness * cosines.astype(np.float64))
    if len(cosines) == 1:
        return cosines.astype(np.float64)
    with_all, without = np.log(weights.mean()), np.log((weights.sum() - weights) / (len(weights) - 1))
    return np.asarray((with_all - without) / sharpness)
