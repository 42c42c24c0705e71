"""What items of a history do for a score, and what everybody's likes say of two items."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scorer_worlds import ITEMS, topic_user, topic_world

from agent.attribution import StudentAttribution, TextAttribution
from agent.evidence import Taste
from agent.evidence_finder import EvidenceFinder
from retrieval.cf.student import Student, StudentConfig
from retrieval.data.crowd import Crowd
from retrieval.data.events import History
from retrieval.data.histories import Histories
from retrieval.text.profile import interest_in
from retrieval.text.scorers import SoftKnnConfig
from retrieval.text.spread import FEWEST, Spread


@pytest.fixture(scope="module")
def student():
    return Student.fit(topic_world(), StudentConfig(own=1.0))


def test_an_effect_is_what_the_score_loses_without_the_item(student):
    history = topic_user(3)
    target = next(item for item in ITEMS if item not in history.items)
    effects = StudentAttribution(student, ITEMS).effects(target, history, history.items)
    assert set(effects) == set(history.items)
    column = np.array([ITEMS.index(target)])

    def score(items):
        kept = [pair for pair in zip(history.items, history.values, strict=True) if pair[0] in items]
        one = History(tuple(item for item, _ in kept), tuple(value for _, value in kept))
        return float(student.score(Histories.of([one], ITEMS), column)[0, 0])

    for item, effect in effects.items():
        assert effect == pytest.approx(score(history.items) - score(set(history.items) - {item}), abs=1e-5)
    assert len({round(effect, 6) for effect in effects.values()}) > 1


@pytest.mark.parametrize("liked", ["1234", "1"])
@pytest.mark.parametrize("items", [FEWEST - 1, FEWEST])
@pytest.mark.parametrize("positive_from", [4.0, None])
def test_the_texts_say_what_the_score_loses(items, liked, positive_from):
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(7, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    spread, config = replace(Spread.fit(vectors), items=items), SoftKnnConfig(positive_from, sharpness=20.0)
    history = History((*liked, "5", "6"), (5.0,) * len(liked) + (1.0, 1.0), never=frozenset("6"))
    attribution = TextAttribution(lambda ids: vectors[[int(one) for one in ids]], lambda: spread, config)
    effects = attribution.effects("0", history, liked)

    def score(ids):
        had = vectors[[int(one) for one in (*ids, "5")]]
        positive = (np.arange(len(had)) < len(ids)) | (positive_from is None)
        lean = config.direction(spread, had, positive)
        if not positive.any():  # nothing is near, and only where the person leans is left
            return float(lean.score(vectors[:1])[0]) if lean else 0.0
        return float(interest_in(had[positive], config.sharpness, lean).score(vectors[:1])[0])

    for item in liked:
        assert effects[item] == pytest.approx(score(liked) - score(liked.replace(item, "")), abs=1e-5)


def by_text(index):
    return TextAttribution(index.vectors, lambda: index.spread, SoftKnnConfig())


def liked(*items):
    return Taste(dict.fromkeys(items, "liked"), history=History(items, (5.0,) * len(items)))


@pytest.fixture
def crowded(planted, planted_index):
    """A function that makes a finder among people with these likes, {user: items}."""

    def finder(likes):
        rows = [(user, item, 5.0, 0) for user, items in likes.items() for item in items]
        rows.append(("picky", "western-2", 1.0, 0))  # had, but not liked
        events = pl.DataFrame(rows, ["user_id", "item_id", "value", "timestamp"], orient="row")

        class Events:
            def events(self):
                return events.lazy()

        return EvidenceFinder(planted.catalog, planted_index.vectors, by_text(planted_index), Crowd(Events(), 5.0))

    return finder


def people(count, *items):
    return {f"{items}-{number}": items for number in range(count)}


def test_what_people_liked_together_is_evidence(crowded):
    """A western and a recipe have nothing in common but the people who like both."""
    finder = crowded(people(6, "western-0", "cooking-1") | people(20, "space-0"))
    evidence = finder.find("cooking-1", liked("western-0"))
    assert (evidence.shape, evidence.people, evidence.times) == ("together", 6, pytest.approx(26 / 6, abs=1e-4))
    assert [one.item_id for one in evidence.cited] == ["western-0"]


@pytest.mark.parametrize(
    "likes",
    [
        people(4, "western-0", "cooking-1") | people(20, "space-0"),  # too few
        people(6, "western-0", "cooking-1") | people(1, "space-0"),  # no more than by chance
    ],
)
def test_what_chance_would_have_people_like_is_none(crowded, likes):
    assert crowded(likes).find("cooking-1", liked("western-0")).shape != "together"


def test_an_item_with_nothing_in_common_may_be_popular_or_new(crowded):
    finder = crowded(people(9, "cooking-1") | people(1, "space-0") | people(1, "space-1"))
    popular, new, plain = (finder.find(item, liked("western-0")) for item in ("cooking-1", "cooking-2", "space-0"))
    assert (popular.shape, popular.people) == ("popular", 9)
    assert new.shape == "new"
    assert plain.shape == "unlinked"
    assert finder.find("western-2", liked("cooking-0")).shape == "unlinked"  # somebody has had it


def test_what_does_not_speak_for_an_item_is_not_cited(planted, planted_index):
    """Of two liked items the text's soft maximum rises by the nearer one alone."""
    finder = EvidenceFinder(planted.catalog, planted_index.vectors, by_text(planted_index))
    evidence = finder.find("space-5", liked("space-1", "cooking-0"))
    assert [one.item_id for one in evidence.cited] == ["space-1"]
    assert all(one.effect > 0 for one in evidence.cited)
