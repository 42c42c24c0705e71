"""How histories and texts are seen: by chance, but the same with the same seed, and never with anything invented."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scorer_worlds import random_histories

from finetune.augmentation import Compose, Crop, Mask, Reorder, Sight, Substitute, TextDropout, nearest, seen

ITEMS = 30
NEIGHBOURS = (np.arange(ITEMS)[:, None] + np.array([[1, 2, -1]])) % ITEMS
NEIGHBOURS[:, 2] = -1
TRANSFORMS = {
    "mask": Mask(0.4),
    "crop": Crop(2),
    "latest": Crop(2, 5, 0.5, latest=True),
    "reorder": Reorder(0.6),
    "substitute": Substitute(NEIGHBOURS, 0.5),
    "all": Compose((Mask(0.2), Crop(3), Reorder(0.5), Substitute(NEIGHBOURS, 0.3))),
}
HISTORIES = st.lists(st.integers(0, ITEMS - 1), unique=True, max_size=20).map(np.array).map(lambda a: a.astype(int))
EACH = pytest.mark.parametrize("name", TRANSFORMS)


def look(name, columns, seed):
    return TRANSFORMS[name](Sight.of(columns), np.random.default_rng(seed))


@EACH
@given(columns=HISTORIES, seed=st.integers(0, 1_000))
@settings(max_examples=60, deadline=None)
def test_what_is_seen_is_of_the_history_and_depends_on_the_seed_alone(name, columns, seed):
    found, again = (look(name, columns, seed) for _ in range(2))
    np.testing.assert_array_equal(found.columns, again.columns)
    np.testing.assert_array_equal(found.places, again.places)
    assert len(set(found.columns.tolist())) == len(found.columns) == len(set(found.places.tolist()))
    assert min(1, len(columns)) <= len(found.columns) <= len(columns)
    for column, place in zip(found.columns, found.places, strict=True):
        stands_for = columns[place]
        near = (
            {int(stands_for), *NEIGHBOURS[stands_for, :2].tolist()} if name in {"substitute", "all"} else {stands_for}
        )
        assert column in near


@EACH
def test_another_seed_gives_another_sight(name):
    columns = np.arange(20)
    assert len({tuple(look(name, columns, seed).columns.tolist()) for seed in range(20)}) > 2


@pytest.mark.parametrize("name", ["mask", "crop", "latest"])
@given(columns=HISTORIES, seed=st.integers(0, 1_000))
@settings(max_examples=60, deadline=None)
def test_order_is_kept(name, columns, seed):
    places = look(name, columns, seed).places
    assert (np.diff(places) > 0).all()
    if name != "mask":
        assert (np.diff(places) == 1).all()
    if name == "latest" and len(places):
        assert places[-1] == len(columns) - 1


def test_a_piece_is_as_long_as_it_may_be():
    lengths = {len(Crop(3, 6)(Sight.of(np.arange(20)), np.random.default_rng(seed)).columns) for seed in range(100)}
    assert lengths == {3, 4, 5, 6}
    every = {len(Crop(4)(Sight.of(np.arange(9)), np.random.default_rng(seed)).columns) for seed in range(200)}
    assert every == {4, 5, 6, 7, 8, 9}
    assert len(Crop(5)(Sight.of(np.arange(3)), np.random.default_rng(0)).columns) == 3
    assert len(Crop(3, 6, share=0.0)(Sight.of(np.arange(20)), np.random.default_rng(0)).columns) == 6
    starts = {int(Crop(3, 3)(Sight.of(np.arange(6)), np.random.default_rng(seed)).columns[0]) for seed in range(100)}
    assert starts == {0, 1, 2, 3}


def test_shares_are_what_they_say():
    columns, rng = np.arange(10_000), np.random.default_rng(0)
    assert len(Mask(0.3)(Sight.of(columns), rng).columns) == pytest.approx(7_000, abs=150)
    assert len(Mask(0.0)(Sight.of(columns), rng).columns) == 10_000
    assert len(Mask(1.0)(Sight.of(columns), rng).columns) == 10_000  # something must be left
    moved = Reorder(0.5)(Sight.of(columns), rng).columns != columns
    assert moved.sum() == pytest.approx(5_000, abs=10)
    assert np.ptp(np.flatnonzero(moved)) < 5_000
    far = (columns[:, None] + 20_000) * np.ones((1, 1), dtype=int)
    changed = Substitute(far, 0.2)(Sight.of(columns), rng).columns
    assert (changed != columns).sum() == pytest.approx(2_000, abs=130)


def test_what_is_there_already_is_no_substitute():
    neighbours = np.array([[1], [2], [-1]])
    rng = np.random.default_rng(0)
    assert Substitute(neighbours, 1.0)(Sight.of(np.array([0, 1])), rng).columns.tolist() == [0, 2]
    assert Substitute(neighbours, 1.0)(Sight.of(np.array([2])), rng).columns.tolist() == [2]


def test_a_composition_is_one_after_the_other():
    columns, parts = np.arange(20), (Mask(0.3), Reorder(0.5))
    rng = np.random.default_rng(4)
    by_hand = parts[1](parts[0](Sight.of(columns), rng), rng)
    found = Compose(parts)(Sight.of(columns), np.random.default_rng(4))
    np.testing.assert_array_equal(found.columns, by_hand.columns)
    np.testing.assert_array_equal(found.places, by_hand.places)
    assert Compose(())(Sight.of(columns), rng).columns.tolist() == columns.tolist()


@given(words=st.lists(st.text("abc", min_size=1), max_size=12), seed=st.integers(0, 1_000))
def test_words_are_left_out_and_none_is_added(words, seed):
    text = " ".join(words)
    found = TextDropout(0.5)(text, np.random.default_rng(seed))
    assert found == TextDropout(0.5)(text, np.random.default_rng(seed))
    rest = iter(words)
    assert all(word in rest for word in found.split())  # in their order
    assert bool(found) == bool(text)
    assert TextDropout(0.0)(f"  {text}\n", np.random.default_rng(seed)) == f"  {text}\n"


def test_histories_keep_their_values():
    histories = random_histories(40, ITEMS, 3)
    found = seen(histories, TRANSFORMS["all"], np.random.default_rng(0))
    assert (found.users, found.items) == (histories.users, histories.items)
    assert (found.counts <= histories.counts).all()
    before, after = histories.values.toarray(), found.values.toarray()
    for row in range(40):
        assert all(after[row, c] in set(before[row][before[row] > 0]) for c in np.flatnonzero(after[row]))
    whole = seen(histories, Mask(0.0), np.random.default_rng(0))
    np.testing.assert_array_equal(whole.values.toarray(), before)
    assert len(seen(histories.take(slice(0, 0)), Mask(0.5), np.random.default_rng(0))) == 0


def test_masks_of_many_histories_are_drawn_as_of_one():
    histories = random_histories(40, ITEMS, 3)
    found = seen(histories, Mask(0.2), np.random.default_rng(7))
    keep = np.random.default_rng(7).random(histories.values.nnz) >= 0.2
    np.testing.assert_array_equal(found.values.toarray(), histories.keeping(keep).values.toarray())


def test_neighbours_are_the_nearest_of_those_that_may_be():
    angles = np.radians([0, 10, 25, 50, 90])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    among = np.array([True, True, False, True, True])
    found = nearest(vectors, among, 2)
    assert found.tolist() == [[1, 3], [0, 3], [-1, -1], [1, 4], [3, 1]]
    assert nearest(vectors, np.array([True] + 4 * [False]), 2).tolist() == 5 * [[-1, -1]]
