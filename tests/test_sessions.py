"""Saved sessions of `whyrec chat`: going on from one, whose it is, and what is wrong with one."""

import json
import shutil

import pytest
from ranker_world import environment, indexed_world, said_by
from typer.testing import CliRunner

from agent.cli.app import app

pytestmark = pytest.mark.usefixtures("exactly")


@pytest.fixture(scope="module")
def indexed(tmp_path_factory, folders):
    """An indexed workspace. Read only."""
    return indexed_world(tmp_path_factory.mktemp("sessions") / "ws", folders)


@pytest.fixture
def root(indexed, tmp_path):
    return shutil.copytree(indexed, tmp_path / "ws")


def run(root, folders, *words, lines=()):
    return CliRunner(env=environment(folders)).invoke(app, [*words, "-w", str(root)], input="\n".join(lines) + "\n")


def chat(root, folders, *lines, words=()):
    return run(root, folders, "chat", *words, "-k", "3", "-f", "ndjson", lines=lines)


def replies(result):
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_saved_session_goes_on_where_it_was(root, folders):
    first = replies(chat(root, folders, "with space", "give me 2", "/dislike 1", "/save friday", words=("user-01",)))
    result = chat(
        root, folders, "/profile", "more space", "/undo", "/reset", "/profile", words=("user-01", "--resume", "friday")
    )
    profile, more, undone, reset = replies(result)
    assert "Going on from friday: with" in said_by(result)
    assert profile["wishes"] == first[-1]["wishes"] != []
    assert len(more["rows"]) == 2
    assert first[1]["rows"][0]["item_id"] not in {row["item_id"] for row in more["rows"]}
    assert [row["item_id"] for row in undone["rows"]] == [row["item_id"] for row in first[-1]["rows"]]
    assert reset["wishes"] == []


def test_a_session_is_its_persons_alone(root, folders):
    replies(chat(root, folders, "with space", "/save friday", words=("user-01",)))
    for words in (("user-02",), ()):
        refused = chat(root, folders, "/profile", words=(*words, "--resume", "friday"))
        assert refused.exit_code == 1
        assert "the session 'friday' is that of user-01" in said_by(refused)
        assert "is that of user-01" in said_by(chat(root, folders, "with space", "/save friday", words=words))


@pytest.mark.parametrize("name", ["", "../x", "a/b", "x" * 65, "été"])
def test_a_name_that_is_none_is_refused(root, folders, name):
    result = chat(root, folders, f"/save {name}")
    assert ("needs a name" if not name else "is no name of a session") in said_by(result)
    assert not (root / "sessions").exists()


def test_what_is_missing_or_damaged_is_told(root, folders):
    assert "saved are: none" in said_by(chat(root, folders, words=("--resume", "friday")))
    replies(chat(root, folders, "with space", "/save friday"))
    assert "saved are: friday" in said_by(chat(root, folders, words=("--resume", "monday")))
    (root / "sessions" / "friday.json").write_text('{"k": "many"}')
    damaged = chat(root, folders, words=("--resume", "friday"))
    assert damaged.exit_code == 1
    assert "friday.json cannot be read" in said_by(damaged)


def test_wishes_about_items_that_are_gone_are_left_out(root, folders):
    replies(chat(root, folders, "something like id:space-01", "with space", "/save friday"))
    path = root / "sessions" / "friday.json"
    path.write_text(path.read_text().replace("space-01", "gone-01"))
    result = chat(root, folders, "/profile", words=("--resume", "friday"))
    assert [wish["kind"] for wish in replies(result)[0]["wishes"]] == ["want"]
    assert "no longer in the catalog" in said_by(result)


def test_sessions_are_exported_and_forgotten_with_their_person(root, folders):
    replies(chat(root, folders, "with space", "/save friday", words=("user-01",)))
    replies(chat(root, folders, "with space", "/save nobodys"))
    data = json.loads(run(root, folders, "export-user", "user-01").stdout)
    assert [session["user_id"] for session in data["sessions"]] == ["user-01"]
    result = run(root, folders, "forget", "user-01")
    assert result.exit_code == 0, result.output
    assert "1 sessions" in said_by(result)
    assert [path.name for path in (root / "sessions").iterdir()] == ["nobodys.json"]
