"""whyrec refresh from end to end: scorers and student are made again by their own commands' means."""

import json
import shutil

import pytest
from drift_world import drifted_events, old_events, steady_events
from evaluation_world import items
from ranker_world import environment, said_by, whyrec

from retrieval.data.readers import Table
from retrieval.data.workspace import Workspace, create_workspace
from retrieval.versions import current_version, version_names

ALONE = {"WHYREC_RANKING__RANKER": "off"}

pytestmark = pytest.mark.usefixtures("exactly")


@pytest.fixture(scope="module")
def world(tmp_path_factory, folders):
    """A workspace of old events with a fusion and a student. Read only."""
    root = tmp_path_factory.mktemp("world") / "ws"
    create_workspace(root, Table(items().lazy(), "items"), Table(old_events().lazy(), "events"), noun="story")
    for words in (("index",), ("tune", "--trials", "1"), ("label",), ("distill", "--trials", "1")):
        assert whyrec(*words, "-w", root, **environment(folders) | ALONE).exit_code == 0
    return root


@pytest.fixture
def root(world, tmp_path):
    return shutil.copytree(world, tmp_path / "ws")


@pytest.fixture
def drifted(tmp_path):
    drifted_events().write_csv(tmp_path / "drifted.csv")
    return tmp_path / "drifted.csv"


def run(root, folders, *words):
    return whyrec(*words, "-w", root, **environment(folders) | ALONE | {"COLUMNS": "80"})


def refresh(root, folders, *words):
    result = run(root, folders, "refresh", "--trials", "1", "--format", "json", *words)
    assert result.exit_code == 0, result.output
    return {row["artefact"]: row for row in json.loads(result.stdout)}, said_by(result)


def live(root):
    return {kind: current_version(root / "models" / kind) for kind in ("fusion", "student")}


def best(root, folders, *words):
    result = run(root, folders, "recommend", "user-000", "-k", "5", "-f", "json", *words)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), result.stderr


def test_after_a_drift_both_are_promoted_serve_and_can_be_taken_back(root, folders, drifted):
    old = live(root)
    rows, said = refresh(root, folders, drifted)
    assert {kind: row["decision"] for kind, row in rows.items()} == {"fusion": "promoted", "student": "promoted"}
    assert f"events: {len(drifted_events()):,} of {len(drifted_events()):,} rows kept" in said
    for kind, row in rows.items():
        assert row["psi popularity"] > 0.25
        assert row["psi profile"] > 0.25
        assert row["retrained"] > row["now"]
        assert row["new"] == len(drifted_events())
        assert (row["version"], old[kind]) == (live(root)[kind], version_names(root / "models" / kind)[-2])
        assert f"back with: whyrec models use {old[kind]}" in said
    for words in ((), ("--mode", "fast")):
        found, warned = best(root, folders, *words)
        assert len(found) == 5
        assert "other events" not in warned
    again, _ = refresh(root, folders)
    assert {row["decision"] for row in again.values()} == {"up to date"}
    config = json.loads((root / "models" / "fusion" / live(root)["fusion"] / "config.json").read_text())
    assert config["events"] == Workspace(root).events_fingerprint
    assert config["refresh"]["ndcg@10"] == pytest.approx(rows["fusion"]["retrained"], abs=1e-4)
    for version in old.values():
        assert run(root, folders, "models", "use", version).exit_code == 0
    assert live(root) == old
    _, warned = best(root, folders)
    assert "other events" in warned


def test_without_drift_both_stay_and_a_person_reads_why(root, folders, tmp_path):
    old = live(root)
    steady_events().write_csv(tmp_path / "steady.csv")
    result = run(root, folders, "refresh", tmp_path / "steady.csv", "--fall", "1")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    shown = [line.split()[:2] for line in lines]
    assert ["artefact", "decision"] in shown
    assert [words for words in shown if "kept" in words] == [[kind, "kept"] for kind in old]
    assert "fusion: kept: no drift" in result.stderr
    assert live(root) == old


def test_a_dry_run_says_what_would_be_done(root, folders, drifted):
    old, events = live(root), Workspace(root).events_fingerprint
    rows, said = refresh(root, folders, drifted, "--dry-run")
    assert {row["decision"] for row in rows.values()} == {"would train"}
    assert "nothing was changed (--dry-run)" in said
    assert (live(root), Workspace(root).events_fingerprint) == (old, events)


def test_what_may_lose_more_than_is_tolerated_is_refused(root, folders, drifted, monkeypatch):
    from agent.refresh import run as refreshing  # the gain that is found, where it is judged

    found = refreshing.gain
    monkeypatch.setattr(refreshing, "gain", lambda study, new, old: found(study, old, new))
    old = live(root)
    rows, said = refresh(root, folders, drifted)
    assert {row["decision"] for row in rows.values()} == {"refused"}
    assert live(root) == old
    for kind, row in rows.items():
        assert f"{old[kind]} still serves" in said
        assert f"whyrec models use {row['version']}" in said
        assert run(root, folders, "models", "use", row["version"]).exit_code == 0
        assert live(root)[kind] == row["version"]
    assert len(best(root, folders)[0]) == len(best(root, folders, "--mode", "fast")[0]) == 5


def test_only_what_needs_it_is_trained_and_the_student_learns_from_what_serves(root, folders, drifted):
    assert run(root, folders, "refresh", drifted, "--psi", "100", "--fall", "1").exit_code == 0  # the events alone
    assert run(root, folders, "tune", "--trials", "1").exit_code == 0
    tuned = live(root)["fusion"]
    rows, _ = refresh(root, folders)
    assert {kind: row["decision"] for kind, row in rows.items()} == {"fusion": "up to date", "student": "promoted"}
    assert live(root)["fusion"] == tuned


def test_reactions_count_once_they_are_events(root, folders):
    assert run(root, folders, "feedback", "add", "user-000", "western-05", "like").exit_code == 0
    rows, said = refresh(root, folders)
    assert {row["decision"] for row in rows.values()} == {"up to date"}
    assert "1 reactions are no events yet: whyrec compact" in said
    assert run(root, folders, "compact").exit_code == 0
    rows, said = refresh(root, folders)
    assert {(row["decision"], row["new"]) for row in rows.values()} == {("kept", 1)}
    assert "too few people to measure on" in said


def test_what_cannot_be_done_is_said(root, folders, drifted, tmp_path):
    result = run(root, folders, "refresh", "--skip-invalid")
    assert result.exit_code == 2
    assert "none is given" in said_by(result)
    assert "no such file" in run(root, folders, "refresh", tmp_path / "none.csv").stderr
    shutil.rmtree(root / "models")
    result = run(root, folders, "refresh", drifted)
    assert result.exit_code == 0, result.output
    header = "artefact decision events new PSI popularity PSI profile then now retrained"  # and no row
    assert sorted(result.stdout.split()) == sorted(header.split())
    assert "begin with: whyrec tune" in said_by(result)


def test_interrupted_it_says_so_and_everything_serves_as_before(root, folders, drifted, monkeypatch):
    from agent.refresh.artefacts import StudentArtefact

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(StudentArtefact, "complete", interrupted)  # the fusion is ready by then
    old, events = live(root), Workspace(root).events_fingerprint
    result = run(root, folders, "refresh", drifted, "--trials", "1")
    assert result.exit_code == 130
    assert (live(root), Workspace(root).events_fingerprint) == (old, events)
    assert not (root / ".refresh").exists()


def test_a_tuned_ranker_is_trained_on_request_alone(root, folders, drifted):
    settings = environment(folders)
    words = ("finetune", "ranker", "--split", "temporal", "--lists", "4", "--trials", "1", "-w", root)
    assert whyrec(*words, **settings).exit_code == 0
    shutil.rmtree(root / "models" / "student")
    old = current_version(root / "models" / "ranker")
    alone = ("refresh", drifted, "--trials", "1", "--format", "json", "--psi", "9", "--fall", "1", "-w", root)
    rows = {row["artefact"]: row for row in json.loads(whyrec(*alone, "--dry-run", **settings).stdout)}
    assert (rows["ranker"]["decision"], rows["ranker"]["now"]) == ("kept", None)
    assert rows["ranker"]["psi popularity"] > 0.25
    result = whyrec(*alone[:-6], "--ranker", "--psi", "1", "--fall", "1", "-w", root, **settings)
    assert result.exit_code == 0, result.output
    row = {row["artefact"]: row for row in json.loads(result.stdout)}["ranker"]
    assert row["decision"] in ("promoted", "refused")
    assert (current_version(root / "models" / "ranker") == row["version"]) == (row["decision"] == "promoted")
    assert len(version_names(root / "models" / "ranker")) == 2
    config = json.loads((root / "models" / "ranker" / row["version"] / "config.json").read_text())
    assert config["refresh"]["instead_of"] == old
    assert config["plan"]["lists"] == 4
