"""Reactions: kept at once, by many processes at once, and heard by the next request."""

import json
import shutil
import sqlite3
import subprocess
import sys
import textwrap

import polars as pl
import pytest
from conftest import planted_tables
from planted_models import PLANTED_SETTINGS, PlantedModels
from ranker_world import said_by, whyrec

from agent.diagnosis import _feedback
from agent.reactions import Reactions
from agent.recommender import Recommender
from agent.request import Request
from agent.settings import EventSettings, Settings
from agent.why_not import why_not
from retrieval.data.feedback import FEEDBACK
from retrieval.data.readers import Table
from retrieval.data.workspace import Workspace, create_workspace
from retrieval.errors import InputError, UnknownUserError, WorkspaceError

PROCESSES, EACH = 10, 15


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return PlantedModels(tmp_path_factory.mktemp("lm"))


@pytest.fixture
def root(planted_root, tmp_path):
    return shutil.copytree(planted_root, tmp_path / "ws")


@pytest.fixture
def say(root):
    return lambda user, item, reaction: Reactions(Workspace(root), PLANTED_SETTINGS).add(user, item, reaction)


@pytest.fixture
def listed(root, models):
    def ids(user, **more):
        asked = Request(user, **{"k": 18, "mode": "retrieval", **more})
        return [row.item_id for row in Recommender(Workspace(root), PLANTED_SETTINGS, models).recommend(asked).rows]

    return ids


def test_somebody_known_from_reactions_alone_gets_what_is_like_what_they_like(say, listed, root):
    with pytest.raises(UnknownUserError, match="no user 'newcomer'"):
        Workspace(root).history("newcomer")
    say("newcomer", "bread days", "like")
    assert all(item.startswith("cooking") for item in listed("newcomer", k=4))
    say("newcomer", "Red Canyon", "like")
    say("newcomer", "Last Wagon", "5")
    found = listed("newcomer", k=5)
    assert {"western", "cooking"} == {item.split("-")[0] for item in found}
    assert not {"cooking-0", "western-1", "western-2"} & set(found)


def test_a_history_is_events_and_reactions_in_order_of_time(say, root):
    history = Workspace(root).history("user-0")
    assert history.items == ("space-0", "space-1", "space-2", "space-3", "cooking-0")
    say("user-0", "Comet Riders", "2")
    say("user-0", "Orbit of Fire", "like")
    history = Workspace(root).history("user-0")
    assert history.items == ("space-0", "space-1", "space-3", "cooking-0", "space-2", "space-4")
    assert history.values == (5.0, 5.0, 5.0, 1.0, 2.0, 5.0)


def test_events_with_real_times_may_be_later_than_a_reaction(tmp_path):
    items, _ = planted_tables()
    rows = {"user_id": ["u", "u"], "item_id": ["space-0", "space-1"], "rating": [1.0, 5.0]}
    late = Table(pl.LazyFrame(rows | {"timestamp": [1_500_000_000, 4_000_000_000]}), "events")
    create_workspace(tmp_path / "ws", items, late)
    workspace = Workspace(tmp_path / "ws")
    for item_id, value in (("space-0", 4.0), ("space-1", 2.0), ("space-2", 3.0)):
        workspace.feedback.add("u", item_id, "rating", value)
    history = workspace.history("u")
    assert (history.items, history.values) == (("space-0", "space-2", "space-1"), (4.0, 3.0, 5.0))


@pytest.mark.parametrize("reaction", ["dislike", "hide"])
def test_what_is_disliked_or_hidden_never_returns_until_it_is_liked(say, listed, root, reaction):
    assert "space-4" in listed("user-0")
    say("user-0", "space-4", reaction)
    assert "space-4" not in listed("user-0")
    seen_too = listed("user-0", exclude_seen=False)
    assert "space-4" not in seen_too
    assert "space-0" in seen_too
    assert "space-4" not in listed("user-0", query="orbit of fire", exclude_seen=False)
    assert "space-4" in listed("user-3")  # who likes the same topic and has said nothing
    say("user-0", "space-4", "like")
    assert "space-4" in listed("user-0", exclude_seen=False)
    assert not Workspace(root).history("user-0").never


@pytest.mark.parametrize("mode", ["retrieval", "auto"])
@pytest.mark.parametrize("reaction", ["dislike", "hide"])
def test_what_is_disliked_or_hidden_cannot_be_pinned_until_it_is_liked(say, listed, reaction, mode):
    say("user-0", "Orbit of Fire", reaction)
    said = r"this user disliked or hid Orbit of Fire.*leave --pin out.*whyrec feedback add USER id:space-4 like"
    with pytest.raises(InputError, match=said):
        listed("user-0", mode=mode, pin=("Orbit of Fire",))
    assert listed("user-3", mode=mode, pin=("Orbit of Fire",))[0] == "space-4"
    say("user-0", "Orbit of Fire", "like")
    assert listed("user-0", mode=mode, pin=("Orbit of Fire",))[0] == "space-4"


def test_what_was_seen_is_had_and_says_nothing_of_taste(say, listed, root):
    before = Workspace(root).history("user-0")
    say("user-0", "Bread Days", "seen")  # rated 1 before, which stays
    say("user-0", "space-4", "seen")
    history = Workspace(root).history("user-0")
    assert (history.items, history.values) == (before.items, before.values)
    assert history.seen == {"space-4"}
    assert "space-4" not in listed("user-0")
    assert "space-4" in listed("user-0", exclude_seen=False)


def test_hidden_items_are_no_part_of_the_profile(say, root):
    for place in range(4):
        say("user-0", f"space-{place}", "hide")
    history = Workspace(root).history("user-0")
    assert history.items == ("cooking-0",)
    assert history.never == {f"space-{place}" for place in range(4)}


def test_dislikes_alone_are_nothing_to_go_on(say, listed, root):
    say("critic", "space-0", "dislike")
    say("critic", "space-1", "seen")
    history = Workspace(root).history("critic")
    assert (len(history), history.never, history.seen) == (0, {"space-0"}, {"space-1"})
    with pytest.raises(InputError, match="'critic' has said only what not to recommend; add --like"):
        listed("critic")
    assert "space-0" not in listed("critic", likes=("Moon Base",), exclude_seen=False)
    say("critic", "space-2", "3")
    history = Workspace(root).history("critic")
    assert (history.items, history.values) == (("space-0", "space-2"), (1.0, 3.0))


def test_explanations_and_reasons_against_know_what_was_said(say, root, models):
    say("user-0", "space-4", "hide")
    say("user-0", "space-5", "seen")
    recommender = Recommender(Workspace(root), PLANTED_SETTINGS, models)
    hidden, seen = (why_not(recommender, Request("user-0", k=3), 5, item) for item in ("space-4", "space-5"))
    assert hidden.said == "Orbit of Fire (1984) is left out because the user disliked or hid it."
    assert hidden.item["retrieve"] > hidden.other["retrieve"]
    assert seen.said == "Silent Planet (1985) is left out because the user said that they have had it."
    asked = Request("user-0", writer="template")
    assert recommender.explain(asked, "space-5").notes == ["this user has had Silent Planet (1985) already"]
    assert "it is never recommended to them" in recommender.explain(asked, "space-4").notes[0]


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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("user-0", "space-0", "love"), "'love' is not like, dislike, seen, hide or a rating from 0.5 to 5"),
        (("user-0", "space-0", "6"), "'6' is not like"),
        (("user-0", "space-0", "0.4"), "a rating from 0.5 to 5"),
        (("user-0", "space-0", "nan"), "'nan' is not like"),
        (("  ", "space-0", "like"), "the user has no name"),
        (("user-0", "Alien", "like"), "no item is called anything like 'Alien'"),
        (("user-0", "riders", "like"), "'riders' may be 2 items, name one by its id: Comet Riders (1982) [id:space-2]"),
        (("user-0", "id:nope", "like"), "no item 'nope'"),
    ],
)
def test_what_cannot_be_kept_is_said_in_a_line_and_leaves_nothing(root, words, said):
    result = whyrec("feedback", "add", *words, "-w", root)
    assert result.exit_code == 1
    assert said in said_by(result)
    assert not (root / FEEDBACK).exists()


def test_a_rating_is_on_the_scale_of_the_events(tmp_path):
    items, events = planted_tables()
    worth = pl.col("rating").replace_strict({5.0: 80.0, 1.0: 10.0})
    create_workspace(tmp_path / "points", items, Table(events.frame.with_columns(worth), "points"))
    create_workspace(tmp_path / "plain", items, Table(events.frame.drop("rating"), "plain"))
    create_workspace(tmp_path / "none", items, None)
    points = Reactions(Workspace(tmp_path / "points"), Settings(events=EventSettings(liked_from=80.0)))
    assert [points.add("u", "space-0", one).value for one in ("like", "dislike", "45.5")] == [80.0, 10.0, 45.5]
    with pytest.raises(InputError, match="a rating from 10 to 80"):
        points.add("u", "space-0", "5")
    for name in ("plain", "none"):
        unrated = Reactions(Workspace(tmp_path / name), Settings())
        assert [unrated.add("u", "space-0", one).value for one in ("like", "dislike")] == [1.0, 0.0]
        with pytest.raises(InputError, match="'4' is not like, dislike, seen or hide; the events here have no ratings"):
            unrated.add("u", "space-0", "4")


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


def test_somebody_new_is_named_once(root):
    new = "ann is new: there was no event and no reaction of theirs"
    assert new in whyrec("feedback", "add", "ann", "space-1", "like", "-w", root).stderr
    assert new not in whyrec("feedback", "add", "ann", "space-2", "like", "-w", root).stderr
    assert "is new" not in whyrec("feedback", "add", "user-0", "space-5", "like", "-w", root).stderr


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
