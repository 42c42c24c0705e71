"""EASE and iALS beside the same models run by LensKit, on the same split.

    pip install lenskit==2025.8.1     # wants pandas below 3: an environment of its own is best
    python -m benchmarks.outside_library

MovieLens-100K, random split, everything held out is relevant. LensKit's iALS weighs a positive event by 1 + weight,
ours by alpha, so weight = alpha - 1; factors start from random numbers in both, so several seeds are run.
"""

import lenskit
import numpy as np
import pandas as pd
import polars as pl
from lenskit.als import ImplicitMFScorer
from lenskit.data import ItemList, RecQuery, from_interactions_df
from lenskit.knn import EASEScorer
from lenskit.training import TrainingOptions

from benchmarks.reporting import write_report
from retrieval.cf.ease import Ease, EaseConfig
from retrieval.cf.ials import Ials, IalsConfig
from retrieval.cf.scorer import Scorer, TrainingData
from retrieval.data.demo import movielens_100k
from retrieval.data.splits import Task, make_split
from retrieval.metrics import find_hits, ranking_metrics
from retrieval.ranking import Columns, top

SEEDS = (0, 1, 2)
STRENGTH = 500.0
FACTORS, REGULARISATION, ALPHA, EPOCHS = 32, 10.0, 5.0, 20


def the_task(seed: int) -> Task:
    """The test stage of the random split."""
    items, events, _ = movielens_100k()
    frame = events.frame.select(
        pl.col("user_id").cast(pl.String),
        pl.col("item_id").cast(pl.String),
        pl.col("rating").cast(pl.Float64).alias("value"),
        pl.col("timestamp").cast(pl.Int64),
    ).collect()
    names = items.frame.select(pl.col("item_id").cast(pl.String)).collect()["item_id"].to_list()
    return make_split("random", frame, seed, "seconds").task("test", names)


def by_lenskit(scorer: EASEScorer | ImplicitMFScorer, task: Task, seed: int) -> Columns:
    """The ten best of LensKit's scores for each user, what the user had left out."""
    matrix = task.train.values.tocoo()
    users, items = np.array(task.train.users), np.array(task.items)
    frame = pd.DataFrame({"user_id": users[matrix.row], "item_id": items[matrix.col]})
    scorer.train(from_interactions_df(frame), TrainingOptions(rng=seed))
    everything = ItemList(list(task.items))
    scores = np.full(task.histories.values.shape, -np.inf, dtype=np.float32)
    for row, user in enumerate(task.histories.users):
        had = task.histories.values[[row]].indices
        query = RecQuery(user_id=user, user_items=ItemList(list(items[had])))
        found = scorer(query, everything).scores()
        scores[row] = np.nan_to_num(found, nan=-np.inf)  # items that nobody had
        scores[row, had] = -np.inf
    return top(scores, 10, "lenskit").columns


def ndcg(columns: Columns, task: Task) -> float:
    """NDCG@10 over all users."""
    relevant = task.relevant(None)
    values = ranking_metrics(find_hits(columns, relevant), np.diff(relevant.indptr), 10)["ndcg"]
    return float(np.nanmean(values))


def main() -> None:
    """Run both with every seed and write the report."""
    ours: dict[str, list[float]] = {"ease": [], "ials": []}
    theirs: dict[str, list[float]] = {"ease": [], "ials": []}
    for seed in SEEDS:
        task = the_task(seed)
        data = TrainingData(task.train, seed=seed)
        ials = IalsConfig(factors=FACTORS, regularisation=REGULARISATION, alpha=ALPHA, iterations=EPOCHS)
        fitted: list[Scorer] = [Ease.fit(data, EaseConfig(strength=STRENGTH)), Ials.fit(data, ials)]
        for scorer in fitted:
            ours[scorer.name].append(ndcg(scorer.top(task.histories, 10).columns, task))
        others = {
            "ease": EASEScorer(regularization=STRENGTH),
            "ials": ImplicitMFScorer(
                embedding_size=FACTORS, epochs=EPOCHS, regularization=REGULARISATION, weight=ALPHA - 1
            ),
        }
        for name, other in others.items():
            theirs[name].append(ndcg(by_lenskit(other, task, seed), task))
    figures = {
        name: {
            "NDCG@10 by seed, ours": [round(value, 4) for value in ours[name]],
            "NDCG@10 by seed, LensKit": [round(value, 4) for value in theirs[name]],
            "ours / LensKit, means": round(float(np.mean(ours[name]) / np.mean(theirs[name])), 4),
        }
        for name in ours
    }
    write_report("outside-library", figures, seeds=SEEDS, lenskit=lenskit.__version__)


if __name__ == "__main__":
    main()
