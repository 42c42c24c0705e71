"""Ordered lists of items, the one place where scores become an order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import ScoreError

Floats = NDArray[np.float32]
Columns = NDArray[np.int64]


@dataclass(frozen=True)
class Rankings:
    """One list per request, best first.

    ids: (n, k) strings, ``""`` beyond a list's length. scores: (n, k) float32, higher is better, non-increasing in
    a row, ``-inf`` beyond the length. lengths: (n,) int64, at most k. Equal scores are ordered by item id, but in lists
    that were shaped (`retrieval.shaping`).
    """

    ids: NDArray[np.str_]
    scores: Floats
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lengths)

    def first(self, k: int) -> "Rankings":
        """The k best of each list."""
        return Rankings(self.ids[:, :k], self.scores[:, :k], np.minimum(self.lengths, k))

    def row(self, index: int) -> list[tuple[str, float]]:
        """The list of one request as (item id, score)."""
        length = int(self.lengths[index])
        return list(zip(self.ids[index, :length].tolist(), self.scores[index, :length].tolist(), strict=True))

    def __iter__(self) -> Iterator[list[tuple[str, float]]]:
        return (self.row(index) for index in range(len(self)))


def order(candidates: Sequence[Sequence[str]], scores: Sequence[NDArray[Any]], k: int, source: str) -> Rankings:
    """Order each request's candidates by score, highest first and equal scores by id, and keep k.

    ``scores[i]`` has one score for each of ``candidates[i]``; a candidate must not stand twice in a list. ``source``
    names who scored, for the message.

    Raises:
        ScoreError: a score is NaN.
    """
    ids = np.full((len(candidates), k), "", dtype=object)
    kept = np.full((len(candidates), k), -np.inf, dtype=np.float32)
    lengths = np.zeros(len(candidates), dtype=np.int64)
    for index, (names, values) in enumerate(zip(candidates, scores, strict=True)):
        row = np.asarray(values, dtype=np.float32)
        if row.shape != (len(names),):
            raise ValueError(f"{source} gave {row.shape} scores for {len(names)} candidates")
        if np.isnan(row).any():
            raise ScoreError(
                f"{source} gave a score that is not a number for item {names[int(np.isnan(row).argmax())]!r}"
            )
        best = sorted(range(len(names)), key=lambda place: (-row[place], names[place]))[:k]
        lengths[index] = len(best)
        ids[index, : len(best)] = [names[place] for place in best]
        kept[index, : len(best)] = row[best]
    return Rankings(ids.astype(np.str_), kept, lengths)


@dataclass(frozen=True)
class Top:
    """The best items of each request by column, best first.

    columns: (n, k) int64, -1 beyond a list's length. scores: (n, k) float32, non-increasing, ``-inf`` beyond it.
    Equal scores are ordered by column, which is by item id where the columns are sorted ids.
    """

    columns: Columns
    scores: Floats

    def rankings(self, items: Sequence[str]) -> Rankings:
        """The same by id; ``items`` are the ids of the columns."""
        names = np.array([*items, ""])  # -1 picks the last
        return Rankings(names[self.columns], self.scores, (self.columns >= 0).sum(axis=1))


def top(scores: Floats, k: int, source: str) -> Top:
    """The k best columns of each row of ``scores`` (n, m), or all m if k is more; ``-inf`` must not be listed.

    ``source`` names who scored, for the message.

    Raises:
        ScoreError: a score is NaN.
    """
    users, items = scores.shape
    k = min(k, items)
    if users == 0 or k == 0:
        return Top(np.full((users, k), -1, dtype=np.int64), np.full((users, k), -np.inf, dtype=np.float32))
    if np.isnan(scores.max(axis=1)).any():
        row, column = np.argwhere(np.isnan(scores))[0]
        raise ScoreError(f"{source} gave a score that is not a number (user {row}, item {column} of this batch)")
    columns = np.argpartition(scores, items - k, axis=1)[:, items - k :]
    least = np.take_along_axis(scores, columns, axis=1).min(axis=1)
    # Where more than k reach the least score that is kept, the partition took some of them by luck.
    for row in np.flatnonzero((scores >= least[:, None]).sum(axis=1) > k):
        above = np.flatnonzero(scores[row] > least[row])
        columns[row] = np.concatenate([above, np.flatnonzero(scores[row] == least[row])[: k - len(above)]])
    columns.sort(axis=1)
    kept = np.take_along_axis(scores, columns, axis=1)
    by_score = np.argsort(-kept, axis=1, kind="stable")
    columns, kept = np.take_along_axis(columns, by_score, axis=1), np.take_along_axis(kept, by_score, axis=1)
    return Top(np.where(np.isneginf(kept), -1, columns), kept)
