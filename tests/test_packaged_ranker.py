"""The ranker that comes with whyrec: where it serves, where it must be proven first, where it is not measured."""

import json
import shutil

import polars as pl
import pytest
import torch
from evaluation_world import events, items
from ranker_world import environment, indexed_world, opened, said_by, tune_ranker, whyrec
from safetensors.torch import load_file
from tiny_language_model import save_tiny_language_model

from agent import models as models_module
from agent import settings as settings_module
from agent import stored, tuned_ranker
from agent.tuned_ranker import current_ranker
from retrieval.cf.live import TEXT_ALONE, described
from retrieval.data.readers import Table
from retrieval.data.workspace import Workspace, create_workspace
from retrieval.errors import ModelError

PROVEN_ON = described(TEXT_ALONE)


pytestmark = pytest.mark.usefixtures("exactly")


@pytest.fixture(scope="module")
def world(tmp_path_factory, folders):
    """An indexed workspace. Read only."""
    return indexed_world(tmp_path_factory.mktemp("world") / "ws", folders)


@pytest.fixture(scope="module")
def tuned(world, folders, tmp_path_factory):
    """A ranker that was tuned on it. Read only."""
    root = shutil.copytree(world, tmp_path_factory.mktemp("tuned") / "ws")
    assert tune_ranker(root, folders).exit_code == 0
    opened(root, 0.6, retrieval=PROVEN_ON)
    return current_ranker(root / "models" / "ranker").folder


@pytest.fixture
def root(world, tmp_path):
    return shutil.copytree(world, tmp_path / "ws")


@pytest.fixture
def packaged(tuned, tmp_path, monkeypatch):
    """A package whose ranker is the tuned one, with an open gate for what the text finds."""
    folder = shutil.copytree(tuned, tmp_path / "packaged")
    for module in (settings_module, tuned_ranker, models_module, stored):
        monkeypatch.setattr(module, "PACKAGED_RANKER", folder)
    return folder


@pytest.mark.usefixtures("packaged")
def test_the_packaged_ranker_serves_where_none_was_tuned(root, folders, tmp_path):
    served = whyrec("recommend", "user-01", "-f", "json", "-w", root, **environment(folders))
    assert served.exit_code == 0, served.output
    assert all("rank" in row["by"] for row in json.loads(served.stdout))
    other = save_tiny_language_model(tmp_path / "other")
    without = environment(folders) | {"WHYREC_LANGUAGE_MODEL__MODEL": str(other)}
    answer = whyrec("recommend", "user-01", "-f", "json", "-w", root, **without)
    assert answer.exit_code == 0, answer.output
    assert "the packaged ranker is for" in answer.stderr.replace("\n", " ")
    assert all("rank" not in row["by"] for row in json.loads(answer.stdout))


@pytest.mark.usefixtures("packaged")
def test_the_packaged_ranker_is_listed_and_stays(root, folders):

    def listed():
        rows = json.loads(whyrec("models", "-w", root, "-f", "json").stdout)
        return [(one["version"], one["live"]) for one in rows if one["kind"] == "ranker"]

    assert listed() == [("packaged-ranker", True)]
    assert tune_ranker(root, folders).exit_code == 0
    own = current_ranker(root / "models" / "ranker").version
    assert listed() == [("packaged-ranker", False), (own, True)]
    assert whyrec("models", "use", "packaged-r", "-w", root).exit_code == 0
    assert "several versions begin" in said_by(whyrec("models", "use", "packaged", "-w", root))
    assert "belongs to whyrec" in said_by(whyrec("models", "remove", "packaged-ranker", "-w", root))
    assert "LANGUAGE_MODEL__WRITER=off" in said_by(whyrec("models", "remove", "packaged-writer", "-w", root))
    assert listed() == [("packaged-ranker", True), (own, False)]


@pytest.mark.usefixtures("packaged")
def test_the_packaged_ranker_is_not_measured_where_it_has_seen_the_test(root, folders):
    words = ("evaluate", "--trials", "1", "--users", "12", "--systems", "fused,ranked", "-f", "json", "-w", root)
    off = environment(folders) | {"WHYREC_RANKING__FUSION": "off"}
    clean = whyrec(*words, "--split", "cold-items", **off)
    assert clean.exit_code == 0, clean.output
    assert {row["system"] for row in json.loads(clean.stdout)} == {"fused", "ranked"}
    seen = whyrec(*words, "--split", "temporal", **off)
    assert seen.exit_code == 1
    assert "has seen its test part" in seen.stderr.replace("\n", " ")


def later():
    """The events, a second later each."""
    return events().with_columns(pl.col("timestamp") + 1).lazy()


def ordered_by(root, folders, **more):
    """What had a say in a list, and what was said beside it."""
    answer = whyrec("recommend", "user-01", "-f", "json", "-w", root, **environment(folders) | more)
    assert answer.exit_code == 0, answer.output
    return [row["by"] for row in json.loads(answer.stdout)], said_by(answer)


@pytest.mark.usefixtures("packaged")
def test_further_items_leave_the_packaged_ranker_what_it_was_proven_on(root, folders, tmp_path):
    further = pl.DataFrame({"item_id": ["new"], "title": ["Space Tale New"], "about": ["a story of space"]})
    further.write_csv(tmp_path / "new.csv")
    assert whyrec("add-items", tmp_path / "new.csv", "-w", root, **environment(folders)).exit_code == 0
    by, _ = ordered_by(root, folders)
    assert all("rank" in stages for stages in by)


def test_on_other_data_the_packaged_ranker_is_proven_before_it_serves(packaged, folders, tmp_path):
    """What helps with some items may harm with others; its gate says nothing of these."""
    root = tmp_path / "others"
    others = items().with_columns(pl.col("title") + " Retold")
    create_workspace(root, Table(others.lazy(), "items"), Table(later(), "events"), noun="story")
    assert whyrec("index", "-w", root, **environment(folders)).exit_code == 0
    by, said = ordered_by(root, folders)
    assert "whyrec finetune ranker --lists 0" in said
    assert all("rank" not in stages for stages in by)
    proven = whyrec("finetune", "ranker", "--lists", "0", "--trials", "1", "-w", root, **environment(folders))
    assert proven.exit_code == 0, proven.output
    own = current_ranker(root / "models" / "ranker")
    before, after = (load_file(folder / "adapter_model.safetensors") for folder in (packaged, own.folder))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert own.gate_in(Workspace(root)).everybody[0].lists > 0
    assert own.retrieval == PROVEN_ON  # what serves here
    opened(root, 0.6)
    by, _ = ordered_by(root, folders)
    assert all("rank" in stages for stages in by)


@pytest.mark.usefixtures("packaged")
def test_the_packaged_ranker_proves_nothing_on_what_it_has_learnt_from(folders, tmp_path):
    """Items and events have come since, so that no fingerprint is what it was."""
    root = tmp_path / "grown"
    new = pl.DataFrame({"item_id": ["new"], "title": ["Space Tale New"], "about": ["a story of space"]})
    grown = pl.concat([items(), new], how="diagonal")
    create_workspace(root, Table(grown.lazy(), "items"), Table(later(), "events"), noun="story")
    assert whyrec("index", "-w", root, **environment(folders)).exit_code == 0
    proven = whyrec("finetune", "ranker", "--lists", "0", "--trials", "1", "-w", root, **environment(folders))
    assert proven.exit_code == 1
    assert "has learnt from these items or events" in said_by(proven)


def test_a_ranker_of_an_older_format_is_named(packaged, root, folders):
    config = json.loads((packaged / "config.json").read_text())
    (packaged / "config.json").write_text(json.dumps(config | {"format_version": 1}))
    with pytest.raises(ModelError, match="made by an older whyrec"):
        current_ranker(packaged)
    assert whyrec("recommend", "user-01", "-w", root, **environment(folders)).exit_code == 1
