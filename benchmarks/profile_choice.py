"""How to score unseen items against a history, and whether the year belongs to an item's text.

MovieLens-small; 15 % of the items with at least 5 ratings are held out as unseen, all of them are ranked for each user
with a liked item (rating ≥ 4) among them and one outside; NDCG@10. Nothing is trained; the constants that this
chooses are defaults until they are chosen on a validation part (cold-start evaluation).
"""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from agent.models import Models
from agent.settings import load_settings
from benchmarks.reporting import write_report
from retrieval.data.demo import movielens_small
from retrieval.data.workspace import Workspace, create_workspace
from retrieval.text.profile import interest_in

SEEDS = (7, 8, 9)
SHARE, FEWEST, LIKED_FROM = 0.15, 5, 4.0
Score = Callable[[np.ndarray, np.ndarray], np.ndarray]


def soft_maximum(sharpness: float) -> Score:
    return lambda items, liked: np.log(np.exp(sharpness * (items @ liked.T)).mean(axis=1)) / sharpness


SCORES: dict[str, Score] = {
    "mean cosine": lambda items, liked: (items @ liked.T).mean(axis=1),
    "mean of the 5 highest cosines": lambda items, liked: np.sort(items @ liked.T, axis=1)[:, -5:].mean(axis=1),
    "highest cosine": lambda items, liked: (items @ liked.T).max(axis=1),
    "soft maximum, 10": soft_maximum(10),
    "soft maximum, 20 (Interest.score)": lambda items, liked: interest_in(liked, 20.0).score(items),
    "soft maximum, 40": soft_maximum(40),
}


def ndcg(scores: np.ndarray, relevant: list[int], k: int = 10) -> float:
    best = np.argsort(-scores, kind="stable")[:k]
    discounts = 1 / np.log2(np.arange(2, k + 2))
    return float((np.isin(best, relevant) * discounts).sum() / discounts[: len(relevant)].sum())


def evaluate(workspace: Workspace, vectors: np.ndarray, seed: int) -> dict[str, list[float]]:
    catalog = workspace.catalog
    events = workspace.events().collect()
    known = events.group_by("item_id").len().filter(pl.col("len") >= FEWEST)["item_id"].sort().to_list()
    held_out = sorted(np.random.default_rng(seed).choice(known, size=int(SHARE * len(known)), replace=False).tolist())
    place = {item_id: number for number, item_id in enumerate(held_out)}
    unseen = vectors[[catalog.row(item_id) for item_id in held_out]]
    values: dict[str, list[float]] = {name: [] for name in SCORES}
    for (_,), liked in (
        events.filter(pl.col("value") >= LIKED_FROM).sort("user_id").group_by("user_id", maintain_order=True)
    ):
        items = liked["item_id"].to_list()
        history = [catalog.row(item_id) for item_id in items if item_id not in place]
        relevant = [place[item_id] for item_id in items if item_id in place]
        if history and relevant:
            for name, score in SCORES.items():
                values[name].append(ndcg(score(unseen, vectors[history]), relevant))
    return values


def main() -> None:
    models = Models(load_settings(None))
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "workspace"
        create_workspace(root, *movielens_small(), skip_invalid=True)
        workspace = Workspace(root)
        texts = [workspace.catalog.text(item_id) for item_id in workspace.catalog.ids]
        wordings = {"with year": texts, "without year": [re.sub(r" \(\d{4}\)", "", text, count=1) for text in texts]}
        for wording, lines in wordings.items():
            vectors = models.encoder.encode(lines)
            runs = [evaluate(workspace, vectors, seed) for seed in SEEDS]
            figures[wording] = {
                name: {"NDCG@10 by seed": [round(float(np.mean(run[name])), 4) for run in runs]} for name in SCORES
            }
            figures[wording]["users by seed"] = [len(run["mean cosine"]) for run in runs]
    write_report("profile-choice", figures, seeds=SEEDS, share=SHARE, fewest=FEWEST, liked_from=LIKED_FROM)


if __name__ == "__main__":
    main()
