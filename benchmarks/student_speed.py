"""How fast the student is: a process that starts cold, everybody's lists at once, and beside the language model.

    python -m benchmarks.student_speed --games FOLDER

- `whyrec recommend 7 --mode fast` on MovieLens-small as a process, from the start to the last line.
- The ten best of 16,859 items for all 50,546 users of Amazon Games: by the student with tables of 512 dimensions, by
  the bare product of these with argpartition, and by `implicit`'s own `recommend` with as many factors, by turns.
- Processor time for one person's list, of the student on MovieLens-small and of the language model's stage, 40
  candidates behind twelve titles.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix

from agent.cli.options import open_workspace
from agent.fast import serving_student
from agent.models import Models
from benchmarks.quality import whyrec as run
from benchmarks.quality import workspace
from benchmarks.reporting import spread, write_report
from finetune.ranker import LMRanker
from retrieval.cf.scorer import AT_ONCE
from retrieval.cf.student import Student, StudentConfig
from retrieval.contracts import RankRequest
from retrieval.data.histories import Histories
from retrieval.data.workspace import Workspace

K, DIMENSIONS, REPEATS, SEED = 10, 512, 5, 0
PEOPLE = 20  # whose lists are timed one by one
CANDIDATES, TOLD = 40, 12


def cold_process(root: Path) -> list[float]:
    """Seconds from the start of the process to its end, after one that is not counted."""
    call = [sys.executable, "-m", "agent.cli", "recommend", "7", "--mode", "fast", "-w", str(root)]
    times = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        subprocess.run(call, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return times[1:]


def everybody(games: Path) -> dict[str, object]:
    """All users at once, three ways by turns."""
    events = pl.read_parquet(games / "interactions.parquet").select(
        "user_id", "item_id", pl.lit(1.0).alias("value"), pl.col("position").cast(pl.Int64).alias("timestamp")
    )
    histories = Histories.from_events(events, pl.read_parquet(games / "items.parquet")["item_id"].sort().to_list())
    rng = np.random.default_rng(SEED)
    people, items = histories.values.shape
    parts, vectors = rng.normal(size=(2, items, DIMENSIONS)).astype(np.float32)
    student = Student(StudentConfig(), parts, vectors, rng.normal(size=items).astype(np.float32))
    factors = student.people(histories)
    model = AlternatingLeastSquares(factors=DIMENSIONS)  # for its way of recommending; nothing is trained
    model.user_factors, model.item_factors = factors, vectors
    had = csr_matrix(histories.values)  # which it asks for

    def bare() -> None:
        size = AT_ONCE // items
        for start in range(0, people, size):
            scores = factors[start : start + size] @ vectors.T
            np.argpartition(scores, items - K, axis=1)[:, -K:]

    ways = {
        "bare": bare,
        "student": lambda: student.top(histories, K),
        "implicit": lambda: model.recommend(np.arange(people), had, N=K),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - start)
    ratios = {
        f"throughput, student to {other}, by turns": spread(
            [a / b for a, b in zip(times[other], times["student"], strict=True)]
        )
        for other in ("bare", "implicit")
    }
    return {"users": people, "items": items, **{f"seconds, {n}": spread(t) for n, t in times.items()}, **ratios}


def one_by_one(root: Path) -> dict[str, object]:
    """Processor seconds for one person."""
    opened = open_workspace(root)
    workspace_, catalog = Workspace(root), opened.workspace.catalog
    student, items = serving_student(workspace_).student, tuple(sorted(catalog.ids))
    histories = Histories.from_events(workspace_.events().collect(), items)
    ranker = LMRanker(Models(opened.settings).language_model)
    texts = [catalog.text(item_id) for item_id in items[: CANDIDATES + TOLD]]
    request = RankRequest(tuple(texts[:TOLD]), items[TOLD : TOLD + CANDIDATES], tuple(texts[TOLD:]))
    times: dict[str, list[float]] = {"student": [], "language model": []}
    ranker.score([request])
    for row in range(PEOPLE):
        one = histories.take(np.array([row]))
        start = time.process_time()
        student.top(one, K)
        times["student"].append(time.process_time() - start)
        start = time.process_time()
        ranker.score([request])
        times["language model"].append(time.process_time() - start)
    start = time.process_time()
    student.top(histories, K)
    times["student, all at once"] = [(time.process_time() - start) / len(histories)]
    found: dict[str, object] = {f"processor seconds, {name}": spread(values) for name, values in times.items()}
    alone, model, together = (float(np.median(values)) for values in times.values())
    return {**found, "language model to student": round(model / alone), "… all at once": round(model / together)}


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", type=Path, required=True, help="folder with items.parquet and interactions.parquet")
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where workspaces are kept")
    asked = parser.parse_args()
    root = workspace("movielens-small", asked.work, None, {})
    for command in ("label", "distill"):
        run(command, "--trials", "1", "-w", root, settings={"WHYREC_RANKING__RANKER": "off"})
    figures = {
        "seconds of a cold process": spread(cold_process(root)),
        "everybody of Amazon Games": everybody(asked.games),
        "one by one": one_by_one(root),
    }
    write_report("student-speed", figures, k=K, dimensions=DIMENSIONS, repeats=REPEATS, people=PEOPLE, seed=SEED)


if __name__ == "__main__":
    main()
