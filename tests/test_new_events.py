"""Which events are new to something, reading more of them from a file, and holding out the newest."""

import shutil

import numpy as np
import polars as pl
import pytest
from conftest import planted_tables
from drift_world import EVENTS, drifted_events, make_old, old_events

from retrieval.data.further_events import read_events
from retrieval.data.newest import before_test, newest_split
from retrieval.data.personal import take_out
from retrieval.data.readers import Table
from retrieval.data.seen import Seen, events_by_part
from retrieval.data.workspace import Workspace, create_workspace
from retrieval.errors import InputError


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_old(tmp_path_factory.mktemp("old") / "ws").root


@pytest.fixture
def root(world, tmp_path):
    return shutil.copytree(world, tmp_path / "ws")


def read(root, frame, tmp_path, **options):
    return read_events(Workspace(root), Table(frame.lazy(), "more"), {}, tmp_path, **options)


def put(part, root):
    return shutil.move(part, root / "data" / "events" / part.name)


def new_of(seen, root):
    return events_by_part(Workspace(root)).filter(seen.is_new(Workspace(root))).drop("part")


def test_events_of_further_files_are_new_and_those_before_are_not(root, tmp_path):
    seen = Seen.of(Workspace(root))
    assert (seen.events, len(new_of(seen, root))) == (len(old_events()), 0)
    part, report = read(root, drifted_events(), tmp_path)
    assert (part.name, report.kept) == ("part-00001.parquet", len(drifted_events()))
    assert len(new_of(seen, root)) == 0  # it is not in the workspace yet
    put(part, root)
    assert len(new_of(seen, root)) == len(drifted_events())
    assert Seen.from_json(seen.to_json()) == seen
    assert len(new_of(Seen.of(Workspace(root)), root)) == 0


def test_where_the_files_have_changed_later_events_are_new(root, tmp_path):
    seen = Seen.of(Workspace(root))
    put(read(root, drifted_events(), tmp_path)[0], root)
    take_out(root / "data" / "events" / "part-00000.parquet", "user-000")
    assert not seen.is_whole(Workspace(root))
    found = new_of(seen, root)
    assert found["timestamp"].min() > seen.latest
    assert len(found) == (drifted_events()["timestamp"] * 1000 > seen.latest).sum()


def test_the_same_file_again_brings_nothing(root, tmp_path):
    both = pl.concat([old_events().head(50), drifted_events()])
    part, report = read(root, both, tmp_path)
    assert report.left_out == {"an event that is there already": 50}
    put(part, root)
    part, report = read(root, both, tmp_path)
    assert (part, report.kept) == (None, 0)
    assert list(tmp_path.glob("*.parquet")) == []


@pytest.mark.parametrize("times", [[1, 2], ["2024-01-01", "2024-01-02"], None])
def test_times_of_another_kind_are_refused(tmp_path, times):
    items, events = planted_tables()
    root = tmp_path / "ws"
    moments = pl.col("timestamp") + (1_600_000_000 if times is None or isinstance(times[0], int) else 0)
    create_workspace(root, items, Table(events.frame.with_columns(moments), "events"))
    more = pl.DataFrame({"user_id": ["a", "b"], "item_id": ["space-0", "space-1"], "rating": [5.0, 4.0]})
    more = more if times is None else more.with_columns(timestamp=pl.Series(times))
    with pytest.raises(InputError, match=r"its times are .*, those of the workspace .*--map timestamp=COLUMN"):
        read(root, more, tmp_path)


def test_without_times_events_go_on_behind_those_there_are(tmp_path):
    items, events = planted_tables()
    root = tmp_path / "ws"
    create_workspace(root, items, Table(events.frame.drop("timestamp"), "events"))
    last = Workspace(root).events().select(pl.col("timestamp").max()).collect().item()
    more = pl.DataFrame({"user_id": ["a", "b"], "item_id": ["space-0", "space-1"], "rating": [5.0, 4.0]})
    part, _ = read(root, more, tmp_path)
    assert dict(pl.read_parquet(part).select("user_id", "timestamp").iter_rows()) == {"a": last + 1, "b": last + 2}
    put(part, root)
    assert read(root, more, tmp_path)[0] is None


def test_what_cannot_be_used_is_refused(root, tmp_path):
    broken = pl.DataFrame([("a", "space-00", "x", 1_700_000_000)], schema=EVENTS, orient="row")
    with pytest.raises(InputError, match="data row 1"):
        read(root, broken, tmp_path)
    shutil.rmtree(root / "data" / "events")
    with pytest.raises(InputError, match="whyrec init --replace"):
        read(root, drifted_events(), tmp_path)


def test_the_newest_of_the_unseen_are_held_out_and_half_of_what_a_newcomer_did_is_known():
    rows = [("old", f"i{n}", 5.0, n) for n in range(8)] + [("new", f"i{n}", 5.0, 10 + n) for n in range(4)]
    rows += [("old", "i9", 5.0, 9), ("old", "i8", 5.0, 12)]
    events = pl.DataFrame(rows, schema=["user_id", "item_id", "value", "timestamp"], orient="row")
    split = newest_split(events, events["timestamp"] >= 8, 0.8, seed=0)
    parts = {(user, time): part for user, _, _, time, part in split.events.iter_rows()}
    assert {time for (user, time), part in parts.items() if part == "train"} == {*range(8), 9}
    assert [parts["new", 10 + n] for n in range(4)] == ["test-history", "test-history", "test", "test"]
    assert parts["old", 12] == "test"  # somebody who is known needs no more
    assert before_test(split)["timestamp"].max() == 9
    task = split.task("test", [f"i{n}" for n in range(10)])
    assert task.train.values.nnz == 9
    assert np.diff(task.held_out.indptr).tolist() == [2, 1]


def test_where_nothing_is_unseen_nothing_is_held_out():
    split = newest_split(old_events().rename({"rating": "value"}), pl.Series([False] * len(old_events())), 0.5, 0)
    assert set(split.events["part"]) == {"train"}
