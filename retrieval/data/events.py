"""What users did: events, and one user's history made of them."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

Preference = Literal["liked", "rated", "preferred"]


@dataclass(frozen=True)
class History:
    """One user's items, oldest first, each once with its latest value.

    seen: what the user has had beside them, without a value. never: what is not to be recommended again at all.
    """

    items: tuple[str, ...]
    values: tuple[float, ...]
    seen: frozenset[str] = frozenset()
    never: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if len(self.items) != len(self.values) or len(set(self.items)) != len(self.items):
            raise ValueError("a history has each item once, with one value each")

    def __len__(self) -> int:
        return len(self.items)

    def then(self, later: "History") -> "History":
        """This history with later events; of an item in both the later one counts."""
        new = set(later.items)
        earlier = [pair for pair in zip(self.items, self.values, strict=True) if pair[0] not in new]
        pairs = [*earlier, *zip(later.items, later.values, strict=True)]
        items, values = tuple(item_id for item_id, _ in pairs), tuple(value for _, value in pairs)
        return History(items, values, self.seen | later.seen, self.never | later.never)

    def without(self, item_id: str) -> "History":
        """This history with one item left out."""
        pairs = [pair for pair in zip(self.items, self.values, strict=True) if pair[0] != item_id]
        items, values = tuple(other for other, _ in pairs), tuple(value for _, value in pairs)
        return replace(self, items=items, values=values)

    def excluded(self, *, had: bool) -> frozenset[str]:
        """What must not be recommended: what never may, and with ``had`` all that the user has had."""
        return self.never | self.seen | frozenset(self.items) if had else self.never


def events_of(events: pl.LazyFrame, user_id: str) -> pl.DataFrame:
    """The events of one user (item_id, value, timestamp), oldest first. Equal times are ordered by item id."""
    return (
        events.filter(pl.col("user_id") == user_id)
        .select("item_id", "value", "timestamp")
        .collect(engine="streaming")
        .sort("timestamp", "item_id", nulls_last=False)
    )


def history_of(events: pl.DataFrame) -> History:
    """The history that one user's events (item_id, value), oldest first, make."""
    latest = events.unique("item_id", keep="last", maintain_order=True)
    return History(tuple(latest["item_id"]), tuple(latest["value"]))


def preferred(values: NDArray[Any], liked_from: float) -> tuple[NDArray[np.bool_], Preference]:
    """Which events of one user, (n,) values, speak for the item, and how.

    ``liked``: those of at least ``liked_from``. Where there is none: ``rated``, all, if the values do not differ, else
    ``preferred``, those above the user's own mean.
    """
    liked = np.asarray(values >= liked_from)
    if liked.any() or len(values) == 0:
        return liked, "liked"
    if values.min() == values.max():
        return np.ones(len(values), dtype=np.bool_), "rated"
    return np.asarray(values > values.mean(dtype=np.float64)), "preferred"
