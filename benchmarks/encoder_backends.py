"""Speed of the sentence encoder's backends, and what they cost in quality: MovieLens-small, cold items.

Torch in float32 and in bfloat16, ONNX Runtime in float32 and in int8 (`encoder.backend`), one thread each; the ways
take turns within each round. Times are of the processor, so that other work on the machine does not count. Quality is
NDCG@10 of soft-knn with its default parameters on whitened vectors, over the validation parts of cold-items splits;
only held-out items are ranked. No test part is looked at. The interval of each difference from torch in float32 is of a
bootstrap over users, who stand for all their draws.

`--ways` measures speed on part of them and writes nothing: for processors without AMX, say, whose bfloat16 is slow.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from agent.models import Models
from agent.settings import EncoderSettings, Settings
from benchmarks.reporting import spread, write_report
from retrieval.cf.scorer import TrainingData
from retrieval.contracts import Encoder
from retrieval.data.demo import movielens_small
from retrieval.data.splits import Task, make_split
from retrieval.data.workspace import Workspace, create_workspace
from retrieval.metrics import find_hits, ranking_metrics
from retrieval.text import encoder as encoder_module
from retrieval.text import int8
from retrieval.text.scorers import SoftKnn, SoftKnnConfig
from retrieval.text.whitening import Whitening

SEEDS = {"seeds 0-2": (0, 1, 2), "seeds 3-5": (3, 4, 5)}  # the recipe of int8 was chosen with the first three in view
ROUNDS, TEXTS, K, LIKED_FROM, DRAWS = 7, 512, 10, 4.0, 2_000
REFERENCE = "torch, float32"


def backends(cache: Path) -> dict[str, Encoder]:
    """Each way to encode; the plain ONNX model is what the conversion makes before it quantises."""
    made: dict[str, Encoder] = {}
    for name, half in ((REFERENCE, False), ("torch, bfloat16", True)):
        encoder_module.computes_bfloat16 = lambda half=half: half
        made[name] = Models(Settings(device="cpu", cache=cache)).query_encoder
    encoder_module.computes_bfloat16 = lambda: False
    onnx = EncoderSettings(backend="onnx-int8")
    made["onnx, int8"] = Models(Settings(device="cpu", cache=cache / "int8", encoder=onnx)).query_encoder
    quantisation = int8._quantisation
    int8._quantisation = lambda: (
        lambda plain, target, **_: target.write_bytes(plain.read_bytes()),
        lambda plain, prepared, **_: prepared.write_bytes(plain.read_bytes()),
    )
    made["onnx, float32"] = Models(Settings(device="cpu", cache=cache / "plain", encoder=onnx)).query_encoder
    int8._quantisation = quantisation
    return made


def speed(ways: dict[str, Encoder], texts: list[str]) -> dict[str, list[float]]:
    """Texts per second of processor time in each round, after one that does not count."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS + 1):
        for name, encoder in ways.items():
            start = time.process_time()
            encoder.encode(texts)
            if number:
                found[name].append(len(texts) / (time.process_time() - start))
    return found


def validation_tasks(workspace: Workspace, seeds: tuple[int, ...]) -> list[Task]:
    events = workspace.events().collect().select("user_id", "item_id", "value", "timestamp")
    return [
        part.task("validation", list(workspace.catalog.ids))
        for seed in seeds
        for part in make_split("cold-items", events, seed, "seconds").validations()
    ]


def ndcg(task: Task, vectors: np.ndarray) -> dict[str, float]:
    """NDCG@10 of each user with a liked item among the held-out ones."""
    scorer = SoftKnn.fit(TrainingData(task.train, vectors), SoftKnnConfig(positive_from=LIKED_FROM))
    relevant = task.relevant(LIKED_FROM)
    hits = find_hits(scorer.top(task.histories, K, candidates=task.candidates).columns, relevant)
    values = ranking_metrics(hits, np.diff(relevant.indptr), K)["ndcg"]
    users = task.histories.users
    return {user: value for user, value in zip(users, values, strict=True) if not np.isnan(value)}


def quality(tasks: list[Task], vectors: dict[str, np.ndarray]) -> dict[str, dict[str, object]]:
    figures: dict[str, dict[str, object]] = {}
    per_task = {name: [ndcg(task, found) for task in tasks] for name, found in vectors.items()}
    everybody = sorted({user for task in per_task[REFERENCE] for user in task})
    weights = np.random.default_rng(0).multinomial(len(everybody), [1 / len(everybody)] * len(everybody), size=DRAWS)
    drawn = {name: resampled(values, everybody, weights) for name, values in per_task.items()}
    for name, values in per_task.items():
        draws = [float(np.mean(list(task.values()))) for task in values]
        ratio = np.quantile(drawn[name] / drawn[REFERENCE], [0.025, 0.975])
        mean = float(np.mean(draws))
        base = float(np.mean([np.mean(list(task.values())) for task in per_task[REFERENCE]]))
        figures[name] = {
            "NDCG@10": round(mean, 4),
            f"ratio to {REFERENCE}": round(mean / base, 4),
            "95 % interval of the ratio": [round(float(end), 4) for end in ratio],
            "NDCG@10 by draw": [round(draw, 4) for draw in draws],
        }
    return figures


def resampled(values: list[dict[str, float]], everybody: list[str], weights: np.ndarray) -> np.ndarray:
    """The mean over draws of items of the mean over users, for each resample of users."""
    means = []
    for task in values:
        there = np.array([user in task for user in everybody], dtype=float)
        figure = np.array([task.get(user, 0.0) for user in everybody])
        means.append(weights @ figure / (weights @ there))
    return np.mean(means, axis=0)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--ways", nargs="*", help="measure the speed of these alone, write nothing")
    only = arguments.parse_args().ways
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "workspace"
        create_workspace(root, *movielens_small(), skip_invalid=True)
        workspace = Workspace(root)
        catalog = workspace.catalog
        texts = [catalog.text(item_id) for item_id in sorted(catalog.ids)]
        some = [texts[row] for row in np.random.default_rng(0).choice(len(texts), TEXTS, replace=False)]
        ways = backends(Path(folder) / "cache")
        rates = speed({name: encoder for name, encoder in ways.items() if only is None or name in only}, some)
        figures: dict[str, object] = {"texts per second of one thread": {n: spread(v) for n, v in rates.items()}}
        if only is not None:
            print(figures)
            return
        raw = {name: encoder.encode(texts) for name, encoder in ways.items()}
        cosines = {name: (vectors * raw[REFERENCE]).sum(axis=1) for name, vectors in raw.items()}
        figures[f"cosine with {REFERENCE}"] = {
            name: {"mean": round(float(found.mean()), 5), "min": round(float(found.min()), 5)}
            for name, found in cosines.items()
        }
        whitened = {name: Whitening.fit(vectors)(vectors) for name, vectors in raw.items()}
        for name, seeds in SEEDS.items():
            figures[f"validation of cold-items, {name}"] = quality(validation_tasks(workspace, seeds), whitened)
    settings = {"rounds": ROUNDS, "texts": TEXTS, "seeds": SEEDS, "liked_from": LIKED_FROM, "nice": os.nice(0)}
    write_report("encoder-backends", figures, **settings)


if __name__ == "__main__":
    main()
