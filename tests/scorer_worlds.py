"""Worlds for scorers: topics whose users lack one item each, and scorers that say what a table says."""

from functools import cache

import numpy as np

from retrieval.cf.ials import IalsConfig
from retrieval.cf.mf import MatrixFactorisationConfig
from retrieval.cf.popularity import Popularity, PopularityConfig
from retrieval.cf.scorer import Scorer, TrainingData
from retrieval.cf.scorers import SCORERS
from retrieval.data.events import History
from retrieval.data.histories import Histories

TOPICS, PLACES = "abcd", 6
ITEMS = tuple(f"{topic}-{place}" for topic in TOPICS for place in range(PLACES))
SMALL = {"mf": MatrixFactorisationConfig(factors=len(TOPICS)), "ials": IalsConfig(factors=8)}  # else it learns by heart


def topic_user(withheld: int) -> History:
    """Likes all of one topic but the item withheld, and has one item of the next topic, which was not liked."""
    first = withheld - withheld % PLACES
    liked = [item for item in range(first, first + PLACES) if item != withheld]
    other = (withheld + PLACES) % len(ITEMS)
    return History(tuple(ITEMS[item] for item in (*liked, other)), (*(5.0 - item % 2 for item in liked), 1.0))


@cache
def topic_world() -> TrainingData:
    """One user for each item, who lacks it; an item's text is its topic and a little of its own."""
    rng = np.random.default_rng(11)
    vectors = np.repeat(np.eye(8)[: len(TOPICS)], PLACES, axis=0) + rng.normal(scale=0.15, size=(len(ITEMS), 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return TrainingData(Histories.of([topic_user(item) for item in range(len(ITEMS))], ITEMS), vectors, seed=3)


@cache
def fitted(name: str) -> Scorer:
    """The scorer of this name, fitted on the topics."""
    kind = SCORERS[name]
    return kind.fit(topic_world(), SMALL.get(name, kind.config_type()))


def some_histories() -> Histories:
    """Users of the topics, somebody new, and somebody without a history."""
    people = [*(topic_user(item) for item in (0, 3, 8, 23)), History(("a-0", "c-1"), (2.0, 4.0)), History((), ())]
    return Histories.of(people, ITEMS)


def random_histories(users: int, items: int, seed: int, each: int = 5) -> Histories:
    """Each user has ``each`` items, drawn at random, with whole values from 1 to 5; ids are zero-padded numbers."""
    rng = np.random.default_rng(seed)
    ids = tuple(f"{item:05}" for item in range(items))
    people = [
        History(
            tuple(ids[item] for item in rng.choice(items, each, replace=False)), tuple(rng.integers(1, 6, each) * 1.0)
        )
        for _ in range(users)
    ]
    return Histories.of(people, ids)


class Planted(Popularity):
    """Gives the user called "3" the third row of a table."""

    def __init__(self, name: str, table: np.ndarray):
        super().__init__(PopularityConfig(), table[0].astype(np.float32))
        self.name = name
        self.table = table.astype(np.float32)

    def _score(self, histories):
        return self.table[[int(user) for user in histories.users]]


def planted_scorers(users: int, items: int, names: str = "xyz", seed: int = 5) -> list[Planted]:
    """Scorers that know nothing of each other."""
    tables = np.random.default_rng(seed).normal(size=(len(names), users, items))
    return [Planted(name, table) for name, table in zip(names, tables, strict=True)]
