"""EASE's weights follow from text and facts, for items that nobody has had as well."""

import numpy as np
import polars as pl
import pytest
from scorer_worlds import random_histories

from retrieval.cf.ease import Ease, EaseConfig
from retrieval.cf.scorer import TrainingData
from retrieval.data.catalog import Catalog
from retrieval.data.events import History
from retrieval.data.histories import Histories
from retrieval.errors import InputError
from retrieval.text import kernel, text_ease
from retrieval.text.facts import Facts
from retrieval.text.text_ease import TextEase, TextEaseConfig

COLD = 6  # the last items, which nobody has had


def world(items=40, seed=3, users=120):
    """Random histories, none with the last items; texts at random; a year and a genre of each item."""
    rng = np.random.default_rng(seed)
    histories = random_histories(users, items - COLD, seed)
    ids = tuple(f"{item:05}" for item in range(items))
    people = [
        History(tuple(ids[c] for c in row.indices), tuple(row.data.tolist()))
        for row in (histories.values[[user]] for user in range(users))
    ]
    vectors = rng.normal(size=(items, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = {
        "item_id": ids,
        "title": ids,
        "year": rng.integers(1950, 2000, items),
        "genre": list("abcd" * items)[:items],
    }
    return TrainingData(Histories.of(people, ids), vectors, facts=Facts.of(Catalog(pl.DataFrame(rows)), ids))


def strengths(histories, config):
    every = (histories.positives(None).toarray() > 0).astype(float)
    return config.weak * every + (1 - config.weak) * histories.positives(config.positive_from).toarray()


def written_out(data, config):
    """All scores in float64 as the formula stands; rows of items without events are predicted as well."""
    x = strengths(data.histories, config)
    warm = np.flatnonzero((x > 0).sum(axis=0) >= text_ease.FEWEST)
    inverse = np.linalg.inv(x[:, warm].T @ x[:, warm] + config.strength * np.eye(len(warm)))
    weights = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(weights, 0)
    far = ((data.vectors[:, None, :].astype(float) - data.vectors[None, :, :]) ** 2).sum(axis=2)
    kernel = np.exp(-config.sharpness * far)
    if data.facts is not None:
        kernel += config.facts * data.facts.kernel(data.facts)
    smooth = np.linalg.solve(kernel[np.ix_(warm, warm)] + config.noise * np.eye(len(warm)), kernel[warm])
    columns = weights @ smooth  # (w, m)
    rows = smooth.T @ columns  # (m, m) of every item as if it had no weights
    rows[warm] = columns
    return x @ rows


@pytest.mark.parametrize("positive_from", [None, 4.0])
@pytest.mark.parametrize("facts", [0.0, 0.7])
@pytest.mark.parametrize("weak", [0.0, 0.4, 1.0])
def test_scores_are_the_formula(positive_from, facts, weak):
    """Warm items, cold ones, and histories."""
    data = world()
    config = TextEaseConfig(positive_from, strength=20.0, noise=0.3, sharpness=0.8, facts=facts, weak=weak)
    wanted = written_out(data, config)
    np.testing.assert_allclose(
        TextEase.fit(data, config).score(data.histories), wanted, atol=3e-3 * np.abs(wanted).max()
    )


def test_without_facts_the_text_alone_decides():
    """A catalog without fields, and facts that count nothing, are the same."""
    data = world()
    bare = TrainingData(data.histories, data.vectors)
    ignoring = TextEase.fit(data, TextEaseConfig(facts=0.0))
    np.testing.assert_array_equal(
        TextEase.fit(bare, TextEaseConfig()).score(data.histories), ignoring.score(data.histories)
    )
    assert not np.allclose(TextEase.fit(data, TextEaseConfig()).score(data.histories), ignoring.score(data.histories))


def test_a_cold_item_in_a_history_counts():
    """Somebody who had nothing but items that nobody else had gets what people get who had items like those."""
    data = world()
    vectors = data.vectors.copy()
    vectors[-1] = vectors[0]
    scorer = TextEase.fit(TrainingData(data.histories, vectors), TextEaseConfig(noise=0.05, sharpness=3.0))
    one, other = (Histories.of([History((data.histories.items[c],), (5.0,))], data.histories.items) for c in (0, -1))
    known, new = scorer.score(one)[0, 1:-1], scorer.score(other)[0, 1:-1]
    assert np.corrcoef(known, new)[0, 1] > 0.9


def test_twins_of_warm_items_are_scored_like_them():
    """With hardly any noise a cold item with the text of a warm one gets EASE's own score of that one."""
    data = world()
    vectors = data.vectors.copy()
    vectors[-COLD:] = vectors[:COLD]
    config = TextEaseConfig(noise=1e-3, sharpness=5.0, facts=0.0, weak=0.0)
    found = TextEase.fit(TrainingData(data.histories, vectors), config).score(data.histories)
    ease = Ease.fit(data, EaseConfig(strength=config.strength)).score(data.histories)
    np.testing.assert_allclose(found[:, -COLD:], ease[:, :COLD], atol=0.05 * np.abs(ease).max())


def test_fewer_landmarks_and_dimensions_lose_little(monkeypatch):
    """Half of the landmarks on smooth texts, and a rank below that of the scores."""
    data = world()
    data = TrainingData(data.histories, np.ascontiguousarray(data.vectors[:, :2]))
    config = TextEaseConfig(facts=0.0, sharpness=0.3)
    whole = TextEase.fit(data, config).score(data.histories)
    monkeypatch.setattr(text_ease, "LANDMARKS", 17)
    monkeypatch.setattr(text_ease, "RANK", 8)
    less = TextEase.fit(data, config)
    assert less.arrays()["vectors"].shape == (40, 8)
    for mine, theirs in zip(less.score(data.histories), whole, strict=True):
        assert np.corrcoef(mine, theirs)[0, 1] > 0.95


def test_items_beyond_the_most_are_predicted(monkeypatch):
    """Weights are learnt of the items with the most events; the others count all the same."""
    data = world()
    monkeypatch.setattr(text_ease, "MOST", 10)
    scorer = TextEase.fit(data, TextEaseConfig())
    assert scorer.arrays()["vectors"].shape == (40, 10)
    rare = int(np.argsort(-np.bincount(data.histories.values.indices, minlength=40), kind="stable")[30])
    alone = Histories.of([History((data.histories.items[rare],), (5.0,))], data.histories.items)
    assert np.ptp(scorer.score(alone)) > 0


def test_blocks_change_nothing(monkeypatch):
    """Items are compared with the landmarks in blocks."""
    data = world()
    whole = TextEase.fit(data, TextEaseConfig()).score(data.histories)
    monkeypatch.setattr(kernel, "BLOCK", 7)
    np.testing.assert_allclose(TextEase.fit(data, TextEaseConfig()).score(data.histories), whole, atol=1e-6)


def test_where_no_item_has_two_events_all_are_alike():
    """Nothing can be learnt, nothing breaks."""
    data = world(users=1)
    assert not TextEase.fit(data, TextEaseConfig()).score(data.histories).any()


def test_it_needs_the_text():
    """And says how to get it."""
    with pytest.raises(InputError, match=r"text-ease reads the items' text.*whyrec index"):
        TextEase.fit(TrainingData(world().histories), TextEaseConfig())
