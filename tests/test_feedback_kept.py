"""Reactions on disk: listed, taken back, and none lost, whoever else writes and whatever breaks."""

import json
import shutil
import sqlite3
import subprocess
import sys
import textwrap

import polars as pl
import pytest
from conftest import planted_tables
from planted_models import PLANTED_SETTINGS
from ranker_world import whyrec

from agent.diagnosis import _feedback
from agent.reactions import Reactions
from retrieval.data.feedback import FEEDBACK
from retrieval.data.readers import Table
from retrieval.data.workspace import Workspace, create_workspace
from retrieval.errors import InputError, UnknownUserError, WorkspaceError

PROCESSES, EACH = 10, 15


@pytest.fixture
def root(planted_root, tmp_path):
    return shutil.copytree(planted_root, tmp_path / "ws")


@pytest.fixture
def say(root):
    return lambda user, item, reaction: Reactions(Workspace(root), PLANTED_SETTINGS).add(user, item, reaction)


def test_the_last_reaction_is_taken_back_of_one_user_or_of_all(say, root):
    say("user-0", "space-4", "hide")
    say("user-1", "space-5", "like")
    taken = whyrec("feedback", "undo", "user-0", "-w", root)
    assert "Taken back: hide from user-0 for Orbit of Fire (1984) [space-4]" in taken.stderr
    assert not Workspace(root).history("user-0").never
    assert "like from user-1" in whyrec("feedback", "undo", "-w", root).stderr
    assert "space-5" not in Workspace(root).history("user-1").items
    for words in ((), ("user-0",)):
        nothing = whyrec("feedback", "undo", *words, "-w", root)
        assert (nothing.exit_code, nothing.stderr[:39]) == (1, "error: there is no reaction to take back"[:39])


def test_reactions_are_listed_in_every_format(root):
    assert whyrec("feedback", "list", "-w", root, "-f", "json").stdout == "[]\n"
    assert "Noted: like from ann for Moon Base (1981) [space-1]" in (
        whyrec("feedback", "add", " ann ", "moon base", "like", "-w", root).stderr
    )
    assert whyrec("feedback", "add", "bob", "id:space-2", "2.5", "-w", root).exit_code == 0
    rows = json.loads(whyrec("feedback", "list", "-w", root, "-f", "json").stdout)
    assert [(row["user_id"], row["item_id"], row["reaction"], row["value"]) for row in rows] == [
        ("ann", "space-1", "like", 5.0),
        ("bob", "space-2", "rating", 2.5),
    ]
    assert rows[0]["title"] == "Moon Base (1981)"
    assert [
        row["user_id"] for row in json.loads(whyrec("feedback", "list", "bob", "-w", root, "-f", "json").stdout)
    ] == ["bob"]
    assert "There are no reactions of eve" in whyrec("feedback", "list", "eve", "-w", root).stderr
    assert (
        whyrec("feedback", "list", "-w", root, "-f", "csv").stdout.splitlines()[0].startswith("user_id,item_id,title")
    )


def test_ten_processes_at_once_lose_nothing(root):
    code = f"""
    import sys
    from pathlib import Path
    from retrieval.data.workspace import Workspace
    root, process = Path(sys.argv[1]), sys.argv[2]
    print("ready", flush=True)
    sys.stdin.readline()
    for place in range({EACH}):
        Workspace(root).feedback.add(f"user {{process}}", f"space-{{place % 6}}", "like", float(place))
    """
    call = [sys.executable, "-c", textwrap.dedent(code), str(root)]
    running = [
        subprocess.Popen([*call, str(one)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for one in range(PROCESSES)
    ]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.wait(60) for process in running] == [0] * PROCESSES
    for process in running:
        process.communicate()
    kept, _ = Workspace(root).feedback.kept()
    assert len({one.id for one in kept}) == PROCESSES * EACH
    for one in range(PROCESSES):
        own = [reaction.value for reaction in kept if reaction.user_id == f"user {one}"]
        assert own == [float(place) for place in range(EACH)]  # in the order they were given


def test_replacing_the_data_keeps_the_reactions(root, say):
    say("user-0", "space-4", "hide")
    say("user-0", "space-5", "like")
    items, events = planted_tables()
    fewer = Table(items.frame.filter(pl.col("item_id") != "space-5"), "fewer")
    without = events.frame.filter(pl.col("item_id") != "space-5")
    create_workspace(root, fewer, Table(without, "events"), replace=True)
    workspace = Workspace(root)
    assert [one.item_id for one in workspace.feedback.of("user-0")] == ["space-4", "space-5"]
    history = workspace.history("user-0")
    assert history.never == {"space-4"}
    assert "space-5" not in history.items  # it is gone
    assert "like from user-0 for space-5 [space-5]" in whyrec("feedback", "undo", "-w", root).stderr


def test_whoever_writes_while_the_data_are_replaced_is_told(root, say):
    say("user-0", "space-4", "hide")
    with pytest.raises(WorkspaceError, match="was replaced in this very moment"), Workspace(root).feedback.writing():
        shutil.copytree(root.rename(root.with_name("old")), root)


def test_a_name_that_is_no_text_is_refused_and_nobody_knows_it(say, root):
    say("user-0", "space-4", "hide")
    with pytest.raises(InputError, match="not valid UTF-8"):
        say("\udcff", "space-4", "hide")
    with pytest.raises(UnknownUserError):
        Workspace(root).history("\udcff")


def test_a_damaged_or_newer_database_is_named(root, say):
    say("user-0", "space-4", "hide")
    database = sqlite3.connect(root / FEEDBACK)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(WorkspaceError, match="newer whyrec"):
        Workspace(root).history("user-0")
    (root / FEEDBACK).write_bytes(b"no database at all" * 100)
    with pytest.raises(WorkspaceError, match=r"feedback\.sqlite cannot be used \(file is not a database\)"):
        Workspace(root).history("user-0")


def test_doctor_says_how_many_wait(root, say):
    assert _feedback(Workspace(root)).found == "0 reactions in force, none waits to become an event"
    say("user-0", "space-4", "hide")
    say("user-0", "space-5", "like")
    assert "2 reactions in force; 1 wait to become events: whyrec compact" in _feedback(Workspace(root)).found


def test_a_full_disk_is_said_and_loses_nothing(root, say):
    say("user-0", "space-4", "hide")
    code = """
    import resource, sys
    from pathlib import Path
    from retrieval.data.workspace import Workspace
    feedback = Workspace(Path(sys.argv[1])).feedback
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
    for place in range(10_000):
        feedback.add("user-0", f"item {place} " + "x" * 1000, "like", 5.0)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(root)], capture_output=True, text=True, check=False
    )
    assert "WorkspaceError" in done.stderr.splitlines()[-1]
    assert "make room" in done.stderr.splitlines()[-1]
    kept, _ = Workspace(root).feedback.kept()
    assert kept[0].kind == "hide"
    assert [one.item_id.split()[1] for one in kept[1:]] == [str(place) for place in range(len(kept) - 1)]
