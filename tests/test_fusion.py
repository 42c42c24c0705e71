"""Scores of two stages are put on one scale and added."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.fusion import standardise, weighted

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
rows = st.lists(finite, min_size=1, max_size=20)
pairs = st.integers(1, 12).flatmap(lambda n: st.tuples(*[st.lists(finite, min_size=n, max_size=n)] * 2))


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


@settings(max_examples=60, deadline=None)
@given(pairs)
def test_alpha_0_keeps_the_order_of_the_first_and_alpha_1_that_of_the_second(pair):
    first, second = (np.array(values, dtype=np.float32) for values in pair)
    assert (np.diff(weighted(first, second, 0)[first.argsort()]) >= 0).all()
    assert (np.diff(weighted(first, second, 1)[second.argsort()]) >= 0).all()


def test_alpha_weighs_the_second():
    first, second = np.array([1.0, 2.0, 3.0]), np.array([30.0, 20.0, 10.0])
    z = standardise(first)
    assert weighted(first, second, 0).tolist() == z.tolist()
    assert weighted(first, second, 0.25).tolist() == pytest.approx((z / 2).tolist())
    assert weighted(first, second, 0.5).tolist() == pytest.approx([0, 0, 0])
    assert weighted(first, second, 1).tolist() == pytest.approx((-z).tolist())


def test_a_stage_that_cannot_tell_items_apart_leaves_the_order_to_the_other():
    found = weighted(np.array([5.0, 5.0, 5.0]), np.array([1.0, 3.0, 2.0]), 0.1)
    assert found.argsort().tolist() == [0, 2, 1]


def test_nothing_in_nothing_out():
    found = weighted(np.array([]), np.array([]), 0.5)
    assert found.shape == (0,)
    assert found.dtype == np.float32


@pytest.mark.parametrize("alpha", [-0.01, 1.01, math.nan, math.inf])
def test_alpha_outside_0_and_1_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha must be between 0 and 1"):
        weighted(np.array([1.0]), np.array([1.0]), alpha)


def test_lists_of_unlike_length_are_refused():
    with pytest.raises(ValueError, match="1 scores cannot be put together with 3"):
        weighted(np.array([1.0]), np.array([1.0, 2.0, 3.0]), 0.5)


def test_alpha_0_keeps_the_order_of_very_small_scores():
    assert weighted(np.array([1e-8, 2e-8]), np.array([0.0, 0.0]), 0).argsort().tolist() == [0, 1]
