"""Scores of many users become lists by column."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.errors import ScoreError
from retrieval.ranking import Top, order, top

INF = float("inf")
values = st.one_of(st.integers(-2, 2).map(float), st.just(-INF), st.sampled_from([INF, 0.5, -0.0]))
matrices = st.tuples(st.integers(0, 4), st.integers(0, 9)).flatmap(
    lambda shape: st.lists(
        st.lists(values, min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
    ).map(lambda rows: np.array(rows, dtype=np.float32).reshape(shape))
)


def brute_force(row, k):
    """(column, score) of the best, equal scores by column, without what must not be listed."""
    listed = [(column, float(score)) for column, score in enumerate(row) if score > -INF]
    return sorted(listed, key=lambda pair: (-pair[1], pair[0]))[:k]


def lists(found):
    return [
        [(column, score) for column, score in zip(*row, strict=True) if column >= 0]
        for row in zip(found.columns.tolist(), found.scores.tolist(), strict=True)
    ]


@settings(max_examples=300, deadline=None)
@given(matrices, st.integers(0, 12))
def test_top_is_a_sort_by_score_and_column(scores, k):
    before = scores.copy()
    found = top(scores, k, "test")
    assert lists(found) == [brute_force(row, k) for row in scores]
    assert np.array_equal(scores, before)


@settings(max_examples=100, deadline=None)
@given(matrices, st.integers(0, 12))
def test_padding_stands_at_the_end_and_the_width_is_at_most_the_catalog(scores, k):
    found = top(scores, k, "test")
    assert found.columns.shape == found.scores.shape == (len(scores), min(k, scores.shape[1]))
    assert found.columns.dtype == np.int64
    assert found.scores.dtype == np.float32
    assert ((found.columns == -1) == np.isneginf(found.scores)).all()
    assert (np.sort(found.columns < 0, axis=1) == (found.columns < 0)).all()


@settings(max_examples=100, deadline=None)
@given(matrices, st.integers(1, 9))
def test_a_shorter_list_is_the_beginning_of_a_longer_one(scores, k):
    shorter, longer = lists(top(scores, k, "test")), lists(top(scores, 9, "test"))
    assert shorter == [row[:k] for row in longer]


@settings(max_examples=60, deadline=None)
@given(matrices.filter(len), st.randoms(use_true_random=False))
def test_users_do_not_influence_each_other(scores, random):
    by = random.sample(range(len(scores)), len(scores))
    found = lists(top(scores, 3, "test"))
    assert lists(top(scores[by], 3, "test")) == [found[row] for row in by]


@pytest.mark.parametrize("constant", [0, -3.5, INF])
@pytest.mark.parametrize("k", [1, 7, 499, 500])
def test_constant_scores_give_the_lowest_columns(constant, k):
    found = top(np.full((2, 500), constant, dtype=np.float32), k, "test")
    assert found.columns.tolist() == [list(range(k))] * 2
    assert (found.scores == np.float32(constant)).all()


@pytest.mark.parametrize("k", [1, 10, 100, 999])
def test_many_ties_in_a_large_catalog(k):
    scores = np.random.default_rng(k).integers(0, 5, (20, 1000)).astype(np.float32)
    assert lists(top(scores, k, "test")) == [brute_force(row, k) for row in scores]


def test_what_must_not_be_listed_is_not_listed():
    found = top(np.array([[-INF, 2, -INF, 3], [-INF] * 4, [1, 1, -INF, 1]], dtype=np.float32), 3, "test")
    assert found.columns.tolist() == [[3, 1, -1], [-1, -1, -1], [0, 1, 3]]
    assert found.scores.tolist() == [[3, 2, -INF], [-INF] * 3, [1, 1, 1]]


def test_more_than_the_catalog_is_all_of_it():
    assert top(np.array([[1, 3, 2]], dtype=np.float32), 50, "test").columns.tolist() == [[1, 2, 0]]


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0)])
def test_nothing_in_nothing_out(shape):
    found = top(np.zeros(shape, dtype=np.float32), 2, "test")
    assert len(found.columns) == shape[0]
    assert (found.columns == -1).all()


@pytest.mark.parametrize("others", [0, INF, -INF])
def test_a_score_that_is_not_a_number_names_source_user_and_item(others):
    scores = np.full((3, 4), others, dtype=np.float32)
    scores[1, 2] = scores[2, 0] = np.nan
    with pytest.raises(ScoreError, match=r"the oracle gave a score that is not a number \(user 1, item 2 of this"):
        top(scores, 1, "the oracle")


def test_rankings_are_the_same_by_id():
    scores = np.array([[1, 5, -INF, 5], [-INF, -INF, 0.5, -INF], [-INF] * 4], dtype=np.float32)
    found = top(scores, 3, "test").rankings(["a", "bb", "ccc", "d"])
    assert list(found) == [[("bb", 5), ("d", 5), ("a", 1)], [("ccc", 0.5)], []]
    assert found.ids.tolist() == [["bb", "d", "a"], ["ccc", "", ""], ["", "", ""]]
    assert found.lengths.tolist() == [3, 1, 0]
    assert found.scores.tolist() == [[5, 5, 1], [0.5, -INF, -INF], [-INF] * 3]


@settings(max_examples=100, deadline=None)
@given(matrices, st.integers(0, 9))
def test_over_sorted_ids_top_and_order_agree(scores, k):
    names = [f"item-{column}" for column in range(scores.shape[1])]
    allowed = scores > -INF
    candidates = [[name for name, listed in zip(names, row, strict=True) if listed] for row in allowed]
    expected = order(candidates, [row[listed] for row, listed in zip(scores, allowed, strict=True)], k, "test")
    assert list(top(scores, k, "test").rankings(names)) == list(expected)


def test_rankings_of_an_empty_catalog_and_of_nobody():
    assert list(Top(np.zeros((2, 0), dtype=np.int64), np.zeros((2, 0), dtype=np.float32)).rankings([])) == [[], []]
    assert len(top(np.zeros((0, 2), dtype=np.float32), 2, "test").rankings(["a", "b"])) == 0
