"""A tuning that is killed again and again ends where one that nothing disturbed does."""

import json
import os
import random
import shutil
import subprocess
import sys
import time

import pytest
from evaluation_world import events, items
from safetensors.torch import load_file
from tiny_encoder import save_tiny_encoder
from tiny_language_model import save_tiny_language_model

from agent.tuned_ranker import current_ranker
from retrieval.data.readers import Table
from retrieval.data.workspace import create_workspace

KILLS = 10
LISTS = 400  # a hundred steps, with a state on disk after each 25


@pytest.mark.slow
def test_ten_kills_change_nothing(tmp_path):
    encoder = save_tiny_encoder(tmp_path / "encoder", items()["about"].to_list())
    environment = os.environ | {
        "WHYREC_ENCODER__MODEL": str(encoder),
        "WHYREC_FEATURES__MODEL": "off",
        "WHYREC_LANGUAGE_MODEL__MODEL": str(save_tiny_language_model(tmp_path / "language")),
        "WHYREC_LANGUAGE_MODEL__PRECISION": "float32",
        "WHYREC_DEVICE": "cpu",
        "WHYREC_RANKING__FUSION": "off",
    }
    root, other = tmp_path / "ws", tmp_path / "other"
    create_workspace(root, Table(items().lazy(), "items"), Table(events().lazy(), "events"), noun="story")

    def started(*words):
        call = [sys.executable, "-m", "agent.cli", *map(str, words)]
        return subprocess.Popen(call, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def whyrec(*words):
        with started(*words) as running:
            said = running.stderr.read()
        assert running.returncode == 0, said.decode()

    whyrec("index", "-w", root)
    shutil.copytree(root, other)
    words = ("finetune", "ranker", "--split", "cold-items", "--lists", LISTS, "-w")
    whyrec(*words, root)
    moments = random.Random(5)
    state = other / "models" / "ranker" / ".unfinished"

    def again():
        return (*words, other, *(["--resume"] if (state / "key").is_file() else []))

    for _ in range(KILLS):
        with started(*again()) as running:
            while b"Tuning the language model" not in running.stderr.readline():
                assert running.poll() is None, "it ended before training began"
            time.sleep(moments.uniform(0.0, 1.0))
            running.kill()
        if not (state / "key").is_file() and (other / "models").exists():
            shutil.rmtree(other / "models")  # it was done already: begin again
    whyrec(*again())
    ours, theirs = (current_ranker(one / "models" / "ranker").folder for one in (root, other))
    curves = [json.loads((one / "config.json").read_text())["curve"] for one in (ours, theirs)]
    assert curves[0] == curves[1]
    weights = [load_file(one / "adapter_model.safetensors") for one in (ours, theirs)]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])
