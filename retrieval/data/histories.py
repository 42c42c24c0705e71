"""Histories of many users at once, as a sparse matrix: what scorers read."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_array

from retrieval.data.events import History, preferred


@dataclass(frozen=True)
class Histories:
    """What n users did with m items.

    users: their ids. items: all item ids, sorted, so that a lower column is a lower id. values: (n, m) float32 with
    one stored entry for each item of a history, the latest value; an entry may be 0, so absence is "not stored".
    """

    users: tuple[str, ...]
    items: tuple[str, ...]
    values: csr_array

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.users), len(self.items)):
            raise ValueError(f"{self.values.shape} values for {len(self.users)} users and {len(self.items)} items")

    @classmethod
    def from_events(cls, events: pl.DataFrame, items: Sequence[str], users: Sequence[str] | None = None) -> "Histories":
        """Histories from events (user_id, item_id, value, timestamp); every item of the events must be in ``items``.

        ``users`` gives the rows and may name users without events; by default all users of the events, sorted.
        """
        latest = latest_events(events)
        rows = tuple(latest["user_id"].unique().sort()) if users is None else tuple(users)
        kept = latest.select(
            pl.col("user_id").replace_strict(list(rows), range(len(rows)), default=None, return_dtype=pl.Int64),
            pl.col("item_id").replace_strict(list(items), range(len(items)), return_dtype=pl.Int64),
            "value",
        ).drop_nulls("user_id")
        entries = (kept["user_id"].to_numpy(), kept["item_id"].to_numpy(), kept["value"].to_numpy())
        return cls(rows, tuple(items), sparse(*entries, shape=(len(rows), len(items))))

    @classmethod
    def of(cls, histories: Sequence[History], items: Sequence[str]) -> "Histories":
        """A batch of single histories; items that are not in ``items`` are left out."""
        column_of = {item_id: column for column, item_id in enumerate(items)}
        entries = [
            (row, column_of[item_id], value)
            for row, history in enumerate(histories)
            for item_id, value in zip(history.items, history.values, strict=True)
            if item_id in column_of
        ]
        rows, columns, values = np.array(entries, dtype=np.float64).reshape(-1, 3).T
        users = tuple(str(row) for row in range(len(histories)))
        return cls(users, tuple(items), sparse(rows, columns, values, shape=(len(histories), len(items))))

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: NDArray[np.int64] | slice) -> "Histories":
        """Some of the users, in this order."""
        users = tuple(np.asarray(self.users, dtype=object)[rows])
        return Histories(users, self.items, self.values[rows])

    def keeping(self, keep: NDArray[np.bool_]) -> "Histories":
        """The same users with some of the stored events; ``keep`` has one for each."""
        before = np.concatenate([[0], np.cumsum(keep)])
        kept = (self.values.data[keep], self.values.indices[keep], before[self.values.indptr])
        return Histories(self.users, self.items, csr_array(kept, shape=self.values.shape))

    def chunks(self, size: int) -> Iterator["Histories"]:
        """The users in groups of at most ``size``."""
        return (self.take(slice(start, start + size)) for start in range(0, len(self), size))

    @property
    def counts(self) -> NDArray[np.int64]:
        """(n,) the number of items of each history."""
        return np.asarray(np.diff(self.values.indptr), dtype=np.int64)

    def hashes(self) -> list[str]:
        """(n,) `history_hash` of each user."""
        rows = [slice(*self.values.indptr[row : row + 2]) for row in range(len(self))]
        columns, values = self.values.indices, self.values.data
        return [history_hash([self.items[column] for column in columns[p]], values[p].tolist()) for p in rows]

    def positives(self, from_value: float | None) -> csr_array:
        """(n, m) float32: 1 where an event speaks for the item, by `preferred`; None: every event does."""
        if from_value is None:
            return where(self.values, np.ones(self.values.nnz, dtype=np.bool_))
        keep = self.values.data >= from_value
        liked = np.add.reduceat(keep, self.values.indptr[:-1][self.counts > 0]) if self.values.nnz else np.zeros(0)
        for row in np.flatnonzero(self.counts > 0)[liked == 0]:
            part = slice(*self.values.indptr[row : row + 2])
            keep[part], _ = preferred(self.values.data[part], from_value)
        return where(self.values, keep)

    def few(self, most: int, from_value: float, seed: int) -> "Histories":
        """What somebody new may name: at most ``most`` items of each user, drawn at random, of those that they liked.

        Each counts ``from_value``, from which an event counts as liked.
        """
        liked = self.values.data >= from_value
        rows = np.repeat(np.arange(len(self)), self.counts)
        drawn = np.lexsort((np.random.default_rng(seed).random(len(liked)), ~liked, rows))  # users stay together
        place = np.empty(len(liked), dtype=np.int64)
        place[drawn] = np.arange(len(liked)) - np.repeat(self.values.indptr[:-1], self.counts)
        named = where(self.values, liked & (place < most))
        return Histories(self.users, self.items, named * np.float32(from_value))


def history_hash(items: Sequence[str], values: Sequence[float]) -> str:
    """16 hexadecimal digits of what is known of a user, in whatever order."""
    text = "\n".join(f"{item}\t{value:g}" for item, value in sorted(zip(items, values, strict=True)))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def latest_events(events: pl.DataFrame) -> pl.DataFrame:
    """One event for each user and item, the latest; equal times are ordered by value."""
    return events.sort("timestamp", "value", nulls_last=False).unique(["user_id", "item_id"], keep="last")


def sparse(rows: NDArray[Any], columns: NDArray[Any], values: NDArray[Any], *, shape: tuple[int, int]) -> csr_array:
    """A float32 matrix in which zeros that are given stay stored; columns are sorted within a row."""
    matrix = csr_array(
        (values.astype(np.float32), (rows.astype(np.int64), columns.astype(np.int64))), shape=shape, dtype=np.float32
    )
    matrix.sort_indices()
    return matrix


def where(values: csr_array, keep: NDArray[np.bool_]) -> csr_array:
    """1 where a stored entry is to be kept, nothing elsewhere; ``keep`` has one for each stored entry."""
    before = np.concatenate([[0], np.cumsum(keep)])
    return csr_array(
        (np.ones(int(keep.sum()), dtype=np.float32), values.indices[keep], before[values.indptr]), shape=values.shape
    )


def strengths(histories: Histories, positive_from: float | None, weak: float) -> csr_array:
    """(n, m) 1 for positive events (`Histories.positives`), ``weak`` for others."""
    positives, every = histories.positives(positive_from), histories.positives(None)
    return csr_array(positives * np.float32(1 - weak) + every * np.float32(weak))
