"""Time and memory of ranking everything for everybody, beside the bare product of scores with argpartition.

    python -m benchmarks.full_ranking --games FOLDER

On Amazon Games, 50,546 users × 16,859 items, with factors of iALS: the bare way multiplies in chunks and takes the
top 20 by argpartition; ours excludes the histories, refuses NaN, breaks ties by id and computes all top-k metrics.
"""

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import polars as pl

from agent.evaluation.measure import PLACES
from benchmarks.reporting import spread, write_report
from retrieval import metrics
from retrieval.cf.ials import Ials, IalsConfig
from retrieval.cf.scorer import AT_ONCE, TrainingData
from retrieval.data.splits import make_split

FACTORS = 64
REPEATS = 5
PLACES_MOST = max(PLACES)


def bare(users: np.ndarray, items: np.ndarray) -> None:
    """The chunked product and the top 20 of each row."""
    size = AT_ONCE // len(items)
    for start in range(0, len(users), size):
        scores = users[start : start + size] @ items.T
        np.argpartition(scores, scores.shape[1] - PLACES_MOST, axis=1)[:, -PLACES_MOST:]


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", type=Path, required=True, help="folder with items.parquet and interactions.parquet")
    folder = parser.parse_args().games
    events = pl.read_parquet(folder / "interactions.parquet").select(
        "user_id", "item_id", pl.lit(1.0).alias("value"), pl.col("position").cast(pl.Int64).alias("timestamp")
    )
    items = pl.read_parquet(folder / "items.parquet")["item_id"].to_list()
    task = make_split("leave-last", events, 0, "order").task("test", items)
    relevant = task.relevant(None)
    scorer = Ials.fit(TrainingData(task.train), IalsConfig(factors=FACTORS, iterations=3))
    item_factors = scorer.arrays()["factors"]
    user_factors = np.random.default_rng(0).normal(size=(len(task.histories), FACTORS)).astype(np.float32)
    times: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(REPEATS):
        start = time.perf_counter()
        bare(user_factors, item_factors)
        times["bare"].append(time.perf_counter() - start)
        start = time.perf_counter()
        columns = scorer.top(task.histories, PLACES_MOST).columns
        hits = metrics.find_hits(columns, relevant)
        counts = np.diff(relevant.indptr)
        found = {k: metrics.ranking_metrics(hits, counts, k) for k in PLACES}
        times["ours"].append(time.perf_counter() - start)
    ratios = [ours / other for ours, other in zip(times["ours"], times["bare"], strict=True)]
    figures = {
        "users": len(task.histories),
        "items": len(items),
        "seconds, bare": spread(times["bare"]),
        "seconds, ours with all metrics": spread(times["ours"]),
        "ours / bare, pair by pair": spread(ratios),
        "peak memory of the whole process, GiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3),
        "NDCG@10": round(float(np.nanmean(found[10]["ndcg"])), 4),
    }
    write_report("full-ranking", figures, factors=FACTORS, repeats=REPEATS, split="leave-last")


if __name__ == "__main__":
    main()
