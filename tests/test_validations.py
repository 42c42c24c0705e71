"""Cold items are validated on several draws, time on several periods, none of which sees the test part."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from split_worlds import CATALOG, part_of, split, world

from retrieval.cf.fused import Candidates
from retrieval.data.splits import COLD_FROM, FOLD_IN, FOLDS, PARTS, SPLITS, WINDOWS

LATEST, EARLIEST = pl.col("timestamp").max(), pl.col("timestamp").min()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_validation_holds_out_other_items_of_the_same_number(seed):
    made = split("cold-items", seed=seed)
    folds = made.validations()
    assert len(folds) == FOLDS
    assert folds[0] is made
    drawn = [set(part_of(fold, "validation")["item_id"]) for fold in folds]
    assert len({len(items) for items in drawn}) == 1
    assert len(set().union(*drawn)) == sum(map(len, drawn))
    counts = dict(world().group_by("item_id").len().iter_rows())
    assert min(counts[item] for items in drawn for item in items) >= COLD_FROM


def test_all_have_the_same_test_part_and_lose_no_event():
    made = split("cold-items")
    for fold in made.validations():
        assert part_of(fold, "test").drop("part").rows() == part_of(made, "test").drop("part").rows()
        assert fold.events.drop("part").rows() == made.events.drop("part").rows()
        assert set(fold.events["part"].unique()) == {"train", "validation", "test"}
        assert fold.events["part"].dtype.categories.to_list() == list(PARTS)


def test_what_is_held_out_is_had_by_nobody_in_training():
    for fold in split("cold-items").validations():
        task = fold.task("validation", CATALOG)
        assert task.popularity[task.candidates].sum() == 0
        assert task.candidates.sum() == part_of(fold, "validation")["item_id"].n_unique()


def test_other_draws_depend_on_the_seed_alone():
    first, again, other = (split("cold-items", seed=seed).validations()[1] for seed in (1, 1, 2))
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_periods_follow_each_other_and_nothing_later_is_in_an_earlier_one():
    made = split("temporal")
    periods = made.validations()
    assert len(periods) == WINDOWS
    assert periods[0] is made
    times = [
        [part_of(one, "validation", "validation-history")["timestamp"], part_of(one, "train")["timestamp"]]
        for one in periods
    ]
    for (held_out, train), (earlier, _) in pairwise(times):
        assert train.max() < held_out.min()
        assert earlier.max() < held_out.min()
    assert times[-1][1].max() < times[-1][0].min()
    sizes = [len(held_out) for held_out, _ in times]
    assert max(sizes) <= min(sizes) + 1


def test_each_period_knows_of_new_users_what_the_split_would():
    for period in split("temporal").validations():
        new = part_of(period, "validation-history")
        assert len(new)
        assert not set(new["user_id"]) & set(part_of(period, "train")["user_id"])
        assert new.group_by("user_id").len()["len"].max() <= FOLD_IN
        before, after = (part_of(period, part).group_by("user_id") for part in ("validation-history", "validation"))
        known, asked = (dict(one.agg(of).iter_rows()) for one, of in ((before, LATEST), (after, EARLIEST)))
        assert all(known[user] <= asked[user] for user in known.keys() & asked.keys())


def test_a_young_workspace_validates_on_those_it_knows():
    made = split("temporal").young(0.5)
    known = set(part_of(made, "train", "validation-history", "validation")["user_id"])
    assert len(made.validations()) == WINDOWS
    for period in made.validations():
        assert set(part_of(period, "train", "validation-history", "validation")["user_id"]) <= known
    held_out = [part_of(period, "validation", "validation-history")["timestamp"] for period in made.validations()]
    assert all(earlier.max() < later.min() for later, earlier in pairwise(held_out))
    for period in made.validations():
        assert part_of(period, "test").rows() == part_of(made, "test").rows()


@pytest.mark.parametrize("name", [name for name in SPLITS if name not in ("cold-items", "temporal")])
def test_other_splits_validate_on_one_part(name):
    made = split(name)
    assert made.validations() == [made]


def test_few_items_make_fewer_draws():
    few = world().filter(world()["item_id"].is_in(world()["item_id"].unique().sort()[:9].to_list()))
    folds = split("cold-items", few).validations()
    assert 1 <= len(folds) <= FOLDS


def test_candidates_of_several_validations_are_filled_up_to_the_longest():
    def some(users, width, start):
        columns = np.arange(start, start + users * width).reshape(users, width)
        scores = np.stack([columns, -columns]).astype(np.float32)
        return Candidates(columns, scores, np.arange(users), np.ones((2, users, width), dtype=bool))

    short, long = some(2, 3, 0), some(3, 5, 100)
    joined = Candidates.joined([short, long])
    assert joined.columns.shape == (5, 5)
    assert joined.columns[:2].tolist() == [[0, 1, 2, -1, -1], [3, 4, 5, -1, -1]]
    assert joined.present.sum() == 2 * 3 + 3 * 5
    assert not joined.present_for([1])[:2, 3:].any()
    assert joined.lengths.tolist() == [0, 1, 0, 1, 2]
    np.testing.assert_array_equal(joined.scores[:, 2:], long.scores)
