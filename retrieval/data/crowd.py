"""What everybody did with single items, read from the events when it is asked for."""

from collections.abc import Sequence
from functools import cached_property

import polars as pl

from retrieval.data.workspace import Workspace

POPULAR_SHARE = 0.95


class Crowd:
    """Everybody's events of a workspace.

    liked_from: the value from which an event counts as liked; verb: what that is called.
    """

    def __init__(self, workspace: Workspace, liked_from: float, verb: str = "liked"):
        self.verb = verb
        self._workspace = workspace
        self._liked_from = liked_from
        self._known: dict[str, frozenset[str]] = {}

    def likers(self, item_ids: Sequence[str]) -> list[frozenset[str]]:
        """The users who liked each item."""
        missing = [item_id for item_id in item_ids if item_id not in self._known]
        if missing:
            found = self._liked.filter(pl.col("item_id").is_in(missing)).select("item_id", "user_id").collect()
            users = dict(found.group_by("item_id").agg("user_id").iter_rows())
            self._known |= {item_id: frozenset(users.get(item_id, ())) for item_id in missing}
        return [self._known[item_id] for item_id in item_ids]

    @cached_property
    def users(self) -> int:
        """How many users liked anything."""
        return int(self._liked.select(pl.col("user_id").n_unique()).collect().item())

    @cached_property
    def had(self) -> frozenset[str]:
        """The items that somebody has had, liked or not."""
        found = self._workspace.events().select(pl.col("item_id").unique()).collect(engine="streaming")
        return frozenset(found["item_id"])

    @cached_property
    def popular_from(self) -> int:
        """How many users must like an item for it to be popular: more than like 95 % of those that anybody likes."""
        pairs = self._liked.select("item_id", "user_id").unique().group_by("item_id").len()
        counts = pairs.collect(engine="streaming")["len"]
        quantile = counts.quantile(POPULAR_SHARE, interpolation="lower")
        return int(quantile) + 1 if quantile is not None else 1

    @property
    def _liked(self) -> pl.LazyFrame:
        return self._workspace.events().filter(pl.col("value") >= self._liked_from)


def users_of(workspace: Workspace, item_ids: Sequence[str]) -> dict[str, int]:
    """How many users have had each of these items, liked or not."""
    wanted = workspace.events().filter(pl.col("item_id").is_in(list(item_ids)))
    counts = wanted.group_by("item_id").agg(pl.col("user_id").n_unique()).collect(engine="streaming")
    return dict.fromkeys(item_ids, 0) | dict(counts.iter_rows())
