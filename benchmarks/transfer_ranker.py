"""What a ranker from another domain adds to a transferred student, zero-shot: rows of `transfer-<from>-<to>.json`.

    python -m benchmarks.transfer_ranker --source amazon-games --data movielens-small --ranker FOLDER --users 150

Run after `benchmarks.transfer`, into whose report it writes. FOLDER holds a ranker that has seen the source alone
(`python -m benchmarks.pretrained --games FOLDER --data amazon-games --out FOLDER`). It orders the best of
student-transferred, weighed as its gate was fitted on the source; ranker-alone: by its scores alone. The first split
alone, people drawn at random, fewer where --minutes are over.
"""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from agent.cli.console import Steps, say
from agent.cli.options import open_workspace
from agent.gate import put_together
from agent.ranking_lists import Requests
from agent.transfer import Size, carried
from agent.tuned_ranker import current_ranker
from agent.twin_tuning import untaught_config
from benchmarks.comparing import parser
from benchmarks.packed_scoring import load
from benchmarks.quality import workspace
from benchmarks.transfer import TRANSFERRED, Report, Side, references, rows_of
from finetune.adapters import load_adapter
from finetune.ranker import RANK, LMRanker
from retrieval.cf.student import Student
from retrieval.metrics import find_hits, ranking_metrics

STRATUM, PLACES = "zero-shot, people asked of the ranker", 10


def main() -> None:
    """Ask, measure, and write into the report."""
    options = parser(__doc__)
    options.add_argument("--source", required=True)
    options.add_argument("--ranker", type=Path, required=True, help="folder of a ranker that has seen the source alone")
    options.add_argument("--users", type=int, default=150)
    options.add_argument("--candidates", type=int, default=20)
    options.add_argument("--minutes", type=float, default=20)
    asked = options.parse_args()
    ranker = current_ranker(asked.ranker)
    if ranker is None or any(asked.source not in one.data for one in ranker.learnt_from):
        options.error(f"{asked.ranker} has no ranker of {asked.source} alone")
    sides = [Side(open_workspace(workspace(d, asked.work, asked.games, {})), d) for d in (asked.source, asked.data)]
    study = sides[1].study(0)
    with Steps() as watch:
        there = carried(untaught_config(sides[0].study(0), watch), study, Size(0, 0))
    data = study.training_data("test")
    data = replace(data, histories=data.histories.take(np.zeros(0, dtype=np.int64)))
    task = study.task("test").sample(asked.users, 0)
    student = Student.fit(data, there)
    systems = references(study, data) | {TRANSFERRED: student}
    columns = {
        name: one.top(task.histories, PLACES, candidates=task.candidates).columns for name, one in systems.items()
    }
    found = student.top(task.histories, asked.candidates, candidates=task.candidates)
    liked = task.histories.positives(study.settings.events.liked_from)
    lm, requests = load("auto"), Requests(study)
    load_adapter(lm, RANK, ranker.folder)
    (gate,) = ranker.gates.values()
    judge, begun = LMRanker(lm, RANK), time.monotonic()
    orders: dict[str, list[np.ndarray]] = {"ranker-transferred": [], "ranker-alone": []}
    for row in range(len(task.histories)):
        listed = found.columns[row][found.columns[row] >= 0]
        had = liked.indices[liked.indptr[row] : liked.indptr[row + 1]]
        said = judge.score([requests.of_person(had, listed)])[0]
        alpha = gate.alpha(np.zeros(len(listed), dtype=np.bool_), int(task.histories.counts[row]))
        final = put_together(found.scores[row][: len(listed)], said, alpha)
        for name, scores in zip(orders, (final, said), strict=True):
            orders[name].append(listed[np.argsort(-scores, kind="stable")][:PLACES])
        if time.monotonic() - begun > 60 * asked.minutes:
            break
    people = len(orders["ranker-alone"])
    columns |= {name: np.stack(order) for name, order in orders.items()}
    relevant = study.relevant(task)[:people]
    figures = {
        name: ranking_metrics(find_hits(one[:people], relevant), np.diff(relevant.indptr), PLACES)["ndcg"]
        for name, one in columns.items()
    }
    frame = pl.DataFrame({"user": task.histories.users[:people], **figures}).fill_nan(None).drop_nulls()
    say(" ".join(f"{name} {frame[name].mean():.4f}" for name in columns) + f", {len(frame)} people")
    command = (
        f"python -m benchmarks.transfer_ranker --source {asked.source} --data {asked.data} --ranker FOLDER "
        f"--users {asked.users} --candidates {asked.candidates} --minutes {asked.minutes:g}"
    )
    rows = rows_of(asked.data, STRATUM, frame, 0)
    Report(f"transfer-{asked.source}-{asked.data}").put(STRATUM, rows, frame, command, ranker=ranker.made["command"])


if __name__ == "__main__":
    main()
