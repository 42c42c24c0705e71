"""The small world of evaluations with a tiny encoder and a tiny language model, by whyrec's own commands."""

import json

from evaluation_world import SETTINGS, Notebook, events, items
from tiny_encoder import save_tiny_encoder
from tiny_language_model import save_tiny_language_model
from typer.testing import CliRunner

from agent.cli.app import app
from agent.evaluation.study import Question, Study
from agent.models import Models
from agent.ranker_tuning import Plan, RankerTuner
from agent.ranking_lists import RankingLists, find_retrieval
from agent.settings import EncoderSettings, FeatureSettings, LanguageModelSettings
from agent.tuned_ranker import current_ranker
from finetune.lora import LoraTuning
from retrieval.data.readers import Table
from retrieval.data.workspace import Workspace, create_workspace

TUNING = LoraTuning(rank=4, rate=3e-3, lists=2)
PLAN = Plan(lists=12, size=4, every=6)


def tiny_models(root):
    """The folders of an encoder and of a language model."""
    return save_tiny_encoder(root / "encoder", items()["about"].to_list()), save_tiny_language_model(root / "language")


def indexed_world(root, folders):
    """An indexed workspace at ``root``."""
    create_workspace(root, Table(items().lazy(), "items"), Table(events().lazy(), "events"), noun="story")
    assert whyrec("index", "-w", root, **environment(folders)).exit_code == 0
    return root


def tune_ranker(root, folders):
    """A little, on the split of cold items; what the command said."""
    words = ("finetune", "ranker", "--split", "cold-items", "--lists", "12", "--trials", "1", "--format", "json")
    return whyrec(*words, "-w", root, **environment(folders))


def tuner_of(root, folders, watch=None, split="cold-items", plan=PLAN, tuning=TUNING):
    """One that tunes a little, by the program and not by the command."""
    encoder, language = folders
    changes = {
        "device": "cpu",
        "encoder": EncoderSettings(model=str(encoder)),
        "features": FeatureSettings(model="off"),
        "language_model": LanguageModelSettings(model=str(language), precision="float32"),
    }
    settings = SETTINGS.model_copy(update=changes)
    models = Models(settings)
    study = Study(Workspace(root), settings, models, Question(split), 0)
    watch = watch or Notebook()
    source = RankingLists(study, find_retrieval(study, 1, watch))
    return RankerTuner([source], models, plan, tuning, root / "models" / "ranker", watch)


def environment(folders):
    encoder, language = folders
    return {
        "WHYREC_ENCODER__MODEL": str(encoder),
        "WHYREC_FEATURES__MODEL": "off",
        "WHYREC_LANGUAGE_MODEL__MODEL": str(language),
        "WHYREC_LANGUAGE_MODEL__PRECISION": "float32",
        "WHYREC_DEVICE": "cpu",
    }


def whyrec(*arguments, **variables):
    return CliRunner(env=variables).invoke(app, [str(one) for one in arguments])


def said_by(result):
    """Without the frame that usage errors have."""
    return " ".join(result.stderr.replace("│", " ").split())


def opened(root, alpha, kind="ranker", **changes):
    """Give the current ranker a gate by hand, for lists of both kinds."""
    folder = current_ranker(root / "models" / kind).folder
    config = json.loads((folder / "config.json").read_text())
    ((items, gate),) = config["gates"].items()
    config["gates"][items] = [one | {"kind": of, "alpha": alpha} for of in ("cold", "warm") for one in gate]
    (folder / "config.json").write_text(json.dumps(config | changes))
    return config
