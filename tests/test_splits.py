"""Splits: every event has one part, each split holds out what it says, and the messages say what to do."""

import polars as pl
import pytest
from split_worlds import CATALOG, COLUMNS, USERS, all_of, frame, pairs, part_of, split, stored, world

from retrieval.data.splits import FOLD_IN, PARTS, SPLITS, Split, default_split, make_split
from retrieval.errors import SplitError

DRAWN = ("users", "cold-items", "random")
every_split = pytest.mark.parametrize("name", SPLITS)
both_stages = pytest.mark.parametrize("stage", ["validation", "test"])


@every_split
def test_every_event_has_one_part(name):
    made = split(name)
    assert made.events.select(COLUMNS).sort(COLUMNS).equals(world().sort(COLUMNS))
    assert made.events["part"].null_count() == 0
    assert tuple(made.sizes()) == PARTS
    assert sum(made.sizes().values()) == len(world())
    assert min(made.sizes()[part] for part in ("train", "validation", "test")) > 30


@every_split
def test_the_order_of_the_rows_does_not_matter(name):
    shuffled = split(name, world().sample(fraction=1, shuffle=True, seed=5))
    assert shuffled.fingerprint == split(name).fingerprint
    for stage in ("validation", "test"):
        assert all_of(shuffled.task(stage, CATALOG[::-1])) == all_of(split(name).task(stage, CATALOG))


@every_split
def test_the_seed_decides_what_is_drawn(name):
    fingerprints = {split(name, seed=seed).fingerprint for seed in (1, 2, 3)}
    assert len(fingerprints) == (3 if name in DRAWN else 1)
    assert split(name).fingerprint == split(name).fingerprint


def test_the_fingerprint_is_of_all_events_and_their_parts():
    made = split("temporal")
    changed = [
        made.events.with_columns(value=pl.when(pl.int_range(pl.len()) == 7).then(99.0).otherwise("value")),
        made.events.with_columns(part=pl.lit("train").cast(pl.Enum(PARTS))),
        made.events[1:],
        split("leave-last").events,
    ]
    fingerprints = {made.fingerprint, *(Split("temporal", 1, events).fingerprint for events in changed)}
    assert len(fingerprints) == 5
    assert Split("temporal", 1, made.events.reverse()).fingerprint == made.fingerprint
    assert all(len(found) == 16 and set(found) <= set("0123456789abcdef") for found in fingerprints)


@every_split
def test_each_stage_learns_from_what_is_before_it(name):
    made = split(name)
    for stage, known in (("validation", PARTS[:1]), ("test", PARTS[:3])):
        task = made.task(stage, CATALOG)
        train, held_out = pairs(part_of(made, *known)), pairs(part_of(made, stage))
        assert stored(task.train) == train
        assert stored(task.histories, task.held_out) == held_out
        assert task.histories.users == tuple(sorted({user for user, _ in held_out}))
        visible = train | pairs(part_of(made, f"{stage}-history"))
        assert stored(task.histories) == {pair for pair in visible if pair[0] in task.histories.users}
        counts = [len([1 for _, item in train if item == column]) for column in task.items]
        assert task.popularity.tolist() == counts


def test_temporal_learns_from_the_past_alone():
    made = split("temporal")
    ends = made.events.group_by("part").agg(first=pl.min("timestamp"), last=pl.max("timestamp"))
    first, last = (dict(ends.select("part", end).iter_rows()) for end in ("first", "last"))
    assert last["train"] < min(first["validation-history"], first["validation"])
    assert max(last["validation-history"], last["validation"]) < min(first["test-history"], first["test"])
    late = part_of(made, "test-history", "test")
    assert len(late) == len(world()) - int(len(world()) * 0.8)
    assert len(part_of(made, "train")) == int(len(world()) * 0.7)


@both_stages
def test_temporal_knows_the_first_half_of_a_new_user_and_at_most_ten(stage):
    made = split("temporal")
    old = set(part_of(made, *PARTS[: PARTS.index(stage) - 1])["user_id"])
    sizes = set()
    for (user,), events in part_of(made, stage, f"{stage}-history").sort("timestamp").group_by("user_id"):
        known = 0 if user in old else min(FOLD_IN, (len(events) + 1) // 2)
        assert events["part"].to_list() == [f"{stage}-history"] * known + [stage] * (len(events) - known)
        sizes.add(known)
    assert {0, FOLD_IN} < sizes


@both_stages
def test_cold_items_were_never_had_and_are_the_only_candidates(stage):
    made = split("cold-items")
    task = made.task(stage, CATALOG)
    cold = set(part_of(made, stage)["item_id"])
    assert {item for item, candidate in zip(task.items, task.candidates, strict=True) if candidate} == cold
    assert not cold & {item for _, item in stored(task.train) | stored(task.histories)}
    assert task.popularity[task.candidates].sum() == 0


@both_stages
def test_cold_items_are_a_share_of_those_with_at_least_five_events(stage):
    counts = dict(world().group_by("item_id").len().iter_rows())
    enough = {item for item, count in counts.items() if count >= 5}
    drawn = [set(part_of(split("cold-items", seed=seed), stage)["item_id"]) for seed in range(30)]
    assert all(len(cold) == pytest.approx(0.15 * len(enough), abs=1) for cold in drawn)
    assert set().union(*drawn) <= enough < set(counts)


@pytest.mark.parametrize("name", [name for name in SPLITS if name != "cold-items"])
def test_other_splits_rank_all_items(name):
    assert split(name).task("test", CATALOG).candidates is None


def test_leave_last_holds_out_the_last_event_of_each_user():
    lengths = set()
    for _, events in split("leave-last").events.sort("timestamp").group_by("user_id"):
        last = ["validation", "test"] if len(events) >= 3 else []
        assert events["part"].to_list() == ["train"] * (len(events) - len(last)) + last
        lengths.add(len(events))
    assert {1, 2, 3} <= lengths


def test_users_in_the_test_are_new():
    made = split("users")
    for stage, share in (("validation", 0.1), ("test", 0.2)):
        drawn = part_of(made, stage, f"{stage}-history")
        assert drawn["user_id"].n_unique() == round(USERS * share)
        assert not set(drawn["user_id"]) & set(made.events.join(drawn, on=COLUMNS, how="anti")["user_id"])
        assert not set(drawn["user_id"]) & set(made.task(stage, CATALOG).train.users)
        for _, events in drawn.sort("timestamp").group_by("user_id"):
            to_predict = len(events) // 5
            assert events["part"].to_list() == [f"{stage}-history"] * (len(events) - to_predict) + [stage] * to_predict


def test_random_holds_out_a_quarter_of_each_user():
    made = split("random")
    for _, events in made.events.group_by("user_id"):
        sizes = Split("random", 1, events).sizes()
        assert abs(sizes["test"] - len(events) / 4) <= 0.5
        assert abs(sizes["validation"] - (len(events) - sizes["test"]) / 10) <= 0.5
    latest = part_of(made, "test").join(split("leave-last").events, on=COLUMNS).filter(pl.col("part_right") == "test")
    assert len(latest) < USERS / 2  # drawn, not the last ones


def test_a_sample_predicts_for_some_users_and_learns_from_all():
    task = split("random").task("test", CATALOG)
    found = task.sample(10, seed=4)
    assert len(found.histories) == found.held_out.shape[0] == 10
    assert found.train is task.train
    assert stored(found.histories) < stored(task.histories)
    chosen = set(found.histories.users)
    held_out = stored(task.histories, task.held_out)
    assert stored(found.histories, found.held_out) == {pair for pair in held_out if pair[0] in chosen}
    assert all_of(task.sample(10, seed=4)) == all_of(found)
    assert task.sample(10, seed=5).histories.users != found.histories.users
    assert task.sample(len(task.histories), seed=4) is task


def test_relevant_are_the_held_out_items_from_a_value_on():
    made = split("random")
    task = made.task("test", CATALOG)
    assert stored(task.histories, task.relevant(None)) == pairs(part_of(made, "test"))
    assert stored(task.histories, task.relevant(4)) == pairs(part_of(made, "test").filter(pl.col("value") >= 4))


@pytest.mark.parametrize(
    ("name", "times", "message"),
    [
        ("temporal", "order", "the split 'temporal' needs real times, .* use --split leave-last"),
        ("temporal", "none", "the split 'temporal' needs real times"),
        ("leave-last", "none", "the split 'leave-last' needs times or positions, .* use --split random"),
        ("weekly", "iso", "no split 'weekly'; there are temporal, leave-last, users, cold-items, random"),
    ],
)
def test_splits_that_cannot_be_made(name, times, message):
    with pytest.raises(SplitError, match=message):
        make_split(name, world(), 1, times)


@every_split
def test_no_events_cannot_be_split(name):
    with pytest.raises(SplitError, match="no events: nothing can be evaluated"):
        split(name, frame([]))


@every_split
def test_too_few_events_leave_nobody_to_predict_for(name):
    made = split(name, frame([("u", "item-1", 1.0, 1)]))
    with pytest.raises(SplitError, match=rf"the split '{name}' leaves no .* in its test part \(1 events in all\)"):
        made.task("test", CATALOG)


def test_events_of_one_moment_leave_nothing_to_learn_from():
    made = split("temporal", world().with_columns(timestamp=pl.lit(5)))
    with pytest.raises(SplitError, match="'temporal' leaves no event to learn from in its test part"):
        made.task("test", CATALOG)


def test_positions_are_enough_for_leave_last_and_nothing_for_the_others():
    assert make_split("leave-last", world(), 1, "order").fingerprint == split("leave-last").fingerprint
    for name in DRAWN:
        assert make_split(name, world(), 1, "none").fingerprint == split(name).fingerprint


@pytest.mark.parametrize(
    ("times", "name"),
    [
        ("seconds", "temporal"),
        ("milliseconds", "temporal"),
        ("iso", "temporal"),
        ("order", "leave-last"),
        ("none", "random"),
    ],
)
def test_the_default_split_is_one_that_the_times_allow(times, name):
    assert default_split(times) == name
    assert make_split(default_split(times), world(), 1, times).name == name


@every_split
def test_a_young_workspace_has_the_same_test_and_has_seen_few_users(name):
    whole = split(name)
    young = whole.young(0.5)
    before, after = (pairs(part_of(one, "test")) for one in (whole, young))
    assert before == after
    assert young.fingerprint != whole.fingerprint
    seen = set(part_of(young, "train", "validation-history", "validation")["user_id"])
    assert 0 < len(seen) <= round(0.5 * whole.events["user_id"].n_unique())
    for stage in ("validation", "test"):
        assert set(young.task(stage, CATALOG).train.users) <= seen
    assert set(young.task("validation", CATALOG).histories.users) <= seen
    test, task = whole.task("test", CATALOG), young.task("test", CATALOG)
    assert task.histories.users == test.histories.users  # all are tested, with all that they had
    assert (task.histories.values != test.histories.values).nnz == 0
    for one in young.validations():
        assert pairs(part_of(one, "test")) == before
        assert set(part_of(one, "train", "validation")["user_id"]) <= seen


def test_a_young_workspace_of_nobody_is_refused():
    with pytest.raises(SplitError, match="is nobody"):
        split("temporal").young(0.0)
