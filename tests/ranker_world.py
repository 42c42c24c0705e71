"""The small world of evaluations with a tiny encoder and a tiny language model, by whyrec's own commands."""

import json

from evaluation_world import events, items
from tiny_encoder import save_tiny_encoder
from tiny_language_model import save_tiny_language_model
from typer.testing import CliRunner

from agent.cli.app import app
from agent.tuned_ranker import current_ranker
from retrieval.data.readers import Table
from retrieval.data.workspace import create_workspace


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


def opened(root, alpha, **changes):
    """Give the current ranker a gate by hand."""
    folder = current_ranker(root / "models" / "ranker").folder
    config = json.loads((folder / "config.json").read_text())
    for stratum in config["gate"].values():
        stratum["alpha"] = {"cold": alpha, "warm": alpha}
    (folder / "config.json").write_text(json.dumps(config | changes))
    return config
