"""Scores become an order in one way only."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.errors import ScoreError
from retrieval.ranking import order

scores = st.floats(width=32, allow_nan=False)
lists = st.dictionaries(st.text("abcd", min_size=1, max_size=4), scores, max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.lists(lists, max_size=4))
def test_an_order_is_a_permutation_of_the_candidates_with_their_scores(batch):
    found = order([list(row) for row in batch], [list(row.values()) for row in batch], 12, "test")
    assert [dict(row) for row in found] == batch
    assert found.lengths.tolist() == [len(row) for row in batch]


@settings(max_examples=60, deadline=None)
@given(lists, st.integers(0, 14))
def test_the_best_k_come_first_and_equal_scores_by_id(row, k):
    found = order([list(row)], [list(row.values())], k, "test")
    assert found.row(0) == sorted(row.items(), key=lambda pair: (-pair[1], pair[0]))[:k]
    assert found.lengths.tolist() == [min(k, len(row))]
    assert found.scores.dtype == np.float32


@settings(max_examples=60, deadline=None)
@given(lists, st.randoms(use_true_random=False))
def test_the_order_in_which_candidates_are_given_makes_no_difference(row, random):
    shuffled = random.sample(sorted(row.items()), len(row))
    given_order = order([list(row)], [list(row.values())], 5, "test").row(0)
    other_order = order([[name for name, _ in shuffled]], [[value for _, value in shuffled]], 5, "test").row(0)
    assert given_order == other_order


@settings(max_examples=60, deadline=None)
@given(st.lists(lists, max_size=4), st.integers(0, 14))
def test_the_first_of_each_list_are_those_of_a_shorter_one(batch, k):
    candidates, values = [list(row) for row in batch], [list(row.values()) for row in batch]
    found, shorter = order(candidates, values, 12, "test").first(k), order(candidates, values, min(k, 12), "test")
    for name in ("ids", "scores", "lengths"):
        np.testing.assert_array_equal(getattr(found, name), getattr(shorter, name))


def test_equal_scores_are_ordered_by_id():
    assert order([["c", "a", "b"]], [[1, 1, 1]], 3, "test").ids.tolist() == [["a", "b", "c"]]


def test_zero_and_minus_zero_are_equal():
    assert order([["b", "a"]], [[0.0, -0.0]], 2, "test").ids.tolist() == [["a", "b"]]


def test_infinities_stand_at_the_ends():
    found = order([["a", "b", "c"]], [[-math.inf, 0.5, math.inf]], 3, "test")
    assert found.row(0) == [("c", math.inf), ("b", 0.5), ("a", -math.inf)]


def test_a_list_shorter_than_k_is_padded():
    found = order([["a"], ["b", "c"]], [[1], [1, 2]], 3, "test")
    assert found.ids.tolist() == [["a", "", ""], ["c", "b", ""]]
    assert found.scores.tolist() == [[1, -math.inf, -math.inf], [2, 1, -math.inf]]
    assert found.lengths.tolist() == [1, 2]


@pytest.mark.parametrize(("candidates", "expected"), [([], []), ([[]], [[]]), ([[], []], [[], []])])
def test_nothing_in_nothing_out(candidates, expected):
    found = order(candidates, candidates, 4, "test")
    assert list(found) == expected
    assert found.ids.shape == found.scores.shape == (len(candidates), 4)


def test_a_score_that_is_not_a_number_names_source_and_item():
    with pytest.raises(ScoreError, match="the oracle gave a score that is not a number for item 'b'"):
        order([["z"], ["a", "b", "c"]], [[1], [1, math.nan, math.nan]], 2, "the oracle")


@pytest.mark.parametrize("wrong", [[], [1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]]])
def test_a_wrong_number_of_scores_is_refused(wrong):
    with pytest.raises(ValueError, match=r"the oracle gave \(.*\) scores for 2 candidates"):
        order([["a", "b"]], [np.array(wrong)], 2, "the oracle")


def test_lists_without_scores_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        order([["a"], ["b"]], [[1.0]], 2, "test")
