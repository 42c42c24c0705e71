"""All data about one person: written out, and forgotten."""

import json
import shutil

import polars as pl
import pytest
from conftest import planted_tables
from planted_models import PLANTED_SETTINGS
from ranker_world import whyrec

from agent.reactions import Reactions
from retrieval.data.feedback import FEEDBACK
from retrieval.data.folding import fold
from retrieval.data.labels import LABELS, Label, LabelStore
from retrieval.data.readers import Table
from retrieval.data.workspace import Workspace, create_workspace

USER, OTHER = "user-0", "user-3"
PAGE = "<ol><li>{text}<li>user {user}, Moon Base [space-1]; cited</li></ol>"
FUSION = {"command": "whyrec tune", "best": "single", "validation": {"ndcg@10": {"single": 0.5}, "split": "temporal"}}
STUDENT = {
    "command": "whyrec distill",
    "lists": {"learnt from": 2, "asked": 2},
    "validation": {"proven": True, "twin": 0.4, "student": 0.5, "split": "temporal"},
}


def model(root, kind, config, labelled=None):
    folder = root / "models" / kind / "20260102T030405"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder.parent / "current").write_text(folder.name)
    if labelled:
        pl.DataFrame({"user_id": labelled}).write_parquet(folder / "labelled.parquet")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two people with everything that a workspace can have about somebody. Read only."""
    root = tmp_path_factory.mktemp("personal") / "ws"
    users = pl.DataFrame({"user_id": [USER, OTHER], "street": ["Elm Close", "Ash Lane"]})
    create_workspace(root, *planted_tables(), Table(users.lazy(), "users"))
    for user in (USER, OTHER):
        for reaction in ("like", "hide"):
            Reactions(Workspace(root), PLANTED_SETTINGS).add(user, "space-4", reaction)
    fold(Workspace(root))
    for user in (USER, OTHER):
        Reactions(Workspace(root), PLANTED_SETTINGS).add(user, "space-5", "4.5")
        store = LabelStore(root / LABELS)
        store.add([Label("teacher", user, "history", "space-1", 0.5, None, 0.25)])
        page = root / "reports" / user / "report.html"
        page.parent.mkdir(parents=True)
        page.write_text(PAGE.format(user=user, text="You liked it."))
        split = root / "splits" / f"random-{user[-1]}"
        split.mkdir(parents=True)
        pl.DataFrame({"user_id": [user], "item_id": ["space-1"]}).write_parquet(split / "events.parquet")
    store.add([Label("teacher", user, "history", "space-2", 0.5, None, 0.25) for user in (USER, OTHER)])
    model(root, "fusion", FUSION)
    model(root, "student", STUDENT, [USER, OTHER])
    (root / "models" / "encoder" / ".unfinished").mkdir(parents=True)
    return root


@pytest.fixture
def root(world, tmp_path):
    return shutil.copytree(world, tmp_path / "ws")


def everything(root):
    """All bytes of all files."""
    return b"".join(path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file())


def test_all_data_about_a_person_are_written_out(root, tmp_path):
    result = whyrec("export-user", USER, "-w", root)
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["attributes"] == {"street": "Elm Close"}
    assert [one["item_id"] for one in data["events"]].count("space-4") == 1
    assert len(data["events"]) == 6
    assert data["events"][0] == {"item_id": "space-0", "value": 5.0, "timestamp": 0, "title": "Star Voyage (1980)"}
    assert [(one["kind"], one["value"]) for one in data["reactions"]] == [("hide", None), ("rating", 4.5)]
    assert all(one["time"].startswith("20") for one in data["reactions"])
    assert [(one["item_id"], one["score"]) for one in data["labels"]] == [("space-1", 0.25), ("space-2", 0.25)]
    assert data["students"] == ["models/student/20260102T030405"]
    assert (data["splits"], data["reports"]) == (["splits/random-0"], [f"reports/{USER}/report.html"])
    assert OTHER not in result.stdout
    assert whyrec("export-user", USER, "--out", tmp_path / "one.json", "-w", root).exit_code == 0
    assert json.loads((tmp_path / "one.json").read_text()) == data


def test_somebody_who_is_forgotten_is_nowhere(root):
    other = whyrec("export-user", OTHER, "-w", root).stdout
    result = whyrec("forget", USER, "-w", root, "-f", "json")
    assert result.exit_code == 0, result.output
    removed = "2 reactions, 6 events, 2 labels, 1 attributes, 1 students that name them, 1 splits, 1 pages of reports"
    assert f"Removed of {USER}: {removed}" in result.stderr
    content = everything(root)
    assert OTHER.encode() in content
    assert USER.encode() not in content
    assert b"Elm Close" not in content
    assert json.loads(result.stdout) == [
        {"kind": "fusion", "version": "20260102T030405", "live": True, "command": "whyrec tune"},
        {"kind": "student", "version": "20260102T030405", "live": True, "command": "whyrec distill"},
    ]
    assert not (root / "models" / "encoder" / ".unfinished").exists()
    assert whyrec("export-user", OTHER, "-w", root).stdout == other
    for command in ("forget", "export-user"):
        again = whyrec(command, USER, "-w", root)
        assert again.exit_code == 1
        assert f"there is nothing about a user '{USER}'" in again.stderr


def test_forgetting_folds_nothing_again(root):
    before = Workspace(root).events().collect()
    assert whyrec("forget", USER, "-w", root).exit_code == 0
    assert fold(Workspace(root)).folded == {"rating": 1}  # that of the other one
    after = Workspace(root).events().filter(pl.col("user_id") != OTHER).collect()
    assert after.equals(before.filter(~pl.col("user_id").is_in([USER, OTHER])))


def test_interrupted_forgetting_can_be_given_again(root, monkeypatch):
    from agent import personal

    def full(*_):
        raise OSError(28, "No space left on device", "events")

    with monkeypatch.context() as patch:
        patch.setattr(personal, "take_out", full)
        result = whyrec("forget", USER, "-w", root)
    assert (result.exit_code, result.stderr) == (1, "error: events: No space left on device\n")
    assert whyrec("forget", USER, "-w", root).exit_code == 0
    assert USER.encode() not in everything(root)


def test_who_is_known_from_reactions_alone_is_forgotten_without_any_model(root):
    Reactions(Workspace(root), PLANTED_SETTINGS).add("ann", "space-1", "like")
    result = whyrec("forget", "ann", "-w", root, "-f", "json")
    assert (result.exit_code, result.stdout) == (0, "[]\n")
    assert "Removed of ann: 1 reactions" in result.stderr
    assert b"ann" not in (root / FEEDBACK).read_bytes()
