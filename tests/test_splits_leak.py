"""Nothing that is to be predicted can be seen before, whatever it is."""

import polars as pl
import pytest
from split_worlds import CATALOG, COLUMNS, SCHEMA, all_of, as_bytes, frame, pairs, part_of, split, stored

from retrieval.data.splits import PARTS, SPLITS, Split
from retrieval.errors import SplitError

every_split = pytest.mark.parametrize("name", SPLITS)
is_test = pl.col("part") == "test"


@every_split
def test_nothing_that_is_to_be_predicted_can_be_seen(name):
    made = split(name)
    for stage, hidden in (("validation", PARTS[2:]), ("test", PARTS[4:])):
        task = made.task(stage, CATALOG)
        assert not (stored(task.train) | stored(task.histories)) & pairs(part_of(made, *hidden))


number = pl.int_range(pl.len())
CHANGES = {
    "values": {"value": 77.0 - pl.col("value")},
    "items": {"item_id": pl.format("spare-{}", number)},
    "strangers": {"user_id": pl.format("stranger-{}", number)},
    "times": {"timestamp": pl.col("timestamp").reverse() * 3},
    "users": {"user_id": pl.col("user_id").reverse()},
    "everything": {column: pl.col(column).reverse() for column in COLUMNS},
}


def with_other_test(made, change):
    columns = CHANGES[change].items()
    return made.events.with_columns(**{name: pl.when(is_test).then(other).otherwise(name) for name, other in columns})


def assert_nothing_leaks(made, changed):
    """Neither stage sees a difference; in the test stage, only whom to predict for may be others."""
    assert changed.fingerprint != made.fingerprint
    assert all_of(changed.task("validation", CATALOG)) == all_of(made.task("validation", CATALOG))
    ours, theirs = changed.task("test", CATALOG), made.task("test", CATALOG)
    assert as_bytes(ours.train) == as_bytes(theirs.train)
    assert ours.popularity.tobytes() == theirs.popularity.tobytes()
    visible = part_of(made, *PARTS[:4]).filter(pl.col("user_id").is_in(ours.histories.users))
    assert stored(ours.histories) == pairs(visible)
    if ours.histories.users == theirs.histories.users:
        assert as_bytes(ours.histories) == as_bytes(theirs.histories)


@every_split
@pytest.mark.parametrize("change", CHANGES)
def test_no_leak_when_the_test_part_is_another(name, change):
    made = split(name)
    assert_nothing_leaks(made, Split(name, 1, with_other_test(made, change)))


@every_split
@pytest.mark.parametrize("share", [2, 3, 10])
def test_no_leak_when_test_events_are_deleted(name, share):
    made = split(name)
    assert_nothing_leaks(made, Split(name, 1, made.events.filter(~is_test | (number % share == 0))))


@every_split
def test_no_leak_when_there_is_no_test_part(name):
    made = split(name)
    nothing = Split(name, 1, made.events.filter(~is_test))
    assert all_of(nothing.task("validation", CATALOG)) == all_of(made.task("validation", CATALOG))
    with pytest.raises(SplitError, match="leaves no user to predict for in its test part"):
        nothing.task("test", CATALOG)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *((name, "values") for name in SPLITS),
        *((name, "items") for name in SPLITS if name != "cold-items"),  # its draw is of items
        ("cold-items", "strangers"),
    ],
)
def test_no_leak_when_the_events_are_others_before_they_are_split(name, change):
    made = split(name)
    assert_nothing_leaks(made, split(name, with_other_test(made, change).select(COLUMNS)))


def test_temporal_validation_does_not_depend_on_what_comes_later():
    made = split("temporal")
    later = pl.col("timestamp") >= part_of(made, "test", "test-history")["timestamp"].min()
    others = {"user_id": pl.format("stranger-{}", number), "item_id": pl.format("spare-{}", number), "value": -1.0}
    changed = split(
        "temporal",
        made.events.select(
            "timestamp", **{name: pl.when(later).then(other).otherwise(name) for name, other in others.items()}
        ).select(COLUMNS),
    )
    assert all_of(changed.task("validation", CATALOG)) == all_of(made.task("validation", CATALOG))
    assert stored(changed.task("validation", CATALOG).train) != stored(made.task("test", CATALOG).train)


@pytest.mark.parametrize("name", ["temporal", "leave-last"])
def test_what_is_had_again_in_the_test_is_still_seen_in_training(name):
    others = [(f"user-{moment % 3}", f"item-{moment}", 1.0, moment) for moment in range(20)]
    again, fresh = (split(name, frame([*others, ("user-0", item, 1.0, 99)])) for item in ("item-0", "item-44"))
    assert ("user-0", "item-0") in stored(fresh.task("validation", CATALOG).train)
    assert ("user-0", "item-0") in stored(again.task("validation", CATALOG).train)


def by_hand(rows):
    return Split("temporal", 1, pl.DataFrame(rows, schema={**SCHEMA, "part": pl.Enum(PARTS)}, orient="row"))


def test_each_stage_sees_its_own_history_alone():
    made = by_hand([("u", f"item-{place}", 1.0, place, part) for place, part in enumerate(PARTS)])
    validation, test = made.task("validation", CATALOG), made.task("test", CATALOG)
    assert stored(validation.histories) == {("u", "item-0"), ("u", "item-1")}
    assert stored(validation.train) == {("u", "item-0")}
    assert stored(test.histories) == {("u", f"item-{place}") for place in range(4)}
    assert stored(test.train) == {("u", f"item-{place}") for place in range(3)}


def test_what_a_user_had_before_cannot_be_held_out():
    rows = [("u", "item-1", 1.0, 1, "train"), ("u", "item-1", 2.0, 2, "test"), ("u", "item-2", 2.0, 3, "test")]
    task = by_hand(rows).task("test", CATALOG)
    assert stored(task.histories, task.held_out) == {("u", "item-2")}
