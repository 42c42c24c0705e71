"""Augmentation: how a history or a text is seen once, changed by chance; the same generator gives the same changes.

Ranker, student and pre-training see histories through these transforms, the encoder sees texts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from retrieval.data.histories import Histories, sparse
from retrieval.ranking import Columns, Floats

BLOCK = 1_024
Seen = TypeVar("Seen")


@dataclass(frozen=True)
class Sight:
    """A history as it is seen. columns: (n,) its items in order, the latest last, each once.

    places: (n,) where each of them, or what it stands for, is in the whole history.
    """

    columns: NDArray[np.int64]
    places: NDArray[np.int64]

    @classmethod
    def of(cls, columns: NDArray[np.int64]) -> "Sight":
        """The whole of it."""
        return cls(columns, np.arange(len(columns)))

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> "Sight":
        """Some of it, in this order."""
        return Sight(self.columns[rows], self.places[rows])


Transform = Callable[[Sight, np.random.Generator], Sight]


@dataclass(frozen=True)
class Compose(Generic[Seen]):
    """One transform after the other."""

    transforms: tuple[Callable[[Seen, np.random.Generator], Seen], ...]

    def __call__(self, seen: Seen, rng: np.random.Generator) -> Seen:
        """What the last one makes of it."""
        for transform in self.transforms:
            seen = transform(seen, rng)
        return seen


@dataclass(frozen=True)
class Mask:
    """Each item is left out with the probability ``share``; the whole history is kept where nothing would be left."""

    share: float

    def __call__(self, sight: Sight, rng: np.random.Generator) -> Sight:
        """It draws one number for each item."""
        keep = rng.random(len(sight.columns)) >= self.share
        return sight.take(keep) if keep.any() else sight


@dataclass(frozen=True)
class Crop:
    """With the probability ``share`` a piece of at least ``shortest`` items in a row, its length and place by chance.

    No piece, and no history that stays whole otherwise, is longer than ``longest``; None: as long as it is. latest: the
    piece is the end of the history. A shorter history than ``shortest`` stays as it is.
    """

    shortest: int = 1
    longest: int | None = None
    share: float = 1.0
    latest: bool = False

    def __call__(self, sight: Sight, rng: np.random.Generator) -> Sight:
        """A piece of it."""
        count = len(sight.columns)
        most = max(self.shortest, count) if self.longest is None else self.longest
        if rng.random() < self.share:
            most = int(rng.integers(self.shortest, most + 1))
        if most >= count:
            return sight
        start = count - most if self.latest else int(rng.integers(count - most + 1))
        return sight.take(slice(start, start + most))


@dataclass(frozen=True)
class Reorder:
    """A piece of ``share`` of the history, at a place by chance, is shuffled."""

    share: float

    def __call__(self, sight: Sight, rng: np.random.Generator) -> Sight:
        """The same items."""
        count = len(sight.columns)
        length = round(self.share * count)
        start = int(rng.integers(count - length + 1))
        rows = np.arange(count)
        rows[start : start + length] = rng.permutation(rows[start : start + length])
        return sight.take(rows)


@dataclass(frozen=True, eq=False)
class Substitute:
    """Each item gives way, with the probability ``share``, to one of its row in ``neighbours`` (m, k), -1 for none.

    An item stays where its neighbour is in the history already.
    """

    neighbours: Columns
    share: float

    def __call__(self, sight: Sight, rng: np.random.Generator) -> Sight:
        """As many items at the same places."""
        chosen = np.flatnonzero(rng.random(len(sight.columns)) < self.share)
        drawn = rng.integers(self.neighbours.shape[1], size=len(chosen))
        columns, there = sight.columns.copy(), set(sight.columns.tolist())
        for row, place in zip(chosen.tolist(), drawn.tolist(), strict=True):
            other = int(self.neighbours[columns[row], place])
            if other >= 0 and other not in there:
                there.add(other)
                columns[row] = other
        return Sight(columns, sight.places)


@dataclass(frozen=True)
class TextDropout:
    """Each word of a text is left out with the probability ``share``; the text stays where no word would be left."""

    share: float

    def __call__(self, text: str, rng: np.random.Generator) -> str:
        """The words that are kept, in their order."""
        words = text.split()
        keep = rng.random(len(words)) >= self.share
        if keep.all() or not keep.any():
            return text
        return " ".join(word for word, kept in zip(words, keep, strict=True) if kept)


def seen(histories: Histories, transform: Transform, rng: np.random.Generator) -> Histories:
    """Each history as it is seen once, by column; a substitute has the value of the item that it stands for."""
    values = histories.values
    sights = [
        transform(Sight.of(values.indices[start:end].astype(np.int64)), rng)
        for start, end in zip(values.indptr[:-1], values.indptr[1:], strict=True)
    ]
    if not sights:
        return histories
    rows = np.repeat(np.arange(len(histories)), [len(sight.columns) for sight in sights])
    columns = np.concatenate([sight.columns for sight in sights])
    kept = values.data[np.concatenate([sight.places for sight in sights]) + values.indptr[rows]]
    return Histories(histories.users, histories.items, sparse(rows, columns, kept, shape=values.shape))


def nearest(vectors: Floats, among: NDArray[np.bool_], k: int) -> Columns:
    """(m, k) for each item of ``vectors`` (m, d) the others with the highest cosine, -1 beyond those there are.

    ``among`` (m,): which items can be neighbours, and have some.
    """
    known = np.flatnonzero(among)
    lengths = np.linalg.norm(vectors[known], axis=1, keepdims=True)
    unit = np.divide(vectors[known], lengths, out=np.zeros_like(vectors[known]), where=lengths > 0)
    most = min(k, max(0, len(known) - 1))
    found = np.full((len(vectors), k), -1, dtype=np.int64)
    for start in range(0, len(known) if most else 0, BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(known)))
        cosines = unit[rows] @ unit.T
        cosines[np.arange(len(rows)), rows] = -np.inf
        found[known[rows], :most] = known[np.argsort(-cosines, axis=1, kind="stable")[:, :most]]
    return found
