"""The tower computes what its formula says, and what people had tells it which texts go together."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scorer_worlds import random_histories

from retrieval.cf.scorer import TrainingData
from retrieval.cf.scorers import load_scorer, save_scorer
from retrieval.data.events import History
from retrieval.data.histories import Histories
from retrieval.errors import InputError
from retrieval.text.profile import Direction
from retrieval.text.scorers import Cosine, CosineConfig
from retrieval.text.tower import Tower, TowerConfig


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def texts(items, dimension=12, seed=0):
    return unit(np.random.default_rng(seed).normal(size=(items, dimension)))


def fitted(histories, vectors, **config):
    return Tower.fit(TrainingData(histories, vectors), TowerConfig(**config))


def scaled(vectors):
    """Of length 1; 0 where there is nothing but what rounding made."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 1e-12)


def written_out(histories, vectors, config):
    """W, b and all scores in float64, as the formula stands, over the items that somebody had."""
    x, every = histories.positives(config.positive_from).toarray().astype(float), vectors.astype(float)
    known = np.isin(np.arange(len(every)), histories.values.indices)
    counts, f, had = x.sum(axis=1), every[known], x[:, known]
    weight = np.diag(np.where(counts > 0, np.maximum(counts, 1) ** -config.activity, 0))
    both, text = f.T @ had.T @ weight @ had @ f, f.T @ f
    own = f.T @ np.diag(had.T @ weight @ np.ones(len(x))) @ f
    ridges = [s * np.trace(m) / len(m) * np.eye(len(m)) for s, m in ((config.taste, both), (config.text, text))]
    left, right = np.linalg.inv(both + ridges[0]), np.linalg.inv(text + ridges[1])
    w = left @ (both - own) @ right
    popularity = np.log(1 + had.sum(axis=0))
    b = scaled(right @ f.T @ (popularity - popularity.mean()))
    rounding = 1e-5 * np.prod([np.linalg.norm(matrix, 2) for matrix in (left, own, right)])  # of sums in float32
    return w, b, (scaled(x @ every @ w) + config.popular * b) @ every.T, rounding


def assert_follows(tower, histories, vectors):
    weights, popular, scores, rounding = written_out(histories, vectors, tower.config)
    np.testing.assert_allclose(tower.weights, weights, atol=1e-5 * np.abs(weights).max() + rounding)
    np.testing.assert_allclose(tower.popular, popular, atol=1e-4)
    found = tower.score(histories)
    sums = histories.positives(tower.config.positive_from) @ vectors
    clear = np.linalg.norm(sums @ weights, axis=1) > 200 * rounding * np.linalg.norm(sums, axis=1)
    np.testing.assert_allclose(found[clear], scores[clear], atol=0.02)
    assert {tower.weights.dtype, tower.popular.dtype, found.dtype} == {np.dtype(np.float32)}


def equally_popular(histories, positive_from):
    positives, known = histories.positives(positive_from), np.unique(histories.values.indices)
    return len(np.unique(np.bincount(positives.indices, minlength=len(histories.items))[known])) < 2


@settings(max_examples=80, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(2, 40), st.integers(2, 24)),
    seed=st.integers(0, 2**32 - 1),
    taste=st.sampled_from([0.3, 3.0, 30.0]),
    text=st.sampled_from([0.03, 0.5, 10.0]),
    activity=st.sampled_from([0.0, 0.5, 1.0]),
    popular=st.sampled_from([0.0, 0.3, 1.0]),
    positive_from=st.sampled_from([None, 4.0]),
)
def test_it_follows_its_formula(size, seed, positive_from, **config):
    users, items, dimension = size
    histories = random_histories(users, items, seed=seed, each=min(items, 5))
    assume(not equally_popular(histories, positive_from))
    vectors = texts(items, dimension, seed)
    assert_follows(fitted(histories, vectors, positive_from=positive_from, **config), histories, vectors)


@pytest.mark.parametrize(("users", "items", "dimension"), [(1, 6, 12), (2, 3, 200), (30, 5, 64), (400, 60, 8)])
def test_few_users_and_fewer_items_than_dimensions_are_enough(users, items, dimension):
    histories, vectors = random_histories(users, items, seed=1, each=min(2, items)), texts(items, dimension)
    assert_follows(fitted(histories, vectors), histories, vectors)


def test_the_ridges_scale_with_what_they_are_added_to():
    histories, vectors = random_histories(30, 20, seed=2), texts(20)
    twice = Histories((*histories.users, *histories.users), histories.items, histories.values[[*range(30)] * 2])
    np.testing.assert_allclose(fitted(twice, vectors).weights, fitted(histories, vectors).weights, rtol=1e-3, atol=1e-5)
    small = fitted(histories, 0.01 * vectors).score(histories)
    np.testing.assert_allclose(100 * small, fitted(histories, vectors).score(histories), atol=1e-3)


def test_who_had_nothing_teaches_nothing_and_gets_what_reads_like_popular_items():
    histories, vectors = random_histories(30, 20, seed=3), texts(20)
    people = [History(tuple(histories.items[c] for c in histories.values[[r]].indices), (5.0,) * 5) for r in range(30)]
    some, more = Histories.of(people, histories.items), Histories.of([*people, History((), ())], histories.items)
    tower = fitted(more, vectors)
    np.testing.assert_allclose(tower.weights, fitted(some, vectors).weights, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(tower.score(more)[-1], 0.3 * vectors @ tower.popular, atol=1e-6)
    assert not fitted(more, vectors, popular=0.0).score(more)[-1].any()


def test_new_items_that_read_like_popular_ones_come_first_for_somebody_new():
    drawn, names = np.random.default_rng(1), tuple(f"{number:02}" for number in range(40))
    vectors = unit(texts(40) + np.repeat(texts(2, seed=4), 20, axis=0))
    had = [*(drawn.choice(16, 5, replace=False) for _ in range(60)), *([20 + number] for number in range(16))]
    people = [History(tuple(names[item] for item in items), (5.0,) * len(items)) for items in had]
    new = np.isin(np.arange(40) % 20, range(16, 20))
    first = fitted(Histories.of(people, names), vectors).recommend(
        Histories.of([History((), ())], names), 4, candidates=new
    )
    assert {name for name, _ in first.row(0)} == set(names[16:20])


@pytest.mark.parametrize("people", [1, 2, 5])
def test_items_that_are_all_as_popular_have_no_popular_direction(people):
    names = tuple(f"{number:04}" for number in range(1000))
    histories = Histories.of([History(names, (5.0,) * 1000)] * people, names)
    assert not fitted(histories, texts(1000)).popular.any()


@pytest.mark.parametrize("people", [[], [History((), ())] * 3])
def test_without_any_event_every_item_is_alike(people):
    tower = fitted(Histories.of(people, "abcd"), texts(4))
    assert not tower.weights.any()
    assert not tower.popular.any()
    assert not tower.score(Histories.of([History(("a", "c"), (5.0, 5.0))], "abcd")).any()


def test_items_that_nobody_had_change_nothing_and_are_scored_by_their_text():
    known, vectors = random_histories(40, 20, seed=4), texts(32)
    vectors[31] = vectors[7]
    names = (*known.items, *(f"zz{number}" for number in range(12)))
    wide = known.values.copy()
    wide.resize(40, 32)
    tower, small = fitted(Histories(known.users, names, wide), vectors), fitted(known, vectors[:20])
    np.testing.assert_allclose(tower.weights, small.weights, rtol=1e-4, atol=1e-6)
    scores = tower.score(Histories(known.users, names, wide))
    np.testing.assert_allclose(scores[:, :20], small.score(known), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(scores[:, 31], scores[:, 7], rtol=1e-4, atol=1e-6)
    assert np.abs(scores[:, 20:]).min() > 0


def test_an_item_does_not_predict_itself():
    """Who had one item each says nothing of which go together."""
    alone, pairs = random_histories(1000, 20, seed=5, each=1), random_histories(1000, 20, seed=5, each=2)
    assert np.abs(fitted(alone, texts(20)).weights).max() < 1e-3 * np.abs(fitted(pairs, texts(20)).weights).max()


def test_where_nothing_goes_together_only_popularity_decides():
    alone, vectors = random_histories(1000, 20, seed=5, each=1), texts(20)
    tower = fitted(alone, vectors)
    np.testing.assert_allclose(tower.score(alone), np.tile(0.3 * vectors @ tower.popular, (1000, 1)), atol=1e-3)


def test_dimensions_that_say_nothing_stay_without_a_say():
    histories, vectors = random_histories(40, 20, seed=6), texts(20)
    vectors[:, 3] = 0
    tower = fitted(histories, vectors)
    assert not tower.weights[3].any()
    assert not tower.weights[:, 3].any()
    assert not tower.popular[3]
    nothing = fitted(histories, np.zeros_like(vectors))
    assert not nothing.score(histories).any()


@pytest.mark.parametrize("ridges", [{"taste": 0.0}, {"text": 0.0}])
def test_no_ridge_at_all_is_still_enough_to_invert(ridges):
    vectors = texts(20)
    vectors[:, 3] = 0
    assert np.isfinite(fitted(random_histories(40, 20, seed=6), vectors, **ridges).weights).all()


def test_the_same_data_give_the_same_weights_and_the_order_of_users_none():
    histories, vectors = random_histories(60, 30, seed=7), texts(30)
    first = fitted(histories, vectors)
    np.testing.assert_array_equal(fitted(histories, vectors.copy()).weights, first.weights)
    turned = fitted(histories.take(np.arange(60)[::-1]), vectors)
    np.testing.assert_allclose(turned.weights, first.weights, rtol=1e-3, atol=1e-5 * np.abs(first.weights).max())


def test_it_is_loaded_as_it_was_saved(tmp_path):
    histories, vectors = random_histories(60, 30, seed=8), texts(30)
    tower = fitted(histories, vectors, positive_from=3.0, taste=7.0)
    save_scorer(tower, tmp_path)
    loaded = load_scorer("tower", tmp_path)
    assert loaded.config == tower.config
    np.testing.assert_array_equal(loaded.weights, tower.weights)
    np.testing.assert_array_equal(loaded.popular, tower.popular)
    np.testing.assert_array_equal(loaded.score(histories), tower.score(histories))


@pytest.mark.parametrize("lie", [np.asfortranarray, lambda vectors: np.repeat(vectors, 2, axis=1)[:, ::2]])
def test_however_the_vectors_lie_in_memory_it_is_loaded_as_it_was_saved(lie, tmp_path):
    histories, vectors = random_histories(60, 30, seed=8), texts(30)
    tower = fitted(histories, lie(vectors))
    save_scorer(tower, tmp_path)
    np.testing.assert_array_equal(load_scorer("tower", tmp_path).score(histories), tower.score(histories))


def test_it_needs_the_texts():
    with pytest.raises(InputError, match=r"tower reads the items' text.*whyrec index"):
        Tower.fit(TrainingData(random_histories(3, 9, seed=0)), TowerConfig())


@pytest.mark.parametrize("positive_from", [None, 4.0])
def test_its_direction_gives_the_scores_of_those_who_liked_the_same(positive_from):
    histories, vectors = random_histories(30, 20, seed=9), texts(20)
    tower = fitted(histories, vectors, positive_from=positive_from)
    positives = histories.positives(positive_from)
    for row, scores in enumerate(tower.score(histories)):
        direction = tower.direction(vectors[positives[[row]].indices])
        assert isinstance(direction, Direction)
        assert direction.towards.dtype == np.float32
        np.testing.assert_allclose(direction.score(vectors), scores, rtol=1e-4, atol=1e-5)
    new = tower.direction(vectors[:0])
    np.testing.assert_allclose(new.score(vectors), 0.3 * vectors @ tower.popular, atol=1e-6)


TOPICS, EACH, COLD = "abcd", 12, 3
NAMES = tuple(f"{topic}-{place:02}" for topic in TOPICS for place in range(EACH))


def planted():
    """Texts of four topics, c near a; who liked some of a liked some of b, of c of d; the last of each are new."""
    rng = np.random.default_rng(12)
    topics = np.linalg.qr(rng.normal(size=(16, 4)))[0].T
    topics[2] += topics[0]
    vectors = unit(np.repeat(unit(topics), EACH, axis=0) + 0.1 * rng.normal(size=(len(NAMES), 16)))
    people = []
    for user in range(120):
        first = 2 * EACH * (user % 2)
        had = [NAMES[first + block + place] for block in (0, EACH) for place in rng.choice(EACH - COLD, 3, False)]
        people.append(History(tuple(had), (5.0,) * 6))
    return TrainingData(Histories.of(people, NAMES), vectors)


def test_who_had_one_topic_gets_new_items_of_the_topic_that_goes_with_it():
    data = planted()
    cold = np.array([int(name[2:]) >= EACH - COLD for name in NAMES])
    assert not data.histories.values.toarray()[:, cold].any()
    other = np.array([name[0] != "a" for name in NAMES])
    asked = Histories.of([History(("a-00", "a-04"), (5.0, 5.0)), History(("a-01",), (5.0,))], NAMES)
    for config in (TowerConfig(), TowerConfig(4.0, taste=0.1, activity=0.0)):
        lists = Tower.fit(data, config).recommend(asked, 9, candidates=cold & other)
        assert all({name[0] for name, _ in row[:COLD]} == {"b"} for row in lists)
    by_text = Cosine.fit(data, CosineConfig()).recommend(asked, 9, candidates=cold & other)
    assert all({name[0] for name, _ in row[:COLD]} == {"c"} for row in by_text)


def test_without_the_events_that_tie_them_topics_do_not_go_together():
    data = planted()
    values = data.histories.values.tocoo()
    keep = np.isin(values.col // EACH, (0, 2))
    rows, columns = values.row[keep], values.col[keep]
    people = [History(tuple(NAMES[c] for c in columns[rows == user]), (5.0,) * 3) for user in range(120)]
    tower = Tower.fit(replace(data, histories=Histories.of(people, NAMES)), TowerConfig())
    scores = tower.score(Histories.of([History(("a-00",), (5.0,))], NAMES))[0].reshape(len(TOPICS), EACH)
    assert scores[0].mean() > 5 * np.abs(scores[[1, 3]].mean(axis=1)).max()
