"""Several scorers as one: what each finds is a candidate, and a strategy orders the candidates."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from retrieval.cf.scorer import AT_ONCE, Scorer, System, mask
from retrieval.cf.stack import Stack
from retrieval.data.histories import Histories
from retrieval.errors import ModelError
from retrieval.fusion import Present, borda, cascade, rrf, weighted
from retrieval.ranking import Columns, Floats, Top, top

Strategy = Literal["single", "weighted", "cascade", "borda", "rrf", "stacked"]
SINGLE: Strategy = "single"  # the best scorer alone: what the others must beat
STRATEGIES: tuple[Strategy, ...] = ("weighted", "cascade", "borda", "rrf", "stacked")
POOL = 100  # candidates that each scorer brings


@dataclass(frozen=True)
class Candidates:
    """What several scorers found for n users.

    columns: (n, c), -1 where there is none; each item once in a row. scores: (s, n, c), what each scorer gives every
    candidate, whoever found it. lengths: (n,) the number of items of each history. found: (s, n, c) who found it; None
    when all that are here should be ordered.
    """

    columns: Columns
    scores: Floats
    lengths: NDArray[np.int64]
    found: NDArray[np.bool_] | None = None

    @classmethod
    def joined(cls, parts: Sequence["Candidates"]) -> "Candidates":
        """Those of several groups of users below each other; lists are filled up to the longest."""
        found = [part.found for part in parts if part.found is not None]
        return cls(
            joined_lists([part.columns for part in parts], -1),
            joined_lists([part.scores for part in parts]),
            np.concatenate([part.lengths for part in parts]),
            joined_lists(found) if len(found) == len(parts) else None,
        )

    @property
    def present(self) -> Present:
        """(n, c) where there is a candidate."""
        return self.columns >= 0

    def present_for(self, places: Sequence[int]) -> Present:
        """(n, c) where there is one that any of these scorers found."""
        return self.present if self.found is None else np.logical_or.reduce(self.found[list(places)])


@dataclass(frozen=True)
class Fusion:
    """A strategy with its constants, for ``scorers`` in this order.

    weights: for ``weighted`` one for each scorer, for ``single`` 1 for that one and 0 for the others. pair, cut: for
    ``cascade``, which scorer cuts, which orders, and how many it leaves. stack: for ``stacked``.
    """

    strategy: Strategy
    scorers: tuple[str, ...]
    weights: tuple[float, ...] = ()
    pair: tuple[str, str] = ("", "")
    cut: int = POOL
    stack: Stack | None = None

    @property
    def used(self) -> tuple[str, ...]:
        """The scorers that have a say."""
        if self.strategy in (SINGLE, "weighted"):
            return tuple(name for name, weight in zip(self.scorers, self.weights, strict=True) if weight > 0)
        if self.strategy == "cascade":
            return tuple(name for name in self.scorers if name in self.pair)
        return self.scorers

    @property
    def constants(self) -> dict[str, Any]:
        """What was chosen for it, as plain data."""
        if self.strategy in (SINGLE, "weighted"):
            return {name: weight for name, weight in zip(self.scorers, self.weights, strict=True) if weight > 0}
        if self.strategy == "cascade":
            return {"cut by": self.pair[0], "to": self.cut, "ordered by": self.pair[1]}
        return {}

    def fuse(self, candidates: Candidates) -> Floats:
        """(n, c) the fused score of each candidate that a scorer with a say found, ``-inf`` elsewhere."""
        scores, present = candidates.scores, candidates.present_for([self.scorers.index(name) for name in self.used])
        if self.strategy in (SINGLE, "weighted"):
            return weighted(scores, self.weights, present)
        if self.strategy == "cascade":
            cheap, dear = (scores[self.scorers.index(name)] for name in self.pair)
            return cascade(cheap, dear, self.cut, present)
        if self.strategy == "stacked":
            if self.stack is None:
                raise ModelError("the stacked fusion has no model; run: whyrec tune fusion")
            return self.stack.score(scores, present, candidates.lengths)
        return (borda if self.strategy == "borda" else rrf)(scores, present)


class Fused(System):
    """Finds candidates with each scorer and orders them by a `Fusion`."""

    def __init__(self, fusion: Fusion, scorers: Sequence[Scorer], pool: int = POOL):
        if tuple(scorer.name for scorer in scorers) != fusion.scorers:
            raise ValueError(f"the fusion is for {fusion.scorers}")
        self.fusion = fusion
        self.name = fusion.strategy
        self._scorers = scorers
        self._pool = pool

    def top(
        self,
        histories: Histories,
        k: int,
        *,
        exclude: csr_array | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> Top:
        """As `recommend`, by column."""
        found = find_candidates(self._scorers, histories, max(k, self._pool), exclude, candidates)
        parts = [best_of(part, self.fusion.fuse(part), k) for part in found]
        return Top(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("columns", "scores")))


def joined_lists(parts: Sequence[NDArray[Any]], beyond: float = 0) -> NDArray[Any]:
    """Arrays (…, n, c) below each other, (…, Σn, max c); ``beyond`` stands where a list has ended."""
    width = max(part.shape[-1] for part in parts)
    room = [[(0, 0)] * (part.ndim - 1) + [(0, width - part.shape[-1])] for part in parts]
    filled = [np.pad(part, where, constant_values=beyond) for part, where in zip(parts, room, strict=True)]
    return np.concatenate(filled, axis=-2)


def best_of(candidates: Candidates, fused: Floats, k: int) -> Top:
    """The k candidates with the highest fused score in each row; equal scores by column."""
    by_column = np.argsort(np.where(candidates.present, candidates.columns, np.iinfo(np.int64).max), axis=1)
    columns = np.take_along_axis(candidates.columns, by_column, axis=1)
    found = top(np.take_along_axis(fused, by_column, axis=1), k, "fusion")
    picked = np.take_along_axis(columns, np.maximum(found.columns, 0), axis=1)
    return Top(np.where(found.columns >= 0, picked, -1), found.scores)


def find_candidates(
    scorers: Sequence[Scorer],
    histories: Histories,
    pool: int,
    exclude: csr_array | None = None,
    candidates: NDArray[np.bool_] | None = None,
) -> Iterator[Candidates]:
    """The ``pool`` best items of each scorer, united, with the scores of all; in chunks of users."""
    excluded = histories.values if exclude is None else exclude
    size = max(1, AT_ONCE // max(1, len(histories.items) * len(scorers)))
    for start in range(0, max(1, len(histories)), size):
        rows = slice(start, start + size)
        part = histories.take(rows)
        scores = [scorer.score(part) for scorer in scorers]
        tops = [
            top(mask(s.copy(), excluded[rows], candidates), pool, c.name) for s, c in zip(scores, scorers, strict=True)
        ]
        columns = np.sort(np.concatenate([found.columns for found in tops], axis=1), axis=1)
        columns[:, 1:][columns[:, 1:] == columns[:, :-1]] = -1
        picked = np.stack([np.take_along_axis(s, np.maximum(columns, 0), axis=1) for s in scores])
        yield Candidates(columns, picked, part.counts, np.stack([_among(columns, found.columns) for found in tops]))


def _among(columns: Columns, listed: Columns) -> NDArray[np.bool_]:
    """(n, c) where a column (n, c) stands in the same row of ``listed`` (n, k)."""
    width = max(int(columns.max(initial=0)), int(listed.max(initial=0))) + 1
    rows = np.arange(len(columns), dtype=np.int64)[:, None] * width
    return np.isin(rows + columns, (rows + listed)[listed >= 0]) & (columns >= 0)
