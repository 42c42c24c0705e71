"""A split whose test part are the newest of the events that something has not seen."""

import polars as pl

from retrieval.data.splits import FOLD_IN, PARTS, Split
from retrieval.data.workspace import EVENT_COLUMNS

NEWEST = "newest"


def newest_split(events: pl.DataFrame, unseen: pl.Series, share: float, seed: int) -> Split:
    """Cut events: the newest ``share`` of the ``unseen`` ones, a mask, are the test, all others may be learnt from.

    Events of one time stay together. Of users who have no other event the first half, at most ten, is known.
    """
    times = events.filter(unseen)["timestamp"].sort()
    held_out = pl.lit(False)
    if len(times):
        held_out = unseen & (pl.col("timestamp") >= times[min(int(len(times) * (1 - share)), len(times) - 1)])
    marked = events.with_columns(held_out.alias("test")).sort("user_id", "timestamp", "item_id", "value")
    number = pl.int_range(pl.len()).over("user_id", "test")
    first = number < ((pl.len().over("user_id", "test") + 1) // 2).clip(upper_bound=FOLD_IN)
    part = (
        pl.when(~pl.col("test"))
        .then(pl.lit("train"))
        .when(pl.col("test").all().over("user_id") & first)
        .then(pl.lit("test-history"))
        .otherwise(pl.lit("test"))
    )
    return Split(NEWEST, seed, marked.select(*EVENT_COLUMNS, part.cast(pl.Enum(PARTS)).alias("part")))


def before_test(split: Split) -> pl.DataFrame:
    """What may be learnt from before the test."""
    return split.events.filter(pl.col("part") == "train").select(EVENT_COLUMNS)
