"""A world of events with an order in time, and what the splits of it hold."""

from functools import cache

import numpy as np
import polars as pl

from retrieval.data.splits import make_split

COLUMNS = ["user_id", "item_id", "value", "timestamp"]
SCHEMA = {"user_id": pl.String, "item_id": pl.String, "value": pl.Float64, "timestamp": pl.Int64}
USERS, ITEMS, SPARE = 100, 80, 3000
CATALOG = [*(f"item-{item}" for item in range(ITEMS)), *(f"spare-{item}" for item in range(SPARE))]


@cache
def world():
    """Users who come one after another and stay for long or not, with 1 to 40 events each.

    No two events are at one time and no pair of user and item comes twice; the last items are had by few.
    """
    rng = np.random.default_rng(3)
    popularity = np.arange(1, ITEMS + 1) ** -1.5
    rows = []
    for user in range(USERS):
        count, start = int(rng.integers(1, 41)), rng.uniform(0, 100)
        chosen = rng.choice(ITEMS, count, replace=False, p=popularity / popularity.sum())
        moments = start + rng.exponential(1 if user % 2 else 0.1, count).cumsum()
        rows += [
            (f"user-{user}", f"item-{item}", float(rng.integers(0, 6)), int(moment * 1e6))
            for item, moment in zip(chosen, moments, strict=True)
        ]
    return frame(rows)


def frame(rows):
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def split(name, events=None, seed=1):
    return make_split(name, world() if events is None else events, seed, "seconds")


def part_of(made, *parts):
    return made.events.filter(pl.col("part").is_in(parts))


def pairs(events):
    return set(events.select("user_id", "item_id").iter_rows())


def stored(histories, values=None):
    """The (user, item) pairs that a matrix of these users and items holds."""
    matrix = histories.values if values is None else values
    rows, columns = np.repeat(np.arange(len(histories)), np.diff(matrix.indptr)), matrix.indices
    return {(histories.users[row], histories.items[column]) for row, column in zip(rows, columns, strict=True)}


def as_bytes(histories, values=None):
    matrix = histories.values if values is None else values
    return (histories.users, histories.items, *(a.tobytes() for a in (matrix.data, matrix.indices, matrix.indptr)))


def seen(task):
    """Everything that a model may see in this stage, to the byte."""
    candidates = None if task.candidates is None else task.candidates.tobytes()
    return as_bytes(task.train), as_bytes(task.histories), candidates, task.popularity.tobytes()


def all_of(task):
    return seen(task), as_bytes(task.histories, task.held_out)
