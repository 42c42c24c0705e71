"""Reactions become events exactly once, wherever the process is killed, and nothing changes for whoever gave them."""

import json
import shutil
import subprocess
import sys

import polars as pl
import pytest
from conftest import planted_tables
from planted_models import PLANTED_SETTINGS
from ranker_world import whyrec

from agent.diagnosis import _feedback
from agent.reactions import Reactions
from retrieval.data.feedback import FEEDBACK
from retrieval.data.folding import fold
from retrieval.data.readers import Table
from retrieval.data.workspace import Workspace, create_workspace

GIVEN = [
    ("user-0", "space-4", "like"),
    ("user-0", "space-5", "dislike"),
    ("newcomer", "cooking-1", "3.5"),
    ("newcomer", "cooking-2", "like"),
    ("newcomer", "cooking-3", "seen"),
    ("newcomer", "cooking-4", "hide"),
]
PEOPLE = ("user-0", "newcomer")
EVENTS = {
    ("user-0", "space-4", 5.0),
    ("user-0", "space-5", 1.0),
    ("newcomer", "cooking-1", 3.5),
    ("newcomer", "cooking-2", 5.0),
}


@pytest.fixture
def root(planted_root, tmp_path):
    return shutil.copytree(planted_root, tmp_path / "ws")


def say(root, *reactions):
    for one in reactions:
        Reactions(Workspace(root), PLANTED_SETTINGS).add(*one)


def events_of(root):
    return sorted(Workspace(root).events().select("user_id", "item_id", "value").collect().rows())


def histories(root):
    found = [Workspace(root).history(user) for user in PEOPLE]
    return [(dict(zip(one.items, one.values, strict=True)), one.seen, one.never) for one in found]


def reactions_in(root):
    return [(one.user_id, one.item_id, one.kind) for one in Workspace(root).feedback.kept()[0]]


def test_reactions_become_events_and_lists_stay_as_they_are(root):
    before = events_of(root)
    say(root, *GIVEN)
    heard = histories(root)
    result = whyrec("compact", "-w", root)
    assert result.exit_code == 0, result.output
    assert "Events now: 1 dislike, 2 like, 1 rating" in result.stderr
    assert "Still in force beside the events: 1 dislike, 1 hide, 1 seen" in result.stderr
    assert events_of(root) == sorted([*before, *EVENTS])
    assert histories(root) == heard
    assert reactions_in(root) == [
        ("user-0", "space-5", "dislike"),
        ("newcomer", "cooking-3", "seen"),
        ("newcomer", "cooking-4", "hide"),
    ]
    listed = json.loads(whyrec("feedback", "list", "-w", root, "-f", "json").stdout)
    assert [row["folded"] for row in listed] == [True, False, False]
    assert "3 reactions in force, none waits" in _feedback(Workspace(root)).found
    again = whyrec("compact", "-w", root)
    assert "There are no reactions to make events of" in again.stderr
    assert events_of(root) == sorted([*before, *EVENTS])


def test_what_comes_after_compacting_is_folded_by_the_next(root):
    before = events_of(root)
    say(root, *GIVEN)
    fold(Workspace(root))
    say(root, ("user-0", "space-5", "like"), ("newcomer", "cooking-4", "4"))
    heard = histories(root)
    assert heard[0][2] == heard[1][2] == frozenset()  # both are allowed again
    found = fold(Workspace(root))
    assert (found.folded, found.kept) == ({"like": 1, "rating": 1}, {"seen": 1})
    assert events_of(root) == sorted([*before, *EVENTS, ("user-0", "space-5", 5.0), ("newcomer", "cooking-4", 4.0)])
    assert histories(root) == heard


def test_what_became_an_event_cannot_be_taken_back(root):
    say(root, GIVEN[5], GIVEN[0], GIVEN[1])
    fold(Workspace(root))
    assert whyrec("feedback", "undo", "user-0", "-w", root).exit_code == 1
    assert "hide from newcomer" in whyrec("feedback", "undo", "-w", root).stderr


def test_positions_go_on_and_real_times_stay(tmp_path):
    items, events = planted_tables()
    real = events.frame.with_columns(pl.col("timestamp") + 1_500_000_000)
    for name, table in (("order", events), ("seconds", Table(real, "events"))):
        root = tmp_path / name
        create_workspace(root, items, table)
        say(root, *GIVEN[:2])
        given = [one.timestamp for one in Workspace(root).feedback.of("user-0")]
        fold(Workspace(root))
        times = Workspace(root).events().filter(pl.col("item_id").is_in(["space-4", "space-5"])).collect()["timestamp"]
        assert times.to_list() == ([10, 11] if name == "order" else given)


def test_without_events_reactions_are_the_events_and_bring_their_times(tmp_path):
    items, _ = planted_tables()
    root = tmp_path / "ws"
    create_workspace(root, items, None)
    for item in ("space-0", "space-1"):
        assert whyrec("feedback", "add", "ann", item, "like", "-w", root).exit_code == 0
    given = [one.timestamp for one in Workspace(root).feedback.of("ann")]
    assert whyrec("compact", "-w", root).exit_code == 0
    workspace = Workspace(root)
    assert workspace.events().collect()["timestamp"].to_list() == given
    assert workspace.timed
    assert workspace.history("ann").items == ("space-0", "space-1")


def test_reactions_to_items_that_are_gone_wait_for_them(root):
    say(root, ("ann", "space-5", "like"), ("ann", "space-4", "like"))
    catalog = Workspace(root).items_path
    whole = catalog.read_bytes()
    pl.read_parquet(catalog).filter(pl.col("item_id") != "space-5").write_parquet(catalog)
    result = whyrec("compact", "-w", root)
    assert "1 like wait, as their items are not in the catalog" in result.stderr
    assert "Events now: 1 like" in result.stderr
    assert Workspace(root).history("ann").items == ("space-4",)
    catalog.write_bytes(whole)
    assert fold(Workspace(root)).folded == {"like": 1}
    assert set(Workspace(root).history("ann").items) == {"space-4", "space-5"}
    assert reactions_in(root) == []


def test_data_that_are_imported_anew_say_what_goes_with_the_events(root, tmp_path):
    say(root, GIVEN[0])
    fold(Workspace(root))
    pl.DataFrame({"item_id": ["space-4"], "title": ["Orbit of Fire"]}).write_csv(tmp_path / "items.csv")
    for gone in (True, False):
        result = whyrec("init", root, "--replace", "--items", tmp_path / "items.csv")
        assert result.exit_code == 0, result.output
        assert ("reactions that whyrec compact had made events of are gone" in result.stderr) == gone


def test_a_restored_database_never_gives_an_id_again(root):
    say(root, GIVEN[0])
    shutil.copy(root / FEEDBACK, root / "backup")
    say(root, *GIVEN[1:4])
    fold(Workspace(root))
    before = events_of(root)
    shutil.copy(root / "backup", root / FEEDBACK)
    say(root, ("ann", "space-1", "like"))
    assert reactions_in(root) == [("ann", "space-1", "like")]  # what the backup had was folded
    fold(Workspace(root))
    assert events_of(root) == sorted([*before, ("ann", "space-1", 5.0)])


def test_another_database_begins_anew(root):
    say(root, *GIVEN[:4])
    fold(Workspace(root))
    (root / FEEDBACK).unlink()
    before = events_of(root)
    say(root, ("ann", "space-1", "like"))
    assert fold(Workspace(root)).folded == {"like": 1}
    assert events_of(root) == sorted([*before, ("ann", "space-1", 5.0)])


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from retrieval.data import feedback, folding
from retrieval.data.workspace import Workspace

world, folder = Path(sys.argv[1]), Path(sys.argv[2])


def compact(root, last):
    left = [last]

    def trace(frame, event, _):
        if frame.f_code.co_filename not in (folding.__file__, feedback.__file__):
            return None
        if event == "line" and frame.f_code.co_name in ("fold", "_folded", "_put_last", "writing"):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    folding.fold(Workspace(root))
    os._exit(0)


for last in range(1, 1000):
    root = Path(shutil.copytree(world, folder / f"{last:03}"))
    child = os.fork()
    if child == 0:
        compact(root, last)
    status = os.waitpid(child, 0)[1]
    if not os.WIFSIGNALED(status):
        sys.exit(status)
"""


def killed_at_each_line(world, folder):
    """Copies of the workspace in which compacting was killed, each at the next line of the protocol."""
    subprocess.run([sys.executable, "-c", KILLED, world, folder], check=True, timeout=120)
    return sorted(folder.iterdir())[:-1]  # the last one was not killed


def test_killed_at_any_line_everything_is_folded_exactly_once(planted_root, tmp_path):
    world = shutil.copytree(planted_root, tmp_path / "world", ignore=shutil.ignore_patterns("index", "lexical"))
    say(world, *GIVEN)
    before, heard = events_of(world), histories(world)
    (tmp_path / "killed").mkdir()
    folded_by_the_killed = []
    for root in killed_at_each_line(world, tmp_path / "killed"):
        assert histories(root) == heard
        folded_by_the_killed.append(len(events_of(root)) - len(before))
        say(root, ("ann", "space-1", "like"))  # nobody's reaction is taken for one that was folded
        fold(Workspace(root))
        assert events_of(root) == sorted([*before, *EVENTS, ("ann", "space-1", 5.0)])
        assert histories(root) == heard
        assert len(reactions_in(root)) == 3
    assert len(folded_by_the_killed) > 40
    assert folded_by_the_killed == sorted(folded_by_the_killed)  # one step makes all the difference
    assert set(folded_by_the_killed) == {0, len(EVENTS)}


def test_whoever_reads_while_reactions_become_events_misses_none(root, monkeypatch):
    say(root, *GIVEN)
    heard, reader = histories(root), Workspace(root)
    monkeypatch.setattr(reader, "events", lambda: fold(Workspace(root)) and Workspace(root).events())
    found = [reader.history(user) for user in PEOPLE]
    assert [(dict(zip(one.items, one.values, strict=True)), one.seen, one.never) for one in found] == heard
    assert reactions_in(root) == [("user-0", "space-5", "dislike"), *GIVEN[4:]]
