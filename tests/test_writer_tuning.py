"""Tuning a writer: what it learns, what is kept, that an interruption changes nothing, and what it refuses."""

import json
import shutil
from dataclasses import replace

import pytest
from evaluation_world import SETTINGS, Notebook
from ranker_world import environment, indexed_world, said_by, whyrec
from safetensors.torch import load_file
from tiny_language_model import save_tiny_language_model

from agent import models as models_module
from agent import settings as settings_module
from agent import stored, tuned_adapter
from agent.explanation import slots_of
from agent.models import Models
from agent.settings import LanguageModelSettings
from agent.tuned_adapter import current_tuned
from agent.verifier import problems
from agent.writer_tuning import NOUN, Plan, WriterTuner, stand_in
from finetune.lora import LoraTuning
from finetune.wording import WritingRequest
from finetune.writer import LMWriter
from finetune.writer_training import Sentences, WriterTrainer, fluency
from prompts import fill, shapes, wordings
from retrieval.errors import InputError, ModelError

QUICK = LoraTuning(rank=4, rate=3e-3, lists=2)
PLAN = Plan(rounds=2, first=4, further=2, written=3)

pytestmark = pytest.mark.usefixtures("exactly")


def models_of(language):
    settings = {"device": "cpu", "language_model": LanguageModelSettings(model=str(language), precision="float32")}
    return Models(SETTINGS.model_copy(update=settings))


def tuner_of(folder, language, watch=None, plan=PLAN):
    return WriterTuner(models_of(language), plan, QUICK, folder, watch or Notebook())


@pytest.fixture(scope="module")
def tuned(folders, tmp_path_factory):
    """The folder with a writer, and what came of its rounds. Read only."""
    folder = tmp_path_factory.mktemp("written") / "writer"
    return folder, *tuner_of(folder, folders[1]).run("a command")


@pytest.mark.parametrize("shape", shapes())
def test_a_stand_in_has_all_that_its_sentences_need(shape):
    slots = slots_of(stand_in(shape), NOUN)
    texts = [fill(sentence, **slots) for sentence in wordings(shape)]
    assert {text for text in texts if problems(text, stand_in(shape), {"Space"}, "en", NOUN)} == set()


def test_a_writer_learns_the_sentences(folders):
    models = models_of(folders[1])
    known = Sentences("new", wordings("new"))
    trainer = WriterTrainer(models.language_model, lambda _: known, 60, replace(QUICK, lists=1, rate=2e-2))
    early = trainer.run(5)
    trainer.run(50)
    assert trainer.run(5) < 0.8 * early


def test_the_loss_is_that_of_sentences_one_by_one(folders):
    models = models_of(folders[1])
    texts = wordings("new")[:4]
    trainer = WriterTrainer(models.language_model, lambda _: Sentences("new", texts), 1, replace(QUICK, noise=0.0))
    together = trainer.run(1)
    single = []
    for text in texts:
        fresh = models_of(folders[1])
        one = Sentences("new", (text,))
        tuning = replace(QUICK, noise=0.0)
        loss = WriterTrainer(fresh.language_model, lambda _, one=one: one, 1, tuning).run(1)
        tokens = len(LMWriter(fresh.language_model).tokens(text))
        single.append((loss * tokens, tokens))
    assert together == pytest.approx(sum(loss for loss, _ in single) / sum(count for _, count in single), rel=1e-4)


def test_what_came_of_the_rounds_is_counted(tuned):
    folder, version, rounds = tuned
    assert len(rounds) == 2
    for one in rounds:
        assert one.written == len(shapes()) * PLAN.written >= one.ended >= one.accepted >= one.different > 0
        assert one.new >= 0
        assert one.loss > 0
    assert current_tuned("writer", folder).version == version
    config = json.loads((folder / version / "config.json").read_text())
    assert [one["accepted"] for one in config["rounds"]] == [one.accepted for one in rounds]
    assert not (folder / ".unfinished").exists()


class Interruption(Notebook):
    """Stops the tuning at a step."""

    def __init__(self, step):
        super().__init__()
        self._left = step

    def advance(self, steps=1):
        self._left -= steps
        if self._left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("step", [2, 5])
def test_an_interruption_changes_nothing(tuned, folders, tmp_path, monkeypatch, step):
    monkeypatch.setattr("agent.writer_tuning.KEPT", 1)
    folder, version, rounds = tuned
    with pytest.raises(KeyboardInterrupt):
        tuner_of(tmp_path, folders[1], Interruption(step)).run("a command")
    again, found = tuner_of(tmp_path, folders[1]).run("a command", resume=True)
    assert found == rounds
    whole, resumed = (load_file(one / "adapter_model.safetensors") for one in (folder / version, tmp_path / again))
    assert whole.keys() == resumed.keys()
    assert all((whole[name] == resumed[name]).all() for name in whole)


def test_resuming_something_else_is_refused(folders, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        tuner_of(tmp_path, folders[1], Interruption(2)).run("a command")
    with pytest.raises(InputError, match="have changed since"):
        tuner_of(tmp_path, folders[1], plan=replace(PLAN, further=3)).run("a command", resume=True)


def test_a_text_of_frequent_tokens_is_the_more_fluent(folders):
    lm = models_of(folders[1]).language_model
    texts = ["it is new here", "xq zzv kkj qwx"]
    found = fluency(lm, texts)
    assert found == pytest.approx([fluency(lm, [text])[0] for text in texts], abs=1e-4)
    assert max(found) < 0


@pytest.fixture
def root(tmp_path, folders):
    return indexed_world(tmp_path / "ws", folders)


def test_the_tuned_writer_is_listed_and_serves(tuned, root, folders, tmp_path):
    shutil.copytree(tuned[0], root / "models" / "writer")
    listed = json.loads(whyrec("models", "-w", root, "--format", "json").stdout)
    assert [(one["kind"], one["live"]) for one in listed if one["version"] == tuned[1]] == [("writer", True)]
    words = ("explain", "user-01", "id:space-01", "-w", root)
    found = [whyrec(*words, **environment(folders) | extra) for extra in ({}, {"WHYREC_LANGUAGE_MODEL__WRITER": "off"})]
    assert all(one.exit_code == 0 for one in found), [one.output for one in found]
    assert "untuned" not in said_by(found[0])
    assert "the language model writes untuned" in said_by(found[1])
    other = save_tiny_language_model(tmp_path / "other", "qwen3")
    refused = whyrec(*words, **environment(folders) | {"WHYREC_LANGUAGE_MODEL__MODEL": str(other)})
    assert refused.exit_code == 1
    assert "the tuned writer in" in said_by(refused)
    assert "whyrec finetune writer" in said_by(refused)


def test_a_packaged_writer_serves_the_language_model_it_is_for(tuned, root, folders, tmp_path, monkeypatch):
    folder = shutil.copytree(tuned[0] / tuned[1], tmp_path / "packaged")
    for module in (settings_module, tuned_adapter, models_module, stored):
        monkeypatch.setitem(module.PACKAGED_ADAPTERS, "writer", folder)
    words = ("explain", "user-01", "id:space-01", "-w", root)
    served = whyrec(*words, **environment(folders))
    assert served.exit_code == 0, served.output
    assert "untuned" not in said_by(served)
    other = {"WHYREC_LANGUAGE_MODEL__MODEL": str(save_tiny_language_model(tmp_path / "other", "qwen3"))}
    assert "the language model writes untuned" in said_by(whyrec(*words, **environment(folders) | other))


@pytest.mark.parametrize("damage", ["{", '{"format_version": 99}', "{}"])
def test_a_damaged_writer_is_named(tmp_path, damage):
    (tmp_path / "config.json").write_text(damage)
    with pytest.raises(ModelError, match="WHYREC_LANGUAGE_MODEL__WRITER=off"):
        current_tuned("writer", tmp_path)


def test_the_command_keeps_a_writer(root, folders, monkeypatch):
    monkeypatch.setattr("agent.writer_tuning.Plan", lambda rounds: replace(PLAN, rounds=rounds))
    result = whyrec("finetune", "writer", "--rounds", "1", "-f", "json", "-w", root, **environment(folders))
    assert result.exit_code == 0, result.output
    assert [row["round"] for row in json.loads(result.stdout)] == [1]
    assert current_tuned("writer", root / "models" / "writer").base == str(folders[1])
    nothing = whyrec("finetune", "writer", "--resume", "-w", root, **environment(folders))
    assert nothing.exit_code == 1
    assert "no interrupted tuning" in said_by(nothing)


def test_what_is_written_by_the_tuned_is_not_what_the_untuned_writes(tuned, folders):
    folder, version, _ = tuned
    settings = {
        "device": "cpu",
        "language_model": LanguageModelSettings(
            model=str(folders[1]), precision="float32", writer=str(folder / version)
        ),
    }
    models = Models(SETTINGS.model_copy(update=settings))
    requests = [WritingRequest("cited-common", str(number)) for number in range(8)]
    assert models.writer.write(requests, 2) != models.untuned_writer.write(requests, 2)
