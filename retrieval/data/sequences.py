"""Histories with the order in which things happened: what learns from sequences reads these."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from retrieval.data.histories import Histories, latest_events


@dataclass(frozen=True)
class Sequences:
    """histories: of n users. order: (nnz,) their stored events, user by user, the earliest first.

    timed: whether there are times at all; without them the order is that of the columns and says nothing. Events of
    the same time stand in the order of their columns.
    """

    histories: Histories
    order: NDArray[np.int64]
    timed: bool

    @classmethod
    def from_events(cls, events: pl.DataFrame, items: Sequence[str]) -> "Sequences":
        """As `Histories.from_events`, of all users of the events; of an item that somebody has twice, the latest."""
        histories = Histories.from_events(events, items)
        place = {name: pl.Series(ids, dtype=pl.String) for name, ids in (("user", histories.users), ("item", items))}
        rows, columns = (
            pl.col(f"{name}_id").replace_strict(ids, range(len(ids)), return_dtype=pl.Int64).alias(name)
            for name, ids in place.items()
        )
        times = latest_events(events).select(rows, columns, "timestamp").sort("user", "item")
        order = np.lexsort((times["timestamp"].fill_null(0).to_numpy(), times["user"].to_numpy()))
        return cls(histories, order.astype(np.int64), times["timestamp"].null_count() == 0)

    def of(self, row: int) -> NDArray[np.int64]:
        """Where the events of a user are among those that are stored, the earliest first."""
        return self.order[slice(*self.histories.values.indptr[row : row + 2])]
