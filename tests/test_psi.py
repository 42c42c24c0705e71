"""The population stability index: numbers made by hand, and what must hold of any."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from retrieval.drift import FLOOR, Drift, by_chance, find_clusters, popularity_drift, profile_drift, psi

COUNTS = st.lists(st.integers(0, 10**6), min_size=1, max_size=12).filter(any)
PAIRS = st.integers(1, 12).flatmap(
    lambda size: st.tuples(*(st.lists(st.integers(0, 10**6), min_size=size, max_size=size).filter(any),) * 2)
)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([50, 50], [90, 10], 0.4 * np.log(0.9 / 0.5) - 0.4 * np.log(0.1 / 0.5)),  # .8789
        ([2, 3, 5], [20, 30, 50], 0.0),
        ([1, 1, 2], [2, 1, 1], 0.25 * np.log(2) - 0.25 * np.log(0.5)),  # .3466
        ([10, 0], [5, 5], (0.5 - 1) * np.log(0.5) + (0.5 - FLOOR) * np.log(0.5 / FLOOR)),
    ],
)
def test_numbers_made_by_hand(before, after, expected):
    assert psi(np.array(before), np.array(after)) == pytest.approx(expected, abs=1e-12)


@given(PAIRS)
def test_it_is_never_negative_and_the_same_both_ways(pair):
    before, after = map(np.array, pair)
    assert psi(before, after) >= 0
    assert psi(before, after) == pytest.approx(psi(after, before))


@given(COUNTS, st.integers(1, 50))
def test_the_same_shares_have_none_however_many_events(counts, times):
    assert psi(np.array(counts), np.array(counts) * times) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("value", "chance", "reading", "passes"),
    [
        (0.09, 0.0, "none", False),
        (0.1, 0.01, "moderate", False),
        (0.25, 0.01, "moderate", False),
        (0.26, 0.01, "large", True),
        (0.9, 1.0, "none", False),
    ],
)
def test_how_it_is_read(value, chance, reading, passes):
    drift = Drift(value, chance)
    assert (drift.reading, drift.passes(0.25)) == (reading, passes)


def test_few_events_differ_by_chance_as_often_as_said():
    rng = np.random.default_rng(3)
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    pairs = [(rng.multinomial(400, shares), rng.multinomial(150, shares)) for _ in range(2_000)]
    above = np.mean([psi(*pair) > by_chance(*pair) for pair in pairs])
    assert 0.03 < above < 0.07
    assert by_chance(*pairs[0]) == pytest.approx(chi2.ppf(0.95, 3) * (1 / 400 + 1 / 150))


def test_popularity_is_by_how_many_events_an_item_had_and_what_was_had_once_is_unknown():
    before = np.repeat([0, 1, 2, 3], [1, 2, 3, 4])  # item 4 was never had
    after = np.array([4, 4, 0, 3])
    # Deciles of (1, 2, 3, 4) are 1, 2, 3. Before, by the events but for itself: 0 once, 1 two, 2 three, 3 four times.
    # So the buckets (never, 1, 2, 3, more) have (1, 2, 3, 4, 0) of ten before, and (2, 1, 0, 0, 1) of four after.
    expected = psi(np.array([1, 2, 3, 4, 0]), np.array([2, 1, 0, 0, 1]))
    assert popularity_drift(before, after, 5).psi == pytest.approx(expected)


def test_what_has_not_changed_shows_no_drift_of_popularity_though_some_of_it_is_new():
    rng = np.random.default_rng(0)
    weights = 1 / np.arange(1, 3_001)
    drawn = rng.choice(3_000, 20_000, p=weights / weights.sum())
    before, after = drawn[:15_000], drawn[15_000:]
    assert np.isin(after, before, invert=True).mean() > 0.01
    assert popularity_drift(before, after, 3_000).psi < 0.005
    turned = popularity_drift(before, 2_999 - after, 3_000)
    assert turned.reading == "large"


def test_profiles_drift_where_events_move_to_another_cluster():
    vectors = np.repeat(np.eye(3, dtype=np.float32), 10, axis=0) + np.linspace(0, 0.05, 30)[:, None].astype(np.float32)
    clusters = find_clusters(vectors[np.repeat([0, 10, 20], 10)], seed=1)
    assert len(set(clusters[:10])) == len(set(clusters[10:20])) == len(set(clusters[20:])) == 1
    assert len(set(clusters)) == 3
    assert (clusters == find_clusters(vectors[np.repeat([0, 10, 20], 10)], seed=1)).all()
    before, after = np.array([0, 1, 2, 10, 11, 20]), np.array([20, 21, 22, 23, 1, 10])
    expected = psi(np.array([3, 2, 1]), np.array([1, 1, 4]))
    assert profile_drift(before, after, clusters).psi == pytest.approx(expected)
