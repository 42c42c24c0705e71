"""Metrics give the numbers that one works out on paper."""

from math import log, log2, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from retrieval.metrics import (
    RANKING_METRICS,
    accuracy_threshold,
    auc,
    coverage,
    find_hits,
    gini,
    intra_list_diversity,
    is_liked,
    miscalibration,
    novelty,
    popularity_percentile,
    ranking_metrics,
)

ITEMS = 6
LISTS = np.array([[0, 1, 2, 3], [5, 4, -1, -1], [2, 0, 1, 4], [0, 1, 2, 3], [-1, -1, -1, -1], [0, 1, 2, 3]])
RELEVANT = [{1, 3}, {0, 1, 5}, {3}, set(), {0}, {0, 1, 2, 3, 4, 5}]
TWO, THREE, FOUR = 1 + 1 / log2(3), 1.5 + 1 / log2(3), 1.5 + 1 / log2(3) + 1 / log2(5)  # ideal gains
AT_4 = {
    "ndcg": [(1 / log2(3) + 1 / log2(5)) / TWO, 1 / THREE, 0, nan, 0, 1],
    "recall": [1, 1 / 3, 0, nan, 0, 4 / 6],
    "precision": [2 / 4, 1 / 4, 0, nan, 0, 1],
    "f1": [2 / 3, 2 / 7, 0, nan, 0, 4 / 5],
    "hit-rate": [1, 1, 0, nan, 0, 1],
    "mrr": [1 / 2, 1, 0, nan, 0, 1],
    "map": [(1 / 2 + 2 / 4) / 2, 1 / 3, 0, nan, 0, 4 / 6],
}
AT_2 = {
    "ndcg": [1 / log2(3) / TWO, 1 / TWO, 0, nan, 0, 1],
    "recall": [1 / 2, 1 / 3, 0, nan, 0, 2 / 6],
    "precision": [1 / 2, 1 / 2, 0, nan, 0, 1],
    "f1": [1 / 2, 2 / 5, 0, nan, 0, 1 / 2],
    "hit-rate": [1, 1, 0, nan, 0, 1],
    "mrr": [1 / 2, 1, 0, nan, 0, 1],
    "map": [1 / 4, 1 / 3, 0, nan, 0, 2 / 6],
}
AT_10 = {  # more than the catalog has
    "ndcg": [*AT_4["ndcg"][:5], FOUR / (FOUR + 1 / log2(6) + 1 / log2(7))],
    "recall": AT_4["recall"],
    "precision": [2 / 10, 1 / 10, 0, nan, 0, 4 / 10],
    "f1": [4 / 12, 2 / 13, 0, nan, 0, 8 / 16],
    "hit-rate": AT_4["hit-rate"],
    "mrr": AT_4["mrr"],
    "map": AT_4["map"],
}


def matrix(rows, items=ITEMS, values=None):
    """Entries at the given columns of each row, 1 or the given values."""
    owner = [row for row, columns in enumerate(rows) for _ in columns]
    data = np.ones(len(owner)) if values is None else np.array(values, dtype=np.float32)
    return csr_array((data, (owner, [column for columns in rows for column in columns])), shape=(len(rows), items))


def measure(columns, relevant, k):
    return ranking_metrics(
        find_hits(columns, matrix(relevant)), np.array([len(row) for row in relevant], dtype=np.int64), k
    )


@st.composite
def worlds(draw):
    """Lists of unlike lengths, padded, and the relevant items of each user."""
    users, k = draw(st.integers(1, 5)), draw(st.integers(1, ITEMS))
    columns = np.full((users, k), -1)
    for row in columns:
        listed = draw(st.permutations(range(ITEMS)))[: draw(st.integers(0, k))]
        row[: len(listed)] = listed
    return columns, draw(st.lists(st.sets(st.integers(0, ITEMS - 1)), min_size=users, max_size=users))


def everywhere(figures):
    return dict.fromkeys(RANKING_METRICS, figures)


def assert_same(found, expected):
    for name in RANKING_METRICS:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(("k", "expected"), [(4, AT_4), (2, AT_2), (10, AT_10)])
def test_the_hand_worked_table(k, expected):
    found = measure(LISTS, RELEVANT, k)
    assert tuple(found) == RANKING_METRICS
    assert_same(found, expected)


@pytest.mark.parametrize("width", [0, 3])
def test_empty_lists_find_nothing(width):
    found = measure(np.full((2, width), -1), [{1}, set()], 3)
    assert_same(found, everywhere([0, nan]))


def test_no_users_no_figures():
    assert_same(measure(np.zeros((0, 3), dtype=np.int64), [], 3), everywhere([]))


def test_nobody_with_a_relevant_item_says_nothing():
    assert_same(measure(LISTS[:2], [set(), set()], 4), everywhere([nan, nan]))


def test_padding_is_not_taken_for_the_last_item_of_the_user_before():
    assert find_hits(np.array([[0, 1], [-1, -1]]), matrix([{ITEMS - 1}, {0}])).tolist() == [[False] * 2] * 2


def test_a_relevant_item_may_be_stored_as_zero_and_in_any_order():
    unsorted = csr_array((np.array([0.0, 1.0]), np.array([4, 2]), np.array([0, 2])), shape=(1, ITEMS))
    assert find_hits(np.array([[2, 3, 4]]), unsorted).tolist() == [[True, False, True]]


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_hits_are_the_listed_items_that_are_relevant(world):
    columns, relevant = world
    expected = [[column in relevant[row] for column in listed] for row, listed in enumerate(columns.tolist())]
    assert find_hits(columns, matrix(relevant)).tolist() == expected


@settings(max_examples=60, deadline=None)
@given(worlds(), st.integers(1, 10))
def test_every_metric_is_between_0_and_1_and_nan_only_without_relevant_items(world, k):
    columns, relevant = world
    for figures in measure(columns, relevant, k).values():
        assert np.isnan(figures).tolist() == [not items for items in relevant]
        known = figures[~np.isnan(figures)]
        assert ((known >= 0) & (known <= 1 + 1e-12)).all()


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, ITEMS - 1), min_size=1), st.integers(1, 10))
def test_the_ideal_list_is_perfect(items, k):
    ideal = np.array([sorted(items) + sorted(set(range(ITEMS)) - items)])
    found = measure(ideal, [items], k)
    for name in ("ndcg", "hit-rate", "mrr"):
        assert found[name][0] == pytest.approx(1)
    assert found["map"][0] == pytest.approx(min(k, len(items)) / len(items))
    assert found["recall"][0] == pytest.approx(min(k, len(items)) / len(items))
    assert found["precision"][0] == pytest.approx(min(k, len(items)) / k)


@settings(max_examples=60, deadline=None)
@given(worlds(), st.integers(1, 10), st.randoms(use_true_random=False))
def test_users_do_not_influence_each_other(world, k, random):
    columns, relevant = world
    by = random.sample(range(len(columns)), len(columns))
    found, shuffled = measure(columns, relevant, k), measure(columns[by], [relevant[row] for row in by], k)
    assert_same(shuffled, {name: figures[by] for name, figures in found.items()})


@settings(max_examples=60, deadline=None)
@given(worlds(), st.integers(1, 10), st.permutations(range(ITEMS)))
def test_the_numbers_of_the_items_do_not_matter(world, k, names):
    columns, relevant = world
    renamed = np.array([*names, -1])[columns]
    assert_same(measure(renamed, [{names[item] for item in row} for row in relevant], k), measure(columns, relevant, k))


@settings(max_examples=60, deadline=None)
@given(worlds(), st.integers(1, 10))
def test_an_irrelevant_item_at_the_end_changes_nothing(world, k):
    columns, relevant = world
    longer = np.full((len(columns), columns.shape[1] + 1), -1)
    longer[:, :-1] = columns
    for row, items in zip(longer, relevant, strict=True):
        row[(row >= 0).sum()] = next((item for item in range(ITEMS) if item not in {*row, *items}), -1)
    assert_same(measure(longer, relevant, k), measure(columns, relevant, k))


@settings(max_examples=60, deadline=None)
@given(worlds(), st.integers(1, ITEMS))
def test_only_the_first_k_places_count(world, k):
    columns, relevant = world
    assert_same(measure(columns, relevant, k), measure(columns[:, :k], relevant, k))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=8), st.data())
def test_a_hit_that_moves_up_never_costs(hits, data):
    place = data.draw(st.integers(1, len(hits) - 1))
    moved = [*hits[: place - 1], hits[place - 1] or hits[place], hits[place - 1] and hits[place], *hits[place + 1 :]]
    before, after = (ranking_metrics(np.array([row]), np.array([8]), 8) for row in (hits, moved))
    assert all(after[name][0] >= before[name][0] - 1e-12 for name in RANKING_METRICS)
    if moved != hits:
        assert after["ndcg"][0] > before["ndcg"][0]
        assert after["map"][0] > before["map"][0]


def test_auc_counts_pairs_and_half_for_a_tie():
    held_out = matrix([{0, 1, 2}, {3, 4, 5}, {0, 1}, {2}, set()])
    scores = np.array([0.9, 0.5, 0.9, 0.1, 0.5, 0.8, 0.3, 0.4, 0.7], dtype=np.float32)
    liked = matrix([{0}, {3, 5}, {0, 1}, set(), set()])
    np.testing.assert_allclose(auc(scores, held_out, liked), [3 / 4, 1 / 2, nan, nan, nan])


def test_auc_without_any_entry_is_unknown():
    assert np.isnan(auc(np.zeros(0, dtype=np.float32), matrix([set()] * 2), matrix([set()] * 2))).tolist() == [True] * 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=ITEMS, max_size=ITEMS), st.sets(st.integers(0, ITEMS - 1), min_size=1))
def test_auc_needs_the_order_alone_and_turns_round_with_it(numbers, items):
    scores = np.array(numbers, dtype=np.float32)
    held_out, liked = matrix([range(ITEMS)]), matrix([items])
    found = auc(scores, held_out, liked)
    np.testing.assert_allclose(auc(scores**3 * 7 + 1, held_out, liked), found)
    np.testing.assert_allclose(auc(-scores, held_out, liked), 1 - found)
    assert np.isnan(found[0]) == (len(items) == ITEMS)


def test_infinite_scores_tie_in_auc():
    scores = np.array([-np.inf, -np.inf, np.inf], dtype=np.float32)
    assert auc(scores, matrix([{0, 1, 2}]), matrix([{0}])).tolist() == [1 / 4]


def test_liked_entries_are_marked_in_the_order_of_what_is_held_out():
    assert is_liked(matrix([{1, 4}, set(), {0, 1}]), matrix([{4}, set(), {1}])).tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    ("scores", "liked", "expected"),
    [
        ([0.2, 0.9, 0.4, 0.7], [False, True, False, True], 0.7),
        ([0.5, 0.5, 0.5], [True, True, False], 0.5),
        ([0.9, 0.5, 0.5, 0.5], [True, True, False, False], 0.9),
        ([0.9, 0.1], [True, True], 0.1),
        ([0.9, 0.1], [False, False], np.inf),
        ([0.9, 0.1], [False, True], np.inf),
    ],
)
def test_the_threshold_gives_the_most_right_answers(scores, liked, expected):
    assert accuracy_threshold(np.array(scores), np.array(liked)) == expected


def test_coverage_counts_each_item_once():
    assert coverage(np.array([[0, 1], [1, -1]]), 4) == 1 / 2
    assert coverage(np.full((2, 3), -1), 4) == 0
    assert coverage(np.array([[0, 1], [3, 2]]), 4) == 1


def test_gini_of_places():
    assert gini(np.array([[3, 2], [3, -1], [3, -1]]), 4) == pytest.approx(20 / 32)
    assert gini(np.array([[0, 1], [3, 2]]), 4) == 0
    assert gini(np.array([[1], [1], [1]]), 4) == pytest.approx(3 / 4)  # the most that four items allow
    assert np.isnan(gini(np.full((2, 3), -1), 4))


def test_novelty_is_the_mean_information_in_bits():
    found = novelty(np.array([[0, 1], [3, -1], [-1, -1], [1, 2]]), np.array([7, 3, 1, 0]), users=7)
    np.testing.assert_allclose(found, [1 / 2, 3, nan, 3 / 2])


def test_popularity_percentile_shares_ranks_of_equal_items():
    found = popularity_percentile(np.array([[3, 0], [1, -1], [2, -1], [-1, -1]]), np.array([5, 1, 1, 9]))
    np.testing.assert_allclose(found, [5 / 6, 1 / 6, 1 / 6, nan])


def test_the_only_item_of_a_catalog_has_percentile_0():
    assert popularity_percentile(np.array([[0]]), np.array([8])).tolist() == [0]


def test_intra_list_diversity_is_the_mean_over_pairs():
    vectors = np.array([[1, 0], [0, 1], [-1, 0], [1, 0], [0.6, 0.8]], dtype=np.float32)
    lists = np.array([[0, 1, -1], [0, 2, -1], [0, 1, 2], [0, 3, -1], [0, 4, 1], [0, -1, -1], [-1, -1, -1]])
    found = intra_list_diversity(lists, vectors)
    np.testing.assert_allclose(found, [1, 2, 4 / 3, 0, (0.4 + 0.2 + 1) / 3, nan, nan], atol=1e-6)


def test_miscalibration_compares_the_mixes_of_genres():
    genres = csr_array(np.array([[1, 0], [0, 1], [0.5, 0.5], [0, 0]]))
    histories = matrix(
        [{0, 1}, {0, 1}, {0, 1}, {0, 1}, {3}, {0}, set()], items=4, values=[5, 0, 1, 1, 1, 1, 1, 1, 1, 1]
    )
    lists = np.array([[0, -1], [2, -1], [3, 2], [3, -1], [0, 1], [1, -1], [0, 1]])
    one_sided = 0.5 * log(0.5 / 0.995) + 0.5 * log(0.5 / 0.005)
    np.testing.assert_allclose(
        miscalibration(lists, histories, genres), [one_sided, 0, 0, nan, nan, log(1 / 0.01), nan], atol=1e-12
    )


def test_less_smoothing_punishes_a_missing_genre_more():
    found = [miscalibration(np.array([[1]]), matrix([{0}], 2), csr_array(np.eye(2)), part)[0] for part in (0.5, 0.1)]
    assert found == pytest.approx([log(2), log(10)])
