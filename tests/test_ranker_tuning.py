"""From events to a tuned ranker that serves: what is kept, and what is refused."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from ranker_world import environment, indexed_world, opened, tune_ranker, tuner_of, whyrec
from safetensors.torch import load_file
from tiny_language_model import save_tiny_language_model

from agent import ranker_tuning, tuned_ranker
from agent.tuned_ranker import HeldOut, current_ranker, ranker_of_split
from retrieval.cf.live import TEXT_ALONE, described
from retrieval.data.workspace import Workspace
from retrieval.errors import ModelError

pytestmark = pytest.mark.usefixtures("exactly")


@pytest.fixture(scope="module")
def world(tmp_path_factory, folders):
    """An indexed workspace. Read only."""
    return indexed_world(tmp_path_factory.mktemp("world") / "ws", folders)


@pytest.fixture
def root(world, tmp_path):
    shutil.copytree(world, tmp_path / "ws")
    return tmp_path / "ws"


@pytest.fixture(scope="module")
def tuned(world, folders, tmp_path_factory):
    """A workspace in which a ranker was tuned by the command, and what it said. Read only."""
    root = shutil.copytree(world, tmp_path_factory.mktemp("tuned") / "ws")
    return root, tune_ranker(root, folders)


def test_the_command_shows_what_validation_proved(tuned):
    root, result = tuned
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert (rows[0]["items"], rows[0]["people"]) == ("cold", "everybody")
    assert rows[0]["lists"] == sum(row["lists"] for row in rows[1:]) > 10
    ranker = current_ranker(root / "models" / "ranker")
    assert rows[0]["retrieved"] == round(ranker.gate_in(Workspace(root)).everybody[0].before, 4)
    config = json.loads((ranker.folder / "config.json").read_text())
    assert [one["lists"] for one in config["curve"]] == [0, 12]
    assert [one["split"] for one in config["learnt_from"]] == ["cold-items"]
    assert config["retrieval"]["strategy"]
    assert not (root / "models" / "ranker" / ".unfinished").exists()


def test_the_tuned_ranker_is_listed_and_serves(tuned, folders):
    root, _ = tuned
    listed = json.loads(whyrec("models", "-w", root, "--format", "json").stdout)
    own = [one for one in listed if not one["version"].startswith(tuned_ranker.PACKAGED)]
    assert [(one["kind"], one["live"]) for one in own] == [("ranker", True)]
    assert "cold-items" in own[0]["says"]
    with_it, without = (
        whyrec("recommend", "user-01", "--mode", "full", "-f", "json", "-w", root, **environment(folders) | extra)
        for extra in ({}, {"WHYREC_RANKING__RANKER": "off"})
    )
    assert with_it.exit_code == without.exit_code == 0, with_it.output + without.output
    scores = [{row["item_id"]: row["stages"]["rank"] for row in json.loads(one.stdout)} for one in (with_it, without)]
    assert scores[0].keys() == scores[1].keys()
    assert scores[0] != scores[1]


def test_a_gate_proven_on_other_candidates_is_named_in_the_report(tuned, folders, tmp_path):
    shutil.copytree(tuned[0], tmp_path / "ws")
    opened(tmp_path / "ws", 1.0, retrieval={"strategy": "rrf"})
    words = ("evaluate", "--split", "cold-items", "--trials", "1", "--users", "12", "--systems", "fused,ranked")
    result = whyrec(*words, "--out", tmp_path / "report", "-w", tmp_path / "ws", **environment(folders))
    assert result.exit_code == 0, result.output
    made = json.loads((tmp_path / "report" / "report.json").read_text())["meta"]["rankers"]
    assert [one["lists"] for one in made["0"]["curve"]] == [0, 12]
    assert "ranked is the same as fused" in result.stderr.replace("\n", " ")


def evaluated(root, folders, *systems, users=12):
    words = ("evaluate", "--split", "cold-items", "--trials", "1", "--users", users, "--systems", ",".join(systems))
    result = whyrec(*words, "--format", "json", "-w", root, **environment(folders))
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    return {(row["system"], row["metric"], row["k"]): row["mean"] for row in rows if row["stratum"] == "all"}


def test_a_closed_gate_changes_nothing_and_an_open_one_does(tuned, folders, tmp_path):
    shutil.copytree(tuned[0], tmp_path / "ws")
    root = tmp_path / "ws"
    opened(root, 0.0)
    found = evaluated(root, folders, "fused", "ranked")
    for metric in ("ndcg", "recall", "mrr"):
        assert found["fused", metric, 10] == found["ranked", metric, 10]
    opened(root, 1.0)
    again = evaluated(root, folders, "fused", "ranked")
    assert again["fused", "ndcg", 10] == found["fused", "ndcg", 10]
    assert again["ranked", "mrr", 20] != again["fused", "mrr", 20]


def test_a_ranker_is_measured_on_its_own_split_alone(tuned, folders):
    root, _ = tuned
    result = whyrec("evaluate", "--split", "temporal", "--systems", "ranked", "-w", root, **environment(folders))
    assert result.exit_code == 1
    assert "finetune ranker --split temporal" in result.stderr.replace("\n", " ")
    learnt = current_ranker(root / "models" / "ranker").learnt_from[0]
    folder = root / "models" / "ranker"
    asked = HeldOut(learnt.items, learnt.events, learnt.fingerprint, learnt.sketch)
    assert ranker_of_split(folder, asked).learnt_from == (learnt,)
    assert ranker_of_split(folder, replace(asked, split="another")) is None
    unknown = replace(asked, items="others", events="others", split="another", sketch=("0", "1"))
    assert ranker_of_split(folder, unknown) is None
    ranker = current_ranker(folder)
    assert ranker.may_be_measured(unknown)
    for one in ("items", "events", "sketch"):  # others have come since: the test was seen
        assert not ranker.may_be_measured(replace(unknown, **{one: getattr(asked, one)}))


def test_the_gate_holds_for_whom_and_what_it_was_proven_on(tuned, folders, tmp_path):
    shutil.copytree(tuned[0], tmp_path / "ws")
    root = tmp_path / "ws"
    opened(root, 0.7, retrieval=described(TEXT_ALONE))
    served = whyrec("recommend", "user-01", "-f", "json", "-w", root, **environment(folders))
    assert served.exit_code == 0, served.output
    assert all("rank" in row["by"] for row in json.loads(served.stdout))
    likes = whyrec("recommend", "--like", "Space Tale 01", "-w", root, **environment(folders))
    assert "people with a history alone" in likes.stderr.replace("\n", " ")
    opened(root, 0.7, retrieval={"strategy": "rrf"})
    other = whyrec("recommend", "user-01", "-f", "json", "-w", root, **environment(folders))
    assert "proven on other candidates" in other.stderr.replace("\n", " ")
    assert all("rank" not in row["by"] for row in json.loads(other.stdout))


def test_a_ranker_of_another_language_model_is_refused_with_both_names(tuned, folders, tmp_path):
    shutil.copytree(tuned[0], tmp_path / "ws")
    config = opened(tmp_path / "ws", 0.5, base_fingerprint="0" * 16, base="somebody/else")
    result = whyrec("recommend", "user-01", "--mode", "full", "-w", tmp_path / "ws", **environment(folders))
    assert result.exit_code == 1
    said = result.stderr.replace("\n", " ")
    assert "somebody/else" in said
    assert config["base"] in said


def test_a_damaged_ranker_is_named(tuned, folders, tmp_path):
    shutil.copytree(tuned[0], tmp_path / "ws")
    ranker = current_ranker(tmp_path / "ws" / "models" / "ranker")
    (ranker.folder / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be read"):
        current_ranker(tmp_path / "ws" / "models" / "ranker")
    result = whyrec("recommend", "user-01", "-w", tmp_path / "ws", **environment(folders))
    assert result.exit_code == 1
    assert "Traceback" not in result.output


def test_two_processes_tune_one_ranker(root, folders, tmp_path):
    shutil.copytree(root, tmp_path / "other")
    words = ("finetune", "ranker", "--split", "cold-items", "--lists", "12", "--trials", "1", "-w")
    alone = whyrec(*words, root, **environment(folders))
    assert alone.exit_code == 0, alone.output
    call = [sys.executable, "-m", "agent.cli", *words, str(tmp_path / "other")]
    port = str(20_000 + (os.getpid() + 7) % 20_000)
    shared = os.environ | environment(folders)
    shared |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    both = [subprocess.Popen(call, env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(2)]
    assert [one.wait(timeout=300) for one in both] == [0, 0]
    ours, theirs = (current_ranker(one / "models" / "ranker") for one in (root, tmp_path / "other"))
    assert len(list(theirs.folder.parent.glob("2*"))) == 1
    weights = [load_file(one.folder / "adapter_model.safetensors") for one in (ours, theirs)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, atol=5e-3, rtol=5e-2)


def test_a_log_for_tensorboard_needs_it(root, folders, monkeypatch):
    monkeypatch.setattr(ranker_tuning, "find_spec", lambda _: None)
    result = whyrec("finetune", "ranker", "--log", root / "log", "--trials", "1", "-w", root, **environment(folders))
    assert result.exit_code == 1
    assert "pip install tensorboard" in result.stderr


def test_a_base_that_is_missing_is_said_at_once(root, folders):
    result = whyrec("finetune", "ranker", "--base", "nosuch", "-w", root, **environment(folders))
    assert result.exit_code == 1
    assert "no model 'nosuch'" in result.stderr
    assert "Tuning scorers" not in result.stderr


def test_another_base_is_tuned_and_named(root, folders, tmp_path):
    other = save_tiny_language_model(tmp_path / "other", "qwen3")
    words = ("finetune", "ranker", "--split", "cold-items", "--lists", "4", "--trials", "1", "--base", other)
    result = whyrec(*words, "-w", root, **environment(folders))
    assert result.exit_code == 0, result.output
    assert "under [language_model] in whyrec.toml" in result.stderr.replace("\n", " ")
    made = current_ranker(root / "models" / "ranker")
    assert made.base == str(other)


def test_warm_items_are_learnt_from_where_the_split_has_them(root, folders):
    outcome = tuner_of(root, folders, split="leave-last").run("whyrec finetune ranker --split leave-last")
    (gate,) = outcome.gates.values()
    assert gate.everybody[0].lists > 20


@pytest.mark.parametrize(("worse", "changed"), [(True, False), (False, True)])
def test_what_every_step_made_worse_is_not_kept(root, folders, monkeypatch, worse, changed):
    def look(_, trainer, seen):
        seen.curve.append({"lists": trainer.step, "mixed": -trainer.step if worse else trainer.step})

    monkeypatch.setattr(ranker_tuning.RankerTuner, "_look", look)
    version = tuner_of(root, folders).run("whyrec finetune ranker").version
    kept = load_file(root / "models" / "ranker" / version / "adapter_model.safetensors")
    moved = [name for name, values in kept.items() if "lora_B" in name and values.any()]  # at first they are all 0
    assert bool(moved) == changed


def test_versions_are_listed_chosen_and_removed(root, folders):
    first = tuner_of(root, folders).run("whyrec finetune ranker").version
    second = tuner_of(root, folders).run("whyrec finetune ranker").version
    table = whyrec("models", "-w", root)
    assert first in table.stdout
    assert second in table.stdout
    assert "serves now" in whyrec("models", "remove", second, "-w", root).stderr
    assert whyrec("models", "use", first, "-w", root).exit_code == 0
    assert current_ranker(root / "models" / "ranker").version == first
    assert whyrec("models", "remove", second, "-w", root).exit_code == 0
    assert second not in whyrec("models", "-w", root).stdout
    assert whyrec("models", "use", "2000", "-w", root).exit_code == 1


def test_tuning_starts_from_a_ranker_that_has_not_seen_what_is_held_out(tuned, root, folders):
    start = tuned[0] / "models" / "ranker"
    words = ("finetune", "ranker", "--lists", "4", "--trials", "1", "--start-from", start, "-w", root)
    again = whyrec(*words, "--split", "cold-items", **environment(folders))
    assert again.exit_code == 0, again.output
    assert f"Starting from the ranker {current_ranker(start).version}" in again.stderr.replace("\n", " ")
    made = current_ranker(root / "models" / "ranker")
    assert [one.split for one in made.learnt_from] == ["cold-items", "cold-items"]
    other = whyrec(*words, "--split", "temporal", **environment(folders))
    assert other.exit_code == 1
    assert "has learnt from what the split temporal" in other.stderr.replace("\n", " ")
    missing = whyrec(*words[:-4], "--start-from", root / "data", "-w", root, **environment(folders))
    assert missing.exit_code == 1
    assert "no tuned ranker" in missing.stderr
