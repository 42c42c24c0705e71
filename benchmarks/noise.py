"""What false events cost: NDCG@10 as a share of what it is without them, on MovieLens-small, split by time.

    python -m benchmarks.noise

So many false likes beside the true events of each user, in what is learnt from and in the histories that are scored:
``random``, of items drawn at random, and ``popular``, of items drawn by how many have them, as by false clicks on what
is shown to everybody. The events that are asked after stay true. Parameters are those that validation chose without
noise. The student is what it begins with, before any teacher (`Student.fit`).
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
import polars as pl

from agent.cli.console import Steps, say
from agent.cli.options import open_workspace
from agent.evaluation.draws import ndcg_of_draw
from agent.evaluation.report import Row
from agent.evaluation.study import Question, Study
from agent.evaluation.tuning import tuned
from agent.models import Models
from agent.twin_tuning import student_config
from benchmarks.quality import workspace
from benchmarks.reporting import write_rows
from retrieval.cf.scorer import Scorer
from retrieval.cf.scorers import SCORERS
from retrieval.cf.student import Student
from retrieval.data.splits import Split
from retrieval.metrics import Figures
from retrieval.significance import bootstrap_means, interval

DATA, SPLIT, SEED, SEEDS, TRIALS = "movielens-small", "temporal", 0, 3, 8
LEVELS, KINDS = (0.05, 0.1, 0.2, 0.3), ("random", "popular")
OTHERS = ("ease", "ials", "text-ease")


def noisy(split: Split, level: float, kind: str, seed: int, liked: float) -> Split:
    """The split with false likes among what is learnt from: of each user a share of their true events."""
    rng = np.random.default_rng([seed, round(1000 * level)])
    train = split.events.filter(pl.col("part") == "train")
    counts = train.group_by("item_id").len().sort("item_id")
    weights = counts["len"].to_numpy() if kind == "popular" else np.ones(len(counts))
    false = []
    for (user,), events in train.group_by(["user_id"], maintain_order=True):
        had = set(split.events.filter(pl.col("user_id") == user)["item_id"])
        drawn = rng.choice(counts["item_id"].to_numpy(), round(level * len(events)), p=weights / weights.sum())
        items = [item for item in dict.fromkeys(drawn.tolist()) if item not in had]
        times = rng.choice(events["timestamp"].to_numpy(), len(items))
        columns = {"user_id": [user] * len(items), "item_id": items, "value": [liked] * len(items), "timestamp": times}
        false.append(pl.DataFrame({**columns, "part": ["train"] * len(items)}, schema=split.events.schema))
    return Split(split.name, split.seed, pl.concat([split.events, *false]))


def main() -> None:
    """Measure each scorer with and without."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where the workspace is kept")
    opened = open_workspace(workspace(DATA, parser.parse_args().work, None, {}))
    models = Models(opened.settings)

    def study() -> Study:
        return Study(opened.workspace, opened.settings, models, Question(SPLIT), SEED)

    clean = study()
    with Steps() as watch:
        twin = student_config(clean, TRIALS, watch)
        watch.start("Tuning the others", len(OTHERS) * TRIALS)
        parameters = {name: tuned(clean, name, TRIALS, watch.advance).parameters for name in OTHERS}

    def measured(of: Study) -> dict[str, Figures]:
        data = of.training_data("test")
        systems: dict[str, Scorer] = {"student": Student.fit(data, twin)}
        for name, chosen in parameters.items():
            systems[name] = SCORERS[name].fit(data, SCORERS[name].config_type.from_json(chosen))
        found = ndcg_of_draw(of, of.task("test"), systems).sort("user")
        return {name: found[name].fill_nan(0.0).to_numpy() for name in systems}

    before = measured(clean)
    rows = [row_of(name, "clean", "ndcg", values) for name, values in before.items()]
    for kind, level in itertools.product(KINDS, LEVELS):
        runs = []
        for seed in range(SEEDS):
            of = study()
            of.split = noisy(clean.split, level, kind, seed, opened.settings.events.liked_from)
            runs.append(measured(of))
        for name, values in before.items():
            after = np.mean([run[name] for run in runs], axis=0)
            stratum = f"{kind} {level:.0%}"
            rows += [row_of(name, stratum, "ndcg", after), loss_of(name, stratum, values, after)]
            say(f"{stratum} {name} {values.mean():.4f} to {after.mean():.4f}")
    write_rows(f"noise-{DATA}", rows, seed=SEED, noise_seeds=SEEDS, trials=TRIALS)


def row_of(system: str, stratum: str, metric: str, values: Figures) -> Row:
    """The mean over users with its interval."""
    low, high = interval(bootstrap_means(values[:, None], SEED)[:, 0])
    return Row(DATA, SPLIT, system, stratum, metric, 10, float(values.mean()), low, high, len(values), SEED)


def loss_of(system: str, stratum: str, before: Figures, after: Figures) -> Row:
    """What is lost, as a share of what there was, with its interval."""
    means = bootstrap_means(np.stack([before, after], axis=1), SEED)
    low, high = interval(1 - means[:, 1] / means[:, 0])
    mean = float(1 - after.mean() / before.mean())
    return Row(DATA, SPLIT, system, stratum, "relative loss", 10, mean, low, high, len(before), SEED)


if __name__ == "__main__":
    main()
