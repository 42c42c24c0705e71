"""Scores of several scorers are put on one scale and added, or put together by rank."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.fusion import borda, cascade, ranks, rrf, standardise, weighted

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
rows = st.lists(finite, min_size=1, max_size=20)
stacks = st.tuples(st.integers(1, 4), st.integers(1, 12)).flatmap(
    lambda shape: st.lists(st.lists(finite, min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0])
)
INF = math.inf
# Two users, four candidates; the second has three. Two scorers: x and y.
X = [[9, 5, 5, 1], [2, 8, 4, 99]]
Y = [[0.1, 0.4, 0.2, 0.3], [7, 7, 7, -99]]
SCORES = np.array([X, Y], dtype=np.float32)
PRESENT = np.array([[True] * 4, [True, True, True, False]])


def test_standardise_gives_mean_0_and_deviation_1():
    assert standardise(np.array([1, 2, 3])).tolist() == pytest.approx([-math.sqrt(1.5), 0, math.sqrt(1.5)])


@pytest.mark.parametrize("constant", [[], [7], [0, 0], [0.1, 0.1, 0.1], [3e38, 3e38], [-5, -5]])
def test_scores_that_do_not_differ_become_0(constant):
    found = standardise(np.array(constant, dtype=np.float32))
    assert found.tolist() == [0] * len(constant)
    assert found.dtype == np.float32


@settings(max_examples=60, deadline=None)
@given(rows)
def test_standardise_is_bounded_and_keeps_the_order(values):
    scores = np.array(values, dtype=np.float32)
    found = standardise(scores)
    assert np.isfinite(found).all()
    assert (np.abs(found) <= math.sqrt(len(values)) + 1e-3).all()
    assert (np.diff(found[scores.argsort()]) >= 0).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=20, unique=True), st.integers(1, 10**6))
def test_neither_unit_nor_origin_of_the_scores_matters(values, factor):
    scores = np.array(values, dtype=np.float64)
    np.testing.assert_allclose(standardise(scores * factor + 17), standardise(scores), atol=1e-4)


def test_each_list_is_standardised_for_itself_from_what_is_present():
    found = standardise(SCORES, PRESENT)
    for scorer in range(2):
        for user, count in enumerate((4, 3)):
            np.testing.assert_allclose(
                found[scorer, user, :count], standardise(SCORES[scorer, user, :count]), atol=1e-6
            )
    assert found[:, 1, 3].tolist() == [0, 0]


@pytest.mark.parametrize("filling", [0, 1e30, math.nan, -INF])
def test_what_stands_where_there_is_no_candidate_does_not_matter(filling):
    scores = SCORES.copy()
    scores[:, 1, 3] = filling
    np.testing.assert_array_equal(weighted(scores, (1, 2), PRESENT), weighted(SCORES, (1, 2), PRESENT))
    for fuse in (borda, rrf):
        np.testing.assert_array_equal(fuse(scores, PRESENT), fuse(SCORES, PRESENT))
    np.testing.assert_array_equal(cascade(*scores, 2, PRESENT)[:, :3], cascade(*SCORES, 2, PRESENT)[:, :3])


@settings(max_examples=60, deadline=None)
@given(stacks)
def test_a_weight_of_1_beside_zeros_keeps_that_scorers_order(stack):
    scores = np.array(stack, dtype=np.float32)
    for scorer in range(len(scores)):
        weights = [float(scorer == other) for other in range(len(scores))]
        assert (np.diff(weighted(scores, weights)[scores[scorer].argsort()]) >= 0).all()


@settings(max_examples=60, deadline=None)
@given(stacks, st.data())
def test_only_the_proportions_of_the_weights_matter(stack, data):
    scores = np.array(stack, dtype=np.float32)
    weights = data.draw(st.lists(st.integers(1, 9), min_size=len(scores), max_size=len(scores)))
    expected = weighted(scores, weights)
    for factor in (0.01, 1000):
        np.testing.assert_allclose(weighted(scores, [factor * w for w in weights]), expected, atol=1e-4)


def test_weights_weigh():
    first, second = np.array([1.0, 2.0, 3.0]), np.array([30.0, 20.0, 10.0])
    z, scores = standardise(first), np.stack([first, second])
    assert weighted(scores, (1, 0)).tolist() == z.tolist()
    assert weighted(scores, (0.75, 0.25)).tolist() == pytest.approx((z / 2).tolist())
    assert weighted(scores, (2, 2)).tolist() == pytest.approx([0, 0, 0])
    assert weighted(scores, (0, 1)).tolist() == pytest.approx((-z).tolist())
    assert weighted(scores, (1, 0)).dtype == np.float32


def test_a_stage_that_cannot_tell_items_apart_leaves_the_order_to_the_other():
    found = weighted(np.array([[5.0, 5.0, 5.0], [1.0, 3.0, 2.0]]), (0.9, 0.1))
    assert found.argsort().tolist() == [0, 2, 1]


def test_the_order_of_very_small_scores_is_kept():
    assert weighted(np.array([[1e-8, 2e-8], [0.0, 0.0]]), (1, 0)).argsort().tolist() == [0, 1]


@pytest.mark.parametrize("shape", [(2, 0), (2, 3, 0), (2, 0, 4)])
def test_nothing_in_nothing_out(shape):
    scores, present = np.zeros(shape), np.ones(shape[1:], dtype=np.bool_)
    for found in (weighted(scores, (1, 1), present), borda(scores, present), rrf(scores, present)):
        assert (found.shape, found.dtype) == (shape[1:], np.float32)
    assert cascade(*scores, 2, present).shape == shape[1:]


def test_a_list_without_any_candidate_stays_empty():
    nobody = np.zeros((2, 4), dtype=np.bool_)
    for found in (weighted(SCORES, (1, 1), nobody), borda(SCORES, nobody), rrf(SCORES, nobody)):
        assert np.isneginf(found).all()
    assert np.isneginf(cascade(*SCORES, 2, nobody)).all()


@pytest.mark.parametrize(
    "weights",
    [(-0.01, 1), (0, 0), (math.nan, 1), (1, math.nan), (math.inf, 1), (1, math.inf), (-math.inf, 1)],
)
def test_weights_that_weigh_nothing_are_refused(weights):
    with pytest.raises(ValueError, match="weights must be finite, at least 0 and not all 0"):
        weighted(np.array([[1.0, 2.0], [2.0, 1.0]]), weights)


@pytest.mark.parametrize("weights", [(1e-50, 0), (3e38, 3e38)])
def test_weights_may_be_very_small_or_great(weights):
    assert weighted(np.array([[1.0, 2.0], [7.0, 7.0]]), weights).argsort().tolist() == [0, 1]
    assert np.ptp(weighted(np.array([[1.0, 2.0], [7.0, 7.0]]), weights)) > 0.5


@pytest.mark.parametrize("weights", [(1,), (1, 1, 1)])
def test_each_scorer_needs_one_weight(weights):
    with pytest.raises(ValueError, match=f"{len(weights)} weights for the scores of 2"):
        weighted(np.zeros((2, 3)), weights)


def test_ranks_share_the_mean_of_their_places():
    assert ranks(SCORES, PRESENT)[:, 0].tolist() == [[1, 2.5, 2.5, 4], [4, 1, 3, 2]]
    assert ranks(SCORES, PRESENT)[:, 1, :3].tolist() == [[3, 1, 2], [2, 2, 2]]
    assert ranks(np.array([7.0])).tolist() == [1]


def test_borda_counts_the_candidates_below():
    below = np.array([[3 + 0, 1.5 + 3, 1.5 + 1, 0 + 2], [0 + 1, 2 + 1, 1 + 1, -INF]])
    found = borda(SCORES, PRESENT)
    np.testing.assert_allclose(found - found[:, :1], below - below[:, :1])
    assert found.dtype == np.float32


def test_rrf_adds_the_reciprocals_of_the_ranks():
    expected = [
        [1 / 61 + 1 / 64, 1 / 62.5 + 1 / 61, 1 / 62.5 + 1 / 63, 1 / 64 + 1 / 62],
        [1 / 63 + 1 / 62, 1 / 61 + 1 / 62, 1 / 62 + 1 / 62, -INF],
    ]
    np.testing.assert_allclose(rrf(SCORES, PRESENT), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        (1, [[-1, -2.5, -2.5, -4], [-3, -1, -2, -INF]]),
        (3, [[-3, -1, -2, -4], [-2, -2, -2, -INF]]),
        (9, [[-4, -1, -3, -2], [-2, -2, -2, -INF]]),
    ],
)
def test_cascade_cuts_by_the_first_and_orders_by_the_second(cut, expected):
    np.testing.assert_allclose(cascade(*SCORES, cut, PRESENT), expected, rtol=1e-6)


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_where_the_first_scorer_cannot_tell_candidates_apart_the_second_orders_all(cut):
    assert cascade(np.zeros(4), np.arange(4.0), cut).tolist() == [-4, -3, -2, -1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-2, 2), min_size=1, max_size=9), st.integers(1, 9))
def test_what_the_first_scorer_cuts_away_comes_after_all_that_it_keeps(values, cut):
    cheap = np.array(values, dtype=np.float32)
    found = cascade(cheap, -cheap, cut)
    kept = cheap >= np.sort(cheap)[::-1][min(cut, len(cheap)) - 1]
    assert found[kept].min() > found[~kept].max(initial=-INF)


@pytest.mark.parametrize("fuse", [borda, rrf])
@settings(max_examples=40, deadline=None)
@given(stacks)
def test_fusions_by_rank_need_the_order_alone(fuse, stack):
    scores = np.array(stack, dtype=np.float64)
    _, places = np.unique(scores, return_inverse=True)
    np.testing.assert_array_equal(fuse(places.reshape(scores.shape) ** 3), fuse(scores))
