"""What ten explanations for a list cost on MovieLens-small once all is loaded, and what sharing the prefix saves.

    python -m benchmarks.writing

The same drafts are written in three ways that take turns: those of a list together behind one prefix, as whyrec does;
each explanation by itself; and each draft by itself, as one calls a model.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from agent.explanation import SAMPLES, shape_of
from agent.models import Models
from agent.recommender import Recommender
from agent.request import Request
from agent.settings import load_settings
from benchmarks.quality import workspace
from benchmarks.reporting import spread, write_report
from finetune.wording import WritingRequest
from finetune.writer import LMWriter
from retrieval.data.workspace import Workspace

LISTS, SEED = 5, 0


def seconds(writer: LMWriter, requests: list[list[WritingRequest]], samples: int) -> float:
    """To write so many drafts for each request, those of a part together, from no cache."""
    start = time.perf_counter()
    for part in requests:
        writer._constrained._caches.clear()
        writer.write(part, samples)
    return time.perf_counter() - start


def main() -> None:
    """Measure in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where the workspace is kept")
    root = workspace("movielens-small", parser.parse_args().work, None, {})
    settings = load_settings(root / "whyrec.toml")
    models = Models(settings)
    recommender = Recommender(Workspace(root), settings, models)
    users = Workspace(root).events().collect()["user_id"].unique().sort().to_list()
    drawn = np.random.default_rng(SEED).choice(users, LISTS + 1, replace=False)
    took: dict[str, list[float]] = {"explaining a list": [], "together": [], "by explanation": [], "by draft": []}
    for number, user in enumerate(drawn):
        answer = recommender.recommend(Request(str(user), k=10, explain=True))
        evidence = [row.explanation.evidence for row in answer.rows if row.explanation]
        requests = [WritingRequest(shape_of(one), str(place)) for place, one in enumerate(evidence)]
        drafts = [WritingRequest(one.shape, f"{one.seed} {n}") for one in requests for n in range(SAMPLES)]
        found = {
            "explaining a list": answer.seconds["explain"],
            "together": seconds(models.writer, [requests], SAMPLES),
            "by explanation": seconds(models.writer, [[one] for one in requests], SAMPLES),
            "by draft": seconds(models.writer, [[one] for one in drafts], 1),
        }
        for name, value in found.items() if number else ():  # the first warms up
            took[name].append(value)
    pairs = zip(took["together"], took["by explanation"], took["by draft"], strict=True)
    ratios = np.array([[single / one, draft / one] for one, single, draft in pairs])
    figures = {
        "seconds": {name: spread(values) for name, values in took.items()},
        "by explanation / together": spread(ratios[:, 0].tolist()),
        "by draft / together": spread(ratios[:, 1].tolist()),
    }
    write_report("writing", figures, lists=LISTS, places=10, drafts=SAMPLES, seed=SEED)


if __name__ == "__main__":
    main()
