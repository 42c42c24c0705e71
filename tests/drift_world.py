"""A world that changes: people who had space and cooking stories turn to jungle stories that nobody knew before."""

import numpy as np
import polars as pl
from conftest import WordEncoder
from evaluation_world import EVENTS, START, items

from retrieval.data.readers import Table
from retrieval.data.workspace import Workspace, create_workspace
from retrieval.text.index import ItemIndex

DAY = 86_400
BEFORE, AFTER = {"space": 0.45, "cooking": 0.45, "western": 0.1}, {"jungle": 0.7, "western": 0.2, "space": 0.1}


def events(shares, first_day, days, each, seed, people):
    """``each`` events of every person within two days, of the topics in these shares; most have a few items of each."""
    rng, rows = np.random.default_rng(seed), []
    for user in people:
        had, joined = set(), first_day + rng.uniform(0, days)
        for moment in np.sort(rng.uniform(joined, joined + 2, each)):
            topic = str(rng.choice(list(shares), p=list(shares.values())))
            place = (7 * min(int(rng.exponential(4)), 19)) % 20  # which are popular, no text tells
            item = f"{topic}-{place:02}"
            if item not in had:
                had.add(item)
                rows.append((f"user-{user:03}", item, float(rng.integers(4, 6)), START + int(moment * DAY)))
    return pl.DataFrame(rows, schema=EVENTS, orient="row")


def old_events():
    return events(BEFORE, 0, 290, 16, seed=1, people=range(60))


def drifted_events():
    """Of the same people, and of as many that nobody knew."""
    return events(AFTER, 300, 60, 16, seed=2, people=range(120))


def steady_events():
    """Of others, who do as people did before."""
    return events(BEFORE, 300, 60, 16, seed=3, people=range(60, 180))


def make_old(root):
    """A workspace of the old events with an index by `WordEncoder`."""
    create_workspace(root, Table(items().lazy(), "items"), Table(old_events().lazy(), "events"), noun="story")
    workspace = Workspace(root)
    made = ItemIndex(workspace.index_path, WordEncoder.fingerprint, create=True)
    made.update(workspace.catalog, made.changes(workspace.catalog), WordEncoder())
    made.complete(workspace.catalog_fingerprint)
    return workspace
