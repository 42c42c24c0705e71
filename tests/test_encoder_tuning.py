"""From events to a tuned encoder that serves: what is kept, what is refused, and that nothing leaks."""

import json
import shutil
from dataclasses import astuple

import numpy as np
import polars as pl
import pytest
from conftest import SEED
from evaluation_world import SETTINGS, Notebook
from tiny_encoder import save_tiny_encoder
from typer.testing import CliRunner

from agent import encoder_tuning
from agent.cli.app import app
from agent.encoder_tuning import EncoderTuner, judge
from agent.evaluation.study import Question
from agent.models import Models
from agent.settings import EncoderSettings, load_settings
from agent.tuned_study import TunedStudy
from finetune.encoder import EncoderTuning
from retrieval.data.readers import Table
from retrieval.data.workspace import Workspace, create_workspace
from retrieval.errors import InputError, SplitError, WorkspaceError
from retrieval.text import encoder as encoder_module
from retrieval.text.index import ItemIndex
from retrieval.text.tuned import current_tuned

ROUND, ROUNDS = 30, 2
ITEMS, TOPICS = 200, 4
QUICK = EncoderTuning(layers=3, rate=3e-3, warmup=2, items=48)


def items():
    """Each title has one word of its topic, which people care for, and three that mean nothing to them."""
    rng = np.random.default_rng(SEED)
    words = ["".join(rng.choice(list("bdklmnrst")) + rng.choice(list("aeiou")) for _ in range(3)) for _ in range(60)]
    rows = []
    for number in range(ITEMS):
        own = words[10 * (number % TOPICS) + rng.integers(6)]
        rows.append((f"item-{number:03}", " ".join(rng.permutation([own, *rng.choice(words[40:], 3, replace=False)]))))
    return pl.DataFrame(rows, schema=["item_id", "title"], orient="row")


def events():
    """Each user likes a dozen items of one topic and a few others."""
    rng = np.random.default_rng(SEED)
    rows = []
    for user in range(160):
        own = rng.choice(np.arange(user % TOPICS, ITEMS, TOPICS), 12, replace=False)
        had = {*own.tolist(), *rng.choice(ITEMS, 2).tolist()}
        rows += [(f"user-{user:02}", f"item-{item:03}", 5.0, place) for place, item in enumerate(sorted(had))]
    return pl.DataFrame(rows, schema=["user_id", "item_id", "rating", "timestamp"], orient="row")


def make_world(root, given=None):
    given = events() if given is None else given
    create_workspace(root, Table(items().lazy(), "items"), Table(given.lazy(), "events"), noun="story")
    return Workspace(root)


@pytest.fixture(scope="module", autouse=True)
def _few_exact_steps():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder_module, "computes_bfloat16", lambda: False)
        patch.setattr("finetune.encoder.computes_bfloat16", lambda: False)
        patch.setattr(encoder_tuning, "ROUND", ROUND)
        patch.setattr(encoder_tuning, "ROUNDS", ROUNDS)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny encoder that knows the words of the items. Read only."""
    texts = items()["title"].to_list()
    return save_tiny_encoder(tmp_path_factory.mktemp("models") / "encoder", texts)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Read only: copy it before changing it."""
    return make_world(tmp_path_factory.mktemp("world") / "ws")


@pytest.fixture
def workspace(world, tmp_path):
    shutil.copytree(world.root, tmp_path / "ws")
    return Workspace(tmp_path / "ws")


def settings_of(folder, tuned="off"):
    return SETTINGS.model_copy(update={"encoder": EncoderSettings(model=str(folder), tuned=tuned)})


def tuner_of(workspace, folder, tuning=QUICK, watch=None):
    settings = settings_of(folder)
    tuner = EncoderTuner(workspace, settings, Models(settings), 0, watch or Notebook())
    tuner.__dict__["_tuning"] = tuning  # as if it had been computed
    return tuner


@pytest.fixture(scope="module")
def proven(world, folder, tmp_path_factory):
    """A workspace with a tuned encoder, and what came of the tuning. Read only."""
    root = tmp_path_factory.mktemp("proven") / "ws"
    shutil.copytree(world.root, root)
    workspace = Workspace(root)
    return workspace, tuner_of(workspace, folder).run("whyrec finetune encoder")


def test_steps_are_chosen_on_some_draws_and_judged_on_others():
    figures = np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [0.1, 0.5, 0.2], [0.1, 0.5, 0.2]])
    draws, low = judge(figures)
    assert [draw.steps for draw in draws] == [ROUND, ROUND, 2 * ROUND, 2 * ROUND]
    assert [draw.after for draw in draws] == [0.2, 0.2, 0.2, 0.2]
    assert low == pytest.approx(0.1)


def test_a_gain_that_differs_from_draw_to_draw_is_not_proven():
    gains = np.array([0.03, -0.01, 0.02, 0.0])
    _, low = judge(np.stack([np.full(4, 0.2), 0.2 + gains], axis=1))
    # t-interval: the 95 % point of t with three degrees of freedom is 2.3534
    assert low == pytest.approx(gains.mean() - 2.3534 * gains.std(ddof=1) / 2, abs=1e-5)
    assert low < 0


def test_what_is_proven_is_kept_and_says_how_it_was_made(proven, folder):
    workspace, outcome = proven
    models = Models(settings_of(folder))
    assert outcome.low > 0
    assert len(outcome.draws) == 4
    tuned = current_tuned(workspace.root / "models" / "encoder", models.sentence_fingerprint)
    assert tuned.version == outcome.version
    config = json.loads((tuned.layers.parent / "config.json").read_text())
    assert config["kind"] == "encoder"
    assert config["steps"] == outcome.steps
    assert config["events"] == workspace.events_fingerprint
    assert EncoderTuning(**config["tuning"]) == QUICK
    assert [one["after"] for one in config["validation"]["ndcg@10"]] == [draw.after for draw in outcome.draws]
    assert "whyrec finetune encoder" in (tuned.layers.parent / "README.md").read_text()
    assert not (workspace.root / "models" / "encoder" / ".unfinished").exists()


def test_the_tuned_vectors_stand_beside_the_untuned_ones(proven, folder):
    workspace, _ = proven
    tuned = Models(settings_of(folder, str(workspace.root / "models" / "encoder")))
    untuned = Models(settings_of(folder))
    texts = [workspace.catalog.text(item_id) for item_id in workspace.catalog.ids[:9]]
    both, first = tuned.encoder.encode(texts), untuned.encoder.encode(texts)
    np.testing.assert_allclose(both[:, :32], first, atol=1e-6)
    assert both.shape == (9, 64)
    assert np.abs(both[:, 32:] - first).max() > 0.05
    np.testing.assert_allclose(tuned.query_encoder.encode(texts), first, atol=1e-6)
    assert tuned.encoder_fingerprint == tuned.encoder.fingerprint != untuned.encoder_fingerprint
    assert tuned.untuned.encoder_fingerprint == untuned.encoder_fingerprint
    assert tuned.names == (str(folder), f"{folder} tuned")


def test_what_is_not_proven_is_not_kept(workspace, folder):
    outcome = tuner_of(workspace, folder, EncoderTuning(rate=0.0, decay=0.0)).run("whyrec finetune encoder")
    assert outcome.version is None
    assert outcome.low <= 0
    assert [path.name for path in (workspace.root / "models" / "encoder").iterdir()] == []


class Impatient(Notebook):
    """Presses Ctrl-C after so many steps."""

    def __init__(self, most):
        super().__init__()
        self._most = most

    def advance(self, steps=1):
        super().advance(steps)
        if sum(self.steps) >= self._most:
            raise KeyboardInterrupt


@pytest.mark.parametrize("most", [ROUND + 7, ROUND * ROUNDS, 3 * ROUND * ROUNDS + 1, 4 * ROUND * ROUNDS + 3])
def test_an_interrupted_tuning_is_resumed_to_the_same_end(proven, workspace, folder, most):
    with pytest.raises(KeyboardInterrupt):
        tuner_of(workspace, folder, watch=Impatient(most)).run("whyrec finetune encoder")
    assert not (workspace.root / "models" / "encoder" / "current").exists()
    watch = Notebook()
    outcome = tuner_of(workspace, folder, watch=watch).run("whyrec finetune encoder", resume=True)
    assert outcome.draws == proven[1].draws
    assert outcome.steps == proven[1].steps
    assert watch.steps == watch.totals
    base = Models(settings_of(folder)).sentence_fingerprint
    layers = [current_tuned(space.root / "models" / "encoder", base).layers for space in (workspace, proven[0])]
    assert layers[0].read_bytes() == layers[1].read_bytes()


def test_only_what_fits_is_resumed(workspace, folder):
    with pytest.raises(InputError, match="no interrupted tuning to resume; tune without --resume"):
        tuner_of(workspace, folder).run("", resume=True)
    with pytest.raises(KeyboardInterrupt):
        tuner_of(workspace, folder, watch=Impatient(ROUND + 1)).run("")
    with pytest.raises(InputError, match="have changed since; tune again without --resume"):
        tuner_of(workspace, folder, EncoderTuning(seed=1)).run("", resume=True)
    path = workspace.root / "models" / "encoder" / ".unfinished" / "draw-0.json"
    path.write_text("[0.1,")
    with pytest.raises(WorkspaceError, match=r"draw-0\.json cannot be read .* without --resume"):
        tuner_of(workspace, folder).run("", resume=True)


def test_too_few_items_to_judge_by_are_refused(tmp_path, folder):
    few = make_world(tmp_path / "few", events().filter(pl.col("item_id") < "item-004"))
    with pytest.raises(SplitError, match="use more data"):
        tuner_of(few, folder).run("")


def changed(events, part):
    """The events of one part with other items and values."""
    mixed = pl.col("item_id").reverse()
    other = pl.when(pl.col("part") == part)
    return events.with_columns(
        other.then(mixed).otherwise(pl.col("item_id")).alias("item_id"),
        other.then(6 - pl.col("value")).otherwise(pl.col("value")).alias("value"),
    )


@pytest.mark.parametrize("split", ["cold-items", "leave-last"])
def test_no_vector_of_a_study_has_seen_what_is_held_out(proven, folder, split, tmp_path):
    root = tmp_path / "ws"
    shutil.copytree(proven[0].root, root)
    workspace = Workspace(root)
    settings = settings_of(folder, str(root / "models" / "encoder"))
    models = Models(settings)
    index = ItemIndex(workspace.index_path, models.encoder_fingerprint, create=True)
    index.update(workspace.catalog, index.changes(workspace.catalog), models.remembering_encoder(root))
    index.complete(workspace.catalog_fingerprint)
    study = TunedStudy(workspace, settings, models, Question(split), 0)
    parts = study.validations
    assert len(parts) == (4 if split == "cold-items" else 1)
    vectors = [part.training_data("validation").vectors for part in parts]
    assert all(np.abs(one - study.everything().vectors).max() > 0.01 for one in vectors)
    np.testing.assert_allclose(np.linalg.norm(vectors[0], axis=1), 1, atol=1e-5)
    assert study.untuned_vectors.shape[1] < study.vectors.shape[1]  # without what the tuned layers add
    for part, before in zip(parts, vectors, strict=True):
        for name in ("validation", "test"):
            other = TunedStudy(workspace, settings, models, Question(split), 0)
            other.split = part.split.__class__(split, 0, changed(part.split.events, name))
            np.testing.assert_array_equal(other.training_data("validation").vectors, before)
    if split == "cold-items":
        assert np.abs(vectors[0] - vectors[1]).max() > 0.01


def test_on_means_the_one_of_the_workspace(workspace):
    path = workspace.settings_path
    path.write_text(path.read_text() + '\n[encoder]\ntuned = "on"\n')
    assert load_settings(path).encoder.tuned == str(workspace.root / "models" / "encoder")


def whyrec(*arguments, **environment):
    return CliRunner(env=environment).invoke(app, [str(one) for one in arguments])


def test_the_command_says_what_to_do_next(workspace, folder, monkeypatch):
    monkeypatch.setattr(EncoderTuning.__init__, "__defaults__", astuple(QUICK))
    root, environment = workspace.root, {"WHYREC_ENCODER__MODEL": str(folder)}
    result = whyrec("finetune", "encoder", "-w", root, "--format", "json", **environment)
    assert result.exit_code == 0, result.output
    assert [row["draw"] for row in json.loads(result.stdout)] == [1, 2, 3, 4]
    assert "95 % sure" in result.stderr
    assert f"whyrec index --rebuild -w {root}" in result.stderr.replace("\n", " ")
    on = environment | {"WHYREC_ENCODER__TUNED": "on"}
    assert whyrec("index", "--rebuild", "-w", root, **on).exit_code == 0
    refused = whyrec("recommend", "user-01", "-w", root, "--mode", "retrieval", **environment)
    assert refused.exit_code == 1
    assert "another encoder" in refused.stderr
    served = whyrec("recommend", "user-01", "-w", root, "--mode", "retrieval", **on)
    assert served.exit_code == 0, served.output
    tuned = whyrec("tune", "soft-knn", "--split", "cold-items", "--trials", "1", "-w", root, **on)
    assert tuned.exit_code == 0, tuned.output
    assert "Tuning the encoder on what is not held out" in tuned.stderr
    systems = ("evaluate", "--split", "cold-items", "--trials", "1", "--format", "json", "-w", root, "--systems")
    evaluated = whyrec(*systems, "soft-knn", **on)
    assert evaluated.exit_code == 0, evaluated.output
    assert {row["system"] for row in json.loads(evaluated.stdout)} == {"soft-knn"}
    served = whyrec(*systems, "fused", **on)
    assert served.exit_code == 1
    assert "has seen what is held out" in served.stderr.replace("\n", " ")


def test_the_command_resumes_nothing(workspace, folder):
    result = whyrec("finetune", "encoder", "--resume", "-w", workspace.root, WHYREC_ENCODER__MODEL=str(folder))
    assert result.exit_code == 1
    assert "tune without --resume" in result.stderr
