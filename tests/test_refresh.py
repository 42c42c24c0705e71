"""A refresh measures, trains again what needs it, promotes what is not worse, and changes nothing before its end."""

import json
import shutil

import polars as pl
import pytest
from drift_world import drifted_events, make_old, steady_events
from evaluation_world import SETTINGS, Notebook, WordModels
from planted_artefact import FOLDER, Planted, make

from agent.refresh.artefacts import Watched
from agent.refresh.run import Refresher
from agent.refresh.trial import TRIAL, trials
from agent.settings import RefreshSettings
from retrieval.data.further_events import read_events
from retrieval.data.personal import take_out
from retrieval.data.readers import Table
from retrieval.data.seen import Seen
from retrieval.data.workspace import Workspace
from retrieval.errors import IndexMismatchError, ModelError
from retrieval.versions import current_version, save_version, version_names


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A workspace of old events with the planted artefact. Read only."""
    workspace = make_old(tmp_path_factory.mktemp("old") / "ws")
    make(workspace)
    return workspace.root


@pytest.fixture
def root(world, tmp_path):
    return shutil.copytree(world, tmp_path / "ws")


def refresh(root, frame=None, artefact=None, watched=(), *, dry=False, **rules):
    """The row of the planted artefact, and what was noted."""
    workspace, notes = Workspace(root), Notebook()
    artefact = artefact or Planted()
    with workspace.writing(), trials(workspace) as folder:
        part = None if frame is None else read_events(workspace, Table(frame.lazy(), "more"), {}, folder)[0]
        refresher = Refresher(workspace, WordModels(SETTINGS), RefreshSettings(**rules), folder, notes)
        rows = refresher.run([artefact], watched, part, dry=dry)
        if not dry:
            refresher.commit()
    assert not (root / TRIAL).exists()
    return (rows[0] if len(rows) == 1 else rows), notes.notes


def live(root):
    return current_version(root / FOLDER)


def files(root):
    """All that a workspace holds, but what only opening it changes."""
    kept = (path for path in sorted(root.rglob("*")) if path.is_file() and "index" not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in kept if path.name != ".lock"}


def test_without_new_events_everything_is_up_to_date(root):
    before = files(root)
    row, notes = refresh(root)
    assert (row.decision, row.new, row.popularity, notes) == ("up to date", 0, None, [])
    assert row.row()["version"] == live(root)
    assert files(root) == before


def test_without_drift_nothing_is_trained_and_the_events_are_kept(root):
    before, version = len(Workspace(root).events().collect()), live(root)
    row, notes = refresh(root, steady_events())
    assert (row.decision, row.why, notes) == ("kept", "no drift", [])
    assert row.popularity.psi < 0.2  # of sixty items few have as many events as others
    assert row.profile.reading == "none"
    assert (row.events, row.new) == (before, len(steady_events()))
    assert (live(root), version_names(root / FOLDER)) == (version, [version])
    assert len(Workspace(root).events().collect()) == before + len(steady_events())


def test_what_was_carried_over_is_not_measured_and_is_made_anew_as_it_was(root):
    make(Workspace(root), transferred={"from": "there"}, command="whyrec transfer --from there --to here")
    row, _ = refresh(root, drifted_events())
    assert row.decision == "not measured"
    assert row.why.endswith("come from another workspace; make it anew: whyrec transfer --from there --to here")


class Base(Planted):
    """What the planted artefact may rest on."""

    def _do(self, _place, workspace):
        made = {"seen": Seen.of(workspace).to_json()}
        save_version(workspace.root / "models" / self.kind, lambda _: None, made, "base")


def test_what_has_seen_everything_is_made_without_the_newest_for_what_rests_on_it(root):
    row, _ = refresh(root, drifted_events(), psi=100, fall=1)  # the events are kept, nothing is trained
    base, workspace, notes = Base(kind="base"), Workspace(root), Notebook()
    base.complete(None, workspace, workspace, notes)
    with workspace.writing(), trials(workspace) as folder:
        refresher = Refresher(workspace, WordModels(SETTINGS), RefreshSettings(), folder, notes)
        decided = refresher.run([base, Planted(rests_on=("base",))])
    assert [one.decision for one in decided] == ["up to date", "promoted"]
    half = row.events + len(drifted_events()) // 2
    assert notes.notes[:2] == [f"completes with {row.events + row.new}", f"completes with {half}"]


def test_after_a_drift_what_was_trained_again_is_promoted_and_then_up_to_date(root):
    old = live(root)
    row, notes = refresh(root, drifted_events())
    assert row.decision == "promoted"
    assert row.why == "PSI of popularity above 0.25 and PSI of profiles above 0.25"
    assert (row.popularity.reading, row.profile.reading) == ("large", "large")
    assert row.judged.gain.low > 0.1
    assert row.judged.quality.mean == pytest.approx(row.now.mean + row.judged.gain.delta)
    half = row.events + len(drifted_events()) // 2
    assert notes[1] == f"learns from {half}"  # the newest half is held out, whatever is trained
    assert notes[2] == f"completes with {row.events + row.new}"
    assert (live(root), version_names(root / FOLDER)) == (row.judged.version, [old, row.judged.version])
    config = json.loads((root / FOLDER / live(root) / "config.json").read_text())
    assert config["seen"] == Seen.of(Workspace(root)).to_json()
    told = config["refresh"]
    assert (told["instead_of"], told["decision"], told["events"]) == (
        old,
        "promoted",
        Workspace(root).events_fingerprint,
    )
    again, _ = refresh(root)
    assert again.decision == "up to date"
    later, _ = refresh(root, steady_events().with_columns(pl.col("timestamp") + 90 * 86_400), dry=True)
    assert later.then == pytest.approx(row.judged.quality.mean)  # measured in the same way


def test_what_is_worse_is_kept_and_does_not_serve(root):
    old = live(root)
    row, notes = refresh(root, drifted_events(), Planted(wrong=True), tolerance=0.0)
    assert row.decision == "refused"
    assert row.judged.gain.low < 0
    assert (live(root), version_names(root / FOLDER)) == (old, [old, row.judged.version])
    assert len(notes) == 2  # it was not completed
    before = files(root)
    again, notes = refresh(root, artefact=Planted())
    assert (again.decision, notes) == ("kept", [])
    assert again.why == f"{row.judged.version}, of these events, was refused"
    assert files(root) == before
    (root / FOLDER / "current").write_text(row.judged.version)  # whyrec models use
    used, _ = refresh(root)
    assert 0 < used.new < row.new  # it has seen all but the newest events


def test_the_tolerance_decides(root):
    row, _ = refresh(root, drifted_events(), Planted(wrong=True), dry=True)
    assert row.decision == "would train"
    row, _ = refresh(root, drifted_events(), Planted(wrong=True), tolerance=1.0)
    assert row.judged.gain.low < 0
    assert row.decision == "promoted"


def test_a_fall_of_quality_alone_is_a_reason(root):
    make(Workspace(root), validation=0.9)
    row, _ = refresh(root, steady_events(), fall=0.1)
    assert row.why == "quality fell by more than 10%"
    assert row.then == 0.9
    assert row.now.high < 0.9
    assert row.decision == "refused"  # as good, but not proven to lose less than the tolerance
    assert row.judged.gain.low < -0.01 < row.judged.gain.delta


def test_a_dry_run_changes_nothing(root):
    before = files(root)
    row, notes = refresh(root, drifted_events(), dry=True)
    assert (row.decision, notes) == ("would train", [])
    assert row.now.mean > 0
    assert files(root) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("out of memory")])
@pytest.mark.parametrize("place", ["train", "complete"])
def test_interrupted_everything_is_as_it_was(root, error, place):
    before = files(root)
    with pytest.raises(type(error)):
        refresh(root, drifted_events(), Planted(fails=error, fails_at=place))
    assert files(root) == before
    assert not (root / TRIAL).exists()
    row, _ = refresh(root, drifted_events())
    assert row.decision == "promoted"


def test_what_a_killed_process_left_is_cleared(root):
    (root / TRIAL / "whole" / "data").mkdir(parents=True)
    row, _ = refresh(root, drifted_events())
    assert row.decision == "promoted"


def test_events_that_were_imported_anew_are_new_by_their_time(root):
    refresh(root, drifted_events(), dry=False, psi=100, fall=1)
    take_out(root / "data" / "events" / "part-00000.parquet", "user-000")
    row, _ = refresh(root, dry=True)
    assert row.decision == "would train"
    assert row.new == len(drifted_events())


def test_too_few_people_tell_nothing(root):
    few = drifted_events().filter(pl.col("user_id") < "user-005")
    row, _ = refresh(root, few)
    assert (row.decision, row.why) == ("kept", "too few people to measure on: 3")


def test_nobody_to_measure_on_is_said(root):
    had = Workspace(root).events().collect().filter(pl.col("user_id") < "user-020").head(100)
    same = had.with_columns(pl.col("timestamp") // 1000 + 400 * 86_400).rename({"value": "rating"})
    row, _ = refresh(root, same, psi=0.0)
    assert (row.decision, row.why) == ("kept", "too few people to measure on: 0")


def test_what_cannot_be_measured_is_said(root):
    row, _ = refresh(root, drifted_events(), Planted(fitting=False))
    assert row.decision == "kept"
    assert row.why.startswith("it is not of the items or vectors of now: whyrec plant")
    folder = root / FOLDER
    config = folder / live(root) / "config.json"
    config.write_text(json.dumps({"counts": []}))
    row, _ = refresh(root)
    assert (row.decision, row.events) == ("not measured", 0)
    assert "it does not say what events it was made of; make it anew: whyrec plant" in row.why
    config.write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        refresh(root)


def test_events_that_have_nothing_left_of_what_was_seen_are_not_measured(root):
    path = root / "data" / "events" / "part-00000.parquet"
    later = pl.read_parquet(path).with_columns(pl.col("timestamp") + 900 * 86_400_000)
    later.write_parquet(path)
    row, _ = refresh(root)
    assert row.decision == "not measured"
    assert "none of the events that it was made of is there" in row.why


def test_what_is_watched_shows_its_drift_and_is_not_trained(root):
    shutil.copytree(root / FOLDER, root / "models" / "seen")
    (_, row), _ = refresh(root, drifted_events(), watched=[Watched("seen", ("by hand",))])
    assert row.decision == "kept"
    assert row.popularity.reading == "large"
    assert "not trained here: whyrec by hand" in row.why
    assert row.now is None
    (_, row), _ = refresh(root, watched=[Watched("seen", ("by hand",))], psi=100)
    assert (row.decision, row.why) == ("kept", "no drift")


def test_without_an_index_the_command_is_named(root):
    shutil.rmtree(root / "index")
    with pytest.raises(IndexMismatchError, match=f"{root.name} has no index yet; make it with: whyrec index"):
        refresh(root, drifted_events())
