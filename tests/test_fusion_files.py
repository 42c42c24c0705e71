"""A fusion on disk: it is loaded as it was saved, and what cannot be used is named."""

import json
import shutil
from dataclasses import replace

import pytest
from fusion_world import NAMES, load, save, version_folder

from retrieval.cf.fused import STRATEGIES, Fused
from retrieval.cf.live import FORMAT_VERSION, load_fusion
from retrieval.data.workspace import Workspace
from retrieval.errors import ModelError, WorkspaceError

every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


@pytest.fixture
def copied(fused_root, tmp_path):
    return shutil.copytree(fused_root, tmp_path / "copy")


@every_strategy
def test_a_fusion_is_loaded_as_it_was_saved(strategy, fused_root, planted_fusions, planted_scorers, planted_histories):
    live = load(fused_root, strategy)
    assert replace(live.fusion, stack=None) == replace(planted_fusions[strategy], stack=None)
    assert live.items == planted_histories.items
    assert live.text == planted_scorers[0].config
    assert set(live.scorers) == set(live.fusion.used) - {"soft-knn"}
    loaded = [planted_scorers[0], *(live.scorers.get(scorer.name, scorer) for scorer in planted_scorers[1:])]
    expected = Fused(planted_fusions[strategy], planted_scorers).recommend(planted_histories, 6)
    assert list(Fused(live.fusion, loaded).recommend(planted_histories, 6)) == list(expected)


def test_the_files_of_a_fusion_hold_no_vectors_and_say_what_made_them(fused_root):
    folder = version_folder(fused_root)
    assert {path.name for path in folder.iterdir()} == {
        *("popularity.json", "popularity.safetensors", "item-knn.json", "item-knn.safetensors"),
        *("config.json", "README.md", "stack.skops"),
    }
    assert "whyrec tune --x" in (folder / "README.md").read_text(encoding="utf-8")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert (config["best"], config["command"]) == ("weighted", "whyrec tune --x")


def test_auto_serves_the_best_of_the_newest(copied, planted_fusions, planted_scorers):
    assert load(copied).fusion.strategy == "weighted"
    version = save(copied, planted_fusions, planted_scorers, best="rrf")
    assert version_folder(copied).name == version
    assert load(copied).fusion.strategy == "rrf"


def test_without_a_fusion_auto_is_none_and_a_named_one_an_error(planted_root):
    assert load(planted_root) is None
    with pytest.raises(ModelError, match=r"no fusion to serve by 'rrf'; make it with: whyrec tune -w "):
        load(planted_root, "rrf")


def test_a_fusion_of_other_items_is_refused(fused_root):
    with pytest.raises(WorkspaceError, match=r"made for other items .* run: whyrec tune .*WHYREC_RANKING__FUSION=off"):
        load_fusion(fused_root, "auto", Workspace(fused_root).catalog.ids, "0" * 16)


def changed(root, **values):
    path = version_folder(root) / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, **values}), encoding="utf-8")


@pytest.mark.parametrize(
    ("version", "message"),
    [(FORMAT_VERSION + 1, "a newer format; update whyrec"), (FORMAT_VERSION - 1, "an older format")],
)
def test_another_format_is_refused(copied, version, message):
    changed(copied, format_version=version)
    with pytest.raises(ModelError, match=message):
        load(copied)


@pytest.mark.parametrize(
    "values",
    [
        {"best": "oracle"},
        {"fusions": {}},
        {"format_version": "one"},
        {"text": None},
        {"text": {"colour": 1}},
        {"fusions": {"weighted": {"strategy": "weighted", "scorers": NAMES, "weights": [1], "pair": [], "cut": 9}}},
    ],
    ids=["best", "fusions", "format", "no text", "text", "weights"],
)
def test_a_config_that_cannot_be_used_is_damaged(values, copied):
    changed(copied, **values)
    with pytest.raises(ModelError, match=r"cannot be read .*run: whyrec tune"):
        load(copied)


@pytest.mark.parametrize("name", ["config.json", "stack.skops", "item-knn.json", "item-knn.safetensors"])
@pytest.mark.parametrize("missing", [True, False])
def test_missing_and_damaged_files_are_named(name, missing, copied):
    path = version_folder(copied) / name
    path.unlink()
    if not missing:
        path.write_bytes(b"{ something else")
    with pytest.raises(ModelError, match="cannot be read"):
        load(copied, "stacked")


def test_a_version_that_is_gone_is_an_error(copied):
    shutil.rmtree(version_folder(copied))
    with pytest.raises(ModelError, match=r"models/fusion cannot be read .*run: whyrec tune"):
        load(copied)
