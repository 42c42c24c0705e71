"""Groups of items and of users that are looked at apart."""

from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_array

from retrieval.data.catalog import Catalog
from retrieval.data.histories import Histories, sparse
from retrieval.data.splits import Task

HISTORY_ENDS = (5, 20, 100)
MOST_GROUPS = 30  # different values that a column of users may have
Members = NDArray[np.bool_]


def item_strata(task: Task) -> dict[str, Members]:
    """(m,) for each group of items: with and without an event in training, and by popularity.

    Head, mid and tail each hold a third of the training events, the most popular items first. Groups without a
    held-out event are left out.
    """
    popularity = task.popularity
    by = np.argsort(-popularity, kind="stable")
    before = np.cumsum(popularity[by]) - popularity[by]
    third = np.empty(len(popularity), dtype=np.int64)
    third[by] = np.minimum(3 * before // max(1, int(popularity.sum())), 2)
    warm = popularity > 0
    strata = {"item=warm": warm, "item=cold": ~warm}
    strata |= {f"popularity={name}": warm & (third == place) for place, name in enumerate(("head", "mid", "tail"))}
    return {name: members for name, members in strata.items() if members[task.held_out.indices].any()}


def user_strata(task: Task, attributes: pl.DataFrame | None) -> dict[str, Members]:
    """(n,) for each group of users: known or new, by the length of their history, and by each of their attributes."""
    known = np.isin(np.array(task.histories.users), np.array(task.train.users))
    strata = {"user=known": known, "user=new": ~known}
    counts, low = task.histories.counts, 0
    for end in HISTORY_ENDS:
        strata[f"history={low + 1}-{end}" if low else f"history=0-{end}"] = (counts <= end) & (
            counts >= low + bool(low)
        )
        low = end
    strata[f"history={low + 1}+"] = counts > low
    if attributes is not None:
        strata |= _by_attribute(task.histories, attributes)
    return {name: members for name, members in strata.items() if members.any()}


def labelled_strata(task: Task, users: pl.Series) -> dict[str, Members]:
    """(n,) users whose lists a language model has ordered for a student to learn from, and all others."""
    labelled = np.isin(np.array(task.histories.users, dtype=object), users.to_list())
    strata = {"labelled=yes": labelled, "labelled=no": ~labelled}
    return {name: members for name, members in strata.items() if members.any()}


def _by_attribute(histories: Histories, attributes: pl.DataFrame) -> dict[str, Members]:
    """A group for each value; numbers of more than thirty values are cut into quarters, other such columns left out."""
    rows = pl.DataFrame({"user_id": list(histories.users)}).join(attributes, on="user_id", how="left")
    strata = {}
    for name in rows.columns[1:]:
        column = rows[name]
        if column.drop_nulls().n_unique() > MOST_GROUPS:
            if not column.dtype.is_numeric():
                continue
            column = _quarters(column)
        for value in column.drop_nulls().unique().sort():  # an Enum sorts by its categories
            strata[f"{name}={value}"] = (column == value).fill_null(False).to_numpy()
    return strata


def _quarters(column: pl.Series) -> pl.Series:
    """Which quarter of the known numbers each falls into, as words; missing ones stay missing."""
    numbers = column.cast(pl.Float64).to_numpy()
    ends = np.unique(np.nanquantile(numbers, (0.25, 0.5, 0.75)))
    labels = [
        f"up to {ends[0]:g}",
        *(f"over {a:g}, up to {b:g}" for a, b in pairwise(ends)),
        f"over {ends[-1]:g}",
    ]
    places = np.searchsorted(ends, numbers)
    return pl.Series(
        [None if np.isnan(n) else labels[p] for n, p in zip(numbers, places, strict=True)], dtype=pl.Enum(labels)
    )


def genres(catalog: Catalog, items: tuple[str, ...]) -> csr_array | None:
    """(m, g) each item's mix over the values of its list fields, such as genres; None where there are none."""
    fields = [name for name in catalog.fields if catalog.frame.schema[name] == pl.List(pl.String)]
    values = {
        item_id: [(a.field, a.value) for a in catalog.attributes(item_id) if a.field in fields] for item_id in items
    }
    place = {value: number for number, value in enumerate(sorted({v for found in values.values() for v in found}))}
    if not place:
        return None
    entries = [
        (row, place[value], 1 / len(values[item_id])) for row, item_id in enumerate(items) for value in values[item_id]
    ]
    rows, columns, shares = np.array(entries).T
    return sparse(rows, columns, shares, shape=(len(items), len(place)))
