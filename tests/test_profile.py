"""Many liked items become few queries, and items are scored by their cosines to what was liked."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.fusion import standardise
from retrieval.text.profile import MAX_QUERIES, SHARPNESS, Direction, Interest, Profile, interest_in
from retrieval.text.retriever import TextRetriever

sizes = st.integers(1, 40)
seeds = st.integers(0, 2**32 - 1)


def unit_vectors(n: int, seed: int = 0, dimension: int = 8) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@settings(max_examples=60, deadline=None)
@given(sizes, seeds)
def test_queries_are_members_and_at_most_16(n, seed):
    vectors = unit_vectors(n, seed)
    interest = interest_in(vectors)
    assert 1 <= len(interest.queries) <= MAX_QUERIES
    assert {tuple(query) for query in interest.queries.tolist()} <= {tuple(vector) for vector in vectors.tolist()}
    assert interest.anchors is vectors


@pytest.mark.parametrize("n", [1, 15, 16])
def test_few_items_are_kept_as_they_are(n):
    vectors = unit_vectors(n)
    assert interest_in(vectors).queries.tolist() == vectors.tolist()


def test_every_group_is_asked_for_by_the_item_in_its_middle():
    middles = np.eye(MAX_QUERIES, dtype=np.float32)
    sides = np.roll(middles, 1, axis=1) * 0.2
    around = np.concatenate([middles, middles + sides, middles - sides])
    queries = interest_in(around / np.linalg.norm(around, axis=1, keepdims=True)).queries
    assert sorted(queries.tolist()) == sorted(middles.tolist())


def test_the_same_item_many_times_is_one_query():
    assert interest_in(np.repeat(unit_vectors(1), 30, axis=0)).queries.shape == (1, 8)


def test_a_hundred_thousand_liked_items_are_still_a_few_queries():
    vectors = unit_vectors(100_000)
    interest = interest_in(vectors)
    assert interest.queries.shape == (MAX_QUERIES, 8)
    assert len(interest.anchors) == 100_000
    assert np.isfinite(interest.score(unit_vectors(20, seed=1))).all()


def test_no_item_is_no_interest():
    with pytest.raises(ValueError, match="at least one vector"):
        interest_in(unit_vectors(0))


def test_with_one_anchor_the_score_is_the_cosine():
    anchor, items = unit_vectors(1), unit_vectors(20, seed=1)
    np.testing.assert_allclose(interest_in(anchor).score(items), items @ anchor[0], atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(sizes, sizes, seeds)
def test_the_score_lies_between_the_mean_and_the_highest_cosine(n, items, seed):
    anchors, vectors = unit_vectors(n, seed), unit_vectors(items, seed + 1)
    cosines = vectors @ anchors.T
    scores = interest_in(anchors).score(vectors)
    assert scores.shape == (items,)
    assert scores.dtype == np.float32
    assert (scores <= cosines.max(axis=1) + 1e-6).all()
    assert (scores >= cosines.mean(axis=1) - 1e-6).all()
    assert (scores >= cosines.max(axis=1) - np.log(n) / SHARPNESS - 1e-6).all()


def test_the_score_follows_its_formula():
    anchors, items = unit_vectors(5), unit_vectors(7, seed=1)
    expected = np.log(np.exp(SHARPNESS * (items @ anchors.T).astype(np.float64)).mean(axis=1)) / SHARPNESS
    np.testing.assert_allclose(interest_in(anchors).score(items), expected, atol=1e-5)


def test_the_nearest_anchors_decide():
    anchors = np.eye(3, dtype=np.float32)[[0, 1, 1, 1, 1]]
    liked_once, between = np.eye(3, dtype=np.float32)[0], np.full(3, 3**-0.5, dtype=np.float32)
    scores = interest_in(anchors).score(np.stack([liked_once, between]))
    assert (anchors @ liked_once).mean() < (anchors @ between).mean()
    assert scores[0] > scores[1]


def test_a_profile_of_one_interest_scores_like_it():
    interest, items = interest_in(unit_vectors(3)), unit_vectors(9, seed=1)
    assert Profile((interest,)).score(items).tolist() == interest.score(items).tolist()


def test_several_interests_weigh_the_same_whatever_their_scale():
    axes = np.eye(2, dtype=np.float32)
    strong, weak = Interest(axes[:1], axes[:1]), Interest(axes[1:], axes[1:])
    items = np.array([[0.9, 0.01], [0.1, 0.02], [0.5, 0.03]], dtype=np.float32)
    profile = Profile((strong, weak))
    expected = (standardise(items[:, 0]) + standardise(items[:, 1])) / 2
    np.testing.assert_allclose(profile.score(items), expected, atol=1e-5)
    assert profile.score(items).dtype == np.float32
    assert profile.queries.tolist() == axes.tolist()


@pytest.mark.parametrize("interests", [1, 2])
def test_no_items_have_no_scores(interests):
    scores = Profile((interest_in(unit_vectors(2)),) * interests).score(np.zeros((0, 0), dtype=np.float32))
    assert scores.shape == (0,)
    assert scores.dtype == np.float32


def test_an_interest_scores_no_items():
    assert interest_in(unit_vectors(2)).score(unit_vectors(0)).shape == (0,)


@pytest.mark.parametrize("length", [1e-4, 1.0, 300.0])
def test_a_direction_scores_by_product_and_searches_by_its_unit(length):
    towards, items = np.float32(length) * unit_vectors(1)[0], unit_vectors(30, seed=1)
    direction = Direction(towards)
    assert direction.queries.shape == (1, 8)
    assert direction.queries.dtype == direction.score(items).dtype == np.float32
    np.testing.assert_allclose(direction.queries, unit_vectors(1), atol=1e-6)
    np.testing.assert_allclose(direction.score(items), items @ towards, rtol=1e-5)
    assert direction.score(items).argmax() == (items @ direction.queries[0]).argmax()
    assert direction.score(items[:0]).shape == (0,)


def test_no_direction_is_no_error_and_every_item_is_alike():
    direction = Direction(np.zeros(8, dtype=np.float32))
    assert not direction.queries.any()
    assert not direction.score(unit_vectors(5)).any()


def test_a_direction_weighs_as_much_as_an_interest_whatever_its_length():
    axes, items = np.eye(2, dtype=np.float32), unit_vectors(9, dimension=2)
    expected = (standardise(items[:, 0]) + standardise(items[:, 1])) / 2
    for length in (0.01, 40):
        profile = Profile((Interest(axes[:1], axes[:1]), Direction(np.float32(length) * axes[1])))
        assert profile.queries.tolist() == axes.tolist()
        np.testing.assert_allclose(profile.score(items), expected, atol=1e-5)
    without = Profile((Interest(axes[:1], axes[:1]), Direction(np.zeros(2, dtype=np.float32))))
    assert without.score(items).argsort().tolist() == items[:, 0].argsort().tolist()


def test_a_direction_retrieves_the_items_farthest_along_it(planted_index, planted):
    ids = sorted(planted.catalog.ids)
    vectors = planted_index.vectors(ids)
    towards = vectors[:6].sum(axis=0) - 2 * vectors[9]
    found = TextRetriever(planted_index).retrieve([Profile((Direction(towards),), frozenset(ids[:2]))], 4)
    best = sorted(range(2, len(ids)), key=lambda row: -float(vectors[row] @ towards))[:4]
    assert found.ids[0].tolist() == [ids[row] for row in best]
    nowhere = TextRetriever(planted_index).retrieve([Profile((Direction(np.zeros_like(towards)),))], 4)
    assert len(nowhere.row(0)) == 4
