"""A small world for evaluations: tastes by topic, ratings over a year, newcomers, new items and users' attributes."""

from contextlib import contextmanager
from functools import cache

import numpy as np
import polars as pl
import pytest
import sklearn.ensemble  # noqa: F401 - threads can be limited once they are there
from conftest import WordEncoder
from threadpoolctl import threadpool_limits

from agent.evaluation import fusing
from agent.evaluation.study import Question, Study
from agent.models import Models
from agent.settings import EventSettings, ItemSettings, Settings
from retrieval.data.readers import Table
from retrieval.data.workspace import Workspace, create_workspace
from retrieval.text.index import ItemIndex

TOPICS = ("space", "cooking", "western", "jungle")
EACH = 20  # items of a topic, more in all than factors; the last two appear when most of the year is over
USERS = 80  # the last twelve come when most of the year is over
NEW_USERS, NEW_ITEMS = 12, 2
STRANGER = "user-79"  # has events and no attributes
START, YEAR, LATE = 1_600_000_000, 365 * 86_400, 0.85
EVENTS = ["user_id", "item_id", "rating", "timestamp"]
SETTINGS = Settings(items=ItemSettings(noun="story"), events=EventSettings(liked_from=4.0))


class WordModels(Models):
    """The word encoder of the tests; there is no language model."""

    encoder_fingerprint = WordEncoder.fingerprint
    encoder = WordEncoder()


class Notebook:
    """A watch that keeps what it is told."""

    def __init__(self):
        self.labels, self.totals, self.steps, self.notes = [], [], [], []

    def start(self, label, total):
        self.labels.append(label)
        self.totals.append(total)
        self.steps.append(0)

    def advance(self, steps=1):
        self.steps[-1] += steps

    def note(self, message):
        self.notes.append(message)


def items():
    """Items whose text tells their topic, with a field that is a list."""
    rows = [
        {
            "item_id": f"{topic}-{place:02}",
            "title": f"{topic.title()} Tale {place:02}",
            "topics": [topic, "drama"] if place % 2 else [topic],
            "about": f"a story of {topic} and {'ab'[place % 2]}{place % 5} in {topic}",
        }
        for topic in TOPICS
        for place in range(EACH)
    ]
    return pl.DataFrame(rows)


@cache
def events():
    """8 to 20 events for each user, no item twice; three of four are of the user's topic, which is rated 4 or 5."""
    rng = np.random.default_rng(5)
    rows = []
    for user in range(USERS):
        count, joined = int(rng.integers(8, 21)), 0.95 if user >= USERS - NEW_USERS else 0.0
        moments = np.sort(rng.uniform(joined, 1, count))
        had = set()
        for moment in moments:
            own = rng.random() < 0.75
            topic = TOPICS[user % 4] if own else TOPICS[(user + rng.integers(1, 4)) % 4]
            known = EACH if moment > LATE else EACH - NEW_ITEMS
            place = min(int(rng.exponential(6)), known - 1) if rng.random() < 0.8 else int(rng.integers(known))
            item_id = f"{topic}-{place:02}"
            if item_id not in had:
                had.add(item_id)
                rating = float(rng.integers(4, 6)) if own else float(rng.integers(1, 5))
                rows.append((f"user-{user:02}", item_id, rating, START + int(moment * YEAR)))
    return pl.DataFrame(rows, schema=EVENTS, orient="row")


def users():
    """Few values (gender, age), and words with more values than there can be groups (street)."""
    numbers = range(USERS)
    frame = pl.DataFrame(
        {
            "user_id": [f"user-{user:02}" for user in numbers],
            "gender": ["FM"[user % 3 == 0] for user in numbers],
            "age": [18 + 2 * (user % 25) for user in numbers],
            "street": [f"{user} High Street" for user in numbers],
        }
    )
    return frame.filter(pl.col("user_id") != STRANGER)


def make_world(root, other_events=None, *, index=True):
    """A workspace at ``root``, of the events above or of others, with an index by `WordEncoder` unless told."""
    given = events() if other_events is None else other_events
    tables = [Table(frame.lazy(), name) for frame, name in ((items(), "items"), (given, "events"), (users(), "users"))]
    create_workspace(root, *tables, noun="story")
    workspace = Workspace(root)
    if index:
        made = ItemIndex(workspace.index_path, WordEncoder.fingerprint, create=True)
        made.update(workspace.catalog, made.changes(workspace.catalog), WordEncoder())
        made.complete(workspace.catalog_fingerprint)
    return workspace


def study_of(workspace, split="temporal", settings=SETTINGS, seed=0, **question):
    return Study(workspace, settings, WordModels(settings), Question(split, **question), seed)


@contextmanager
def quickly():
    """Fewer constants are tried for each strategy, and on one thread: small worlds gain nothing from more."""
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(1):
        patch.setattr(fusing, "TRIALS", 20)
        yield
