"""Histories of many users are a sparse matrix in which absence is "not stored"."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from retrieval.data.events import History, events_of, history_of, preferred
from retrieval.data.histories import Histories, latest_events, sparse, where

SCHEMA = {"user_id": pl.String, "item_id": pl.String, "value": pl.Float64, "timestamp": pl.Int64}
ITEMS = ["a", "b", "c", "d"]
EVENTS = [("v", "c", 3.0, 2), ("u", "d", 0.0, 1), ("u", "a", 4.5, 5), ("w", "b", -1.0, 1), ("v", "a", 0.0, 9)]
event_lists = st.lists(
    st.tuples(st.sampled_from("uvw"), st.sampled_from(ITEMS), st.sampled_from([0.0, 1.0, -2.0, 4.5]), st.integers(0, 3))
)


def frame(events):
    return pl.DataFrame(events, schema=SCHEMA, orient="row")


def stored(histories):
    """{user: {item: value}} of what is stored."""
    found = {}
    for row, user in enumerate(histories.users):
        part = slice(*histories.values.indptr[row : row + 2].tolist())
        names = [histories.items[column] for column in histories.values.indices[part]]
        found[user] = dict(zip(names, histories.values.data[part].tolist(), strict=True))
    return found


@pytest.fixture
def histories():
    return Histories.from_events(frame(EVENTS), ITEMS)


def test_users_are_sorted_and_zeros_stay_stored(histories):
    assert histories.users == ("u", "v", "w")
    assert histories.items == tuple(ITEMS)
    assert stored(histories) == {"u": {"a": 4.5, "d": 0}, "v": {"a": 0, "c": 3}, "w": {"b": -1}}
    assert histories.values.shape == (3, 4)
    assert histories.values.dtype == np.float32
    assert len(histories) == 3


def test_columns_are_sorted_within_a_row(histories):
    assert histories.values.indices.tolist() == [0, 3, 0, 2, 1]
    assert histories.counts.tolist() == [2, 2, 1]
    assert histories.counts.dtype == np.int64


def test_the_latest_value_wins_whatever_the_order_of_the_rows():
    events = [("u", "a", 1.0, 3), ("u", "a", 5.0, 1), ("u", "a", 3.0, 2)]
    assert stored(Histories.from_events(frame(events), ITEMS)) == {"u": {"a": 1}}
    assert stored(Histories.from_events(frame(events[::-1]), ITEMS)) == {"u": {"a": 1}}


def test_of_equal_times_the_higher_value_wins():
    events = [("u", "a", 1.0, 3), ("u", "a", 5.0, 3), ("u", "a", 3.0, 3)]
    assert latest_events(frame(events)).rows() == [("u", "a", 5.0, 3)]


def test_the_latest_value_may_be_zero():
    assert stored(Histories.from_events(frame([("u", "a", 5.0, 1), ("u", "a", 0.0, 2)]), ITEMS)) == {"u": {"a": 0}}


@settings(max_examples=60, deadline=None)
@given(event_lists, st.randoms(use_true_random=False))
def test_histories_are_what_a_loop_over_the_events_finds(events, random):
    expected = {}
    for user, item, value, _ in sorted(events, key=lambda event: (event[3], event[2])):
        expected.setdefault(user, {})[item] = value
    found = Histories.from_events(frame(random.sample(events, len(events))), ITEMS)
    assert stored(found) == expected
    assert found.counts.tolist() == [len(expected[user]) for user in sorted(expected)]


def test_users_without_events_have_an_empty_row_and_others_are_left_out():
    found = Histories.from_events(frame(EVENTS), ITEMS, users=("nobody", "v", "someone"))
    assert stored(found) == {"nobody": {}, "v": {"a": 0, "c": 3}, "someone": {}}
    assert found.counts.tolist() == [0, 2, 0]


def test_the_rows_are_in_the_order_that_is_asked_for():
    found = Histories.from_events(frame(EVENTS), ITEMS, users=("w", "u"))
    assert list(stored(found).items()) == [("w", {"b": -1}), ("u", {"a": 4.5, "d": 0})]


def test_no_events_and_no_users():
    assert len(Histories.from_events(frame([]), ITEMS)) == 0
    assert Histories.from_events(frame([]), ITEMS, users=("u",)).counts.tolist() == [0]
    assert Histories.from_events(frame(EVENTS), ITEMS, users=()).values.shape == (0, 4)


def test_an_event_of_an_unknown_item_is_refused():
    with pytest.raises(pl.exceptions.InvalidOperationError):
        Histories.from_events(frame([("u", "a", 1.0, 1), ("u", "unknown", 1.0, 1)]), ITEMS)


def test_single_histories_become_a_batch_without_unknown_items():
    batch = [History(("d", "unknown", "a"), (0.0, 3.0, 4.5)), History((), ()), History(("unknown",), (1.0,))]
    found = Histories.of(batch, ITEMS)
    assert stored(found) == {"0": {"a": 4.5, "d": 0}, "1": {}, "2": {}}
    assert found.values.dtype == np.float32
    assert found.values.indices.tolist() == [0, 3]


def test_an_empty_batch():
    assert Histories.of([], ITEMS).values.shape == (0, 4)


@settings(max_examples=30, deadline=None)
@given(event_lists.filter(lambda events: len({event[:2] for event in events}) == len(events)))
def test_a_single_history_read_from_events_has_the_values_of_its_row(events):
    everybody = Histories.from_events(frame(events), ITEMS)
    singles = Histories.of([history_of(events_of(frame(events).lazy(), user)) for user in everybody.users], ITEMS)
    assert list(stored(singles).values()) == list(stored(everybody).values())


def test_a_matrix_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"\(1, 4\) values for 2 users and 4 items"):
        Histories(("u", "v"), tuple(ITEMS), csr_array((1, 4), dtype=np.float32))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (np.array([2, 0]), ["w", "u"]),
        (np.array([1, 1]), ["v", "v"]),
        (np.array([], dtype=np.int64), []),
        (slice(1, 3), ["v", "w"]),
        (slice(2, 9), ["w"]),
    ],
)
def test_take_gives_the_users_asked_for_with_their_zeros(histories, rows, expected):
    found = histories.take(rows)
    assert list(found.users) == expected
    assert found.items == histories.items
    assert stored(found) == {user: stored(histories)[user] for user in expected}
    assert found.counts.tolist() == [len(stored(histories)[user]) for user in expected]


@pytest.mark.parametrize(("size", "sizes"), [(1, [1, 1, 1]), (2, [2, 1]), (3, [3]), (100, [3])])
def test_chunks_are_all_users_in_order(histories, size, sizes):
    chunks = list(histories.chunks(size))
    assert [len(chunk) for chunk in chunks] == sizes
    assert [pair for chunk in chunks for pair in stored(chunk).items()] == list(stored(histories).items())


def test_nobody_has_no_chunks():
    assert list(Histories.of([], ITEMS).chunks(5)) == []


@pytest.mark.parametrize(
    ("from_value", "expected"),
    [
        (None, [[1, 0, 0, 1], [1, 0, 1, 0], [0, 1, 0, 0]]),
        (-1, [[1, 0, 0, 1], [1, 0, 1, 0], [0, 1, 0, 0]]),
        (0, [[1, 0, 0, 1], [1, 0, 1, 0], [0, 1, 0, 0]]),
        (3, [[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0]]),
        (4.5, [[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0]]),
    ],
)
def test_positives_are_the_liked_items_or_else_those_above_the_users_mean_or_else_all(histories, from_value, expected):
    found = histories.positives(from_value)
    assert found.toarray().tolist() == expected
    assert found.dtype == np.float32
    assert (found.data == 1).all()


@settings(max_examples=100, deadline=None)
@given(event_lists, st.sampled_from([-3, -2, 0, 1, 4.5, 5]))
def test_positives_of_each_user_are_those_of_the_single_history(events, from_value):
    found = Histories.from_events(frame(events), ITEMS, users=("v", "nobody", "u", "someone", "w"))
    for row, (user, values) in zip(found.positives(from_value).toarray(), stored(found).items(), strict=True):
        keep, _ = preferred(np.array(list(values.values())), from_value)
        assert row.nonzero()[0].tolist() == [ITEMS.index(item) for item in np.array(list(values))[keep]], user


def test_positives_leave_the_histories_as_they_are(histories):
    before = stored(histories)
    histories.positives(None).data[:] = 7
    assert stored(histories) == before


def test_sparse_keeps_zeros_and_sorts_columns():
    found = sparse(np.array([1, 0, 1]), np.array([2, 1, 0]), np.array([0.0, 0.0, 2.5]), shape=(3, 3))
    assert found.indptr.tolist() == [0, 1, 3, 3]
    assert found.indices.tolist() == [1, 0, 2]
    assert found.data.tolist() == [0, 2.5, 0]


def test_where_keeps_what_is_marked_in_its_row(histories):
    found = where(histories.values, np.array([False, True, False, False, True]))
    assert found.toarray().tolist() == [[0, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert found.nnz == 2
    assert where(csr_array((2, 3), dtype=np.float32), np.zeros(0, dtype=np.bool_)).shape == (2, 3)


def test_few_are_liked_items_drawn_at_random():
    mixed = History(tuple("abcdefg"), (5.0, 1.0, 4.0, 4.5, 4.0, 3.9, 5.0))
    people = [mixed, History(("a", "b"), (2.0, 3.0)), History((), ()), History(("c",), (4.0,))]
    histories = Histories.of(people, tuple("abcdefg"))
    drawn = [histories.few(3, 4.0, seed) for seed in range(40)]
    assert all(few.counts.tolist() == [3, 0, 0, 1] for few in drawn)
    assert all(set(few.values.data.tolist()) == {4.0} for few in drawn)
    named = [frozenset(few.values[[0]].indices.tolist()) for few in drawn]
    assert frozenset.union(*named) == {0, 2, 3, 4, 6}
    assert len(set(named)) > 5
    assert (histories.few(3, 4.0, 7).values != histories.few(3, 4.0, 7).values).nnz == 0


def test_few_of_nobody_is_nobody():
    nobody = Histories.of([], ("a", "b"))
    assert nobody.few(3, 4.0, 0).values.shape == (0, 2)
