"""What the tuned ranker adds to the pipeline: the committed reports `<data>-ranker-<split>.json`, by whyrec's commands.

    python -m benchmarks.ranker --data movielens-small --split cold-items
    python -m benchmarks.ranker --data movielens-small --split cold-items --first 1
    python -m benchmarks.ranker --data amazon-games --split cold-items --games FOLDER --users 2000
    python -m benchmarks.ranker --data movielens-small --split temporal --packaged

For each seed a ranker is tuned on the split, then all are measured on its test part; with a --first seed other than 0
the report's name ends in -seed-<first>. Workspaces are kept in --work with what is tuned there, so an interrupted run
goes on where it was. With --packaged nothing is tuned: the packaged ranker orders what the text alone finds, as in a
workspace just made (`<data>-packaged-ranker-<split>.json`).
"""

import argparse
import shutil
from pathlib import Path

from agent.evaluation.study import Question, Study
from agent.models import Models
from agent.settings import RANKER, load_settings
from agent.tuned_ranker import ranker_of_split
from agent.unfinished import UNFINISHED
from benchmarks.comparing import DATA
from benchmarks.quality import whyrec as run
from benchmarks.quality import workspace
from benchmarks.reporting import RESULTS
from retrieval.data.workspace import Workspace

COLD, WARM = "cosine,soft-knn,tower,text-ease,fused,ranked", "soft-knn,popularity,ease,fused,ranked"
PACKAGED, UNTUNED = "packaged", {"WHYREC_RANKING__FUSION": "off"}  # the packaged ranker saw no test part of seed 0


def is_tuned(root: Path, split: str, seed: int) -> bool:
    """Whether a ranker of this split is there already."""
    opened = Workspace(root)
    settings = load_settings(opened.settings_path)
    study = Study(opened, settings, Models(settings), Question(split), seed)
    return ranker_of_split(root / RANKER, study.held_out) is not None


def tune_unless_there(root: Path, split: str, seed: int, trials: int, lists: int = 1_000) -> None:
    """Tune a ranker on a split, or go on where an interrupted tuning of it stopped."""
    if is_tuned(root, split, seed):
        return
    resume = ["--resume"] if (root / RANKER / UNFINISHED).is_dir() else []
    words = ["--split", split, "--seed", seed, "--trials", trials, "--lists", lists, "--start-from", "none", "-w", root]
    run("finetune", "ranker", *words, *resume, settings={})


def main() -> None:
    """Tune, measure, and copy the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=DATA, required=True)
    parser.add_argument("--split", default="cold-items")
    parser.add_argument("--packaged", action="store_true", help="what serves before anything was tuned, on seed 0")
    parser.add_argument("--first", type=int, default=0, help="seed")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--lists", type=int, default=1_000)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--users", type=int, help="at most so many in the test; all without it")
    parser.add_argument("--games", type=Path, help="folder of Amazon Games with items.parquet and interactions.parquet")
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where workspaces are kept")
    asked = parser.parse_args()
    work, seeds = (asked.work / PACKAGED, 1) if asked.packaged else (asked.work, asked.seeds)
    root = workspace(asked.data, work, asked.games, {})
    if not asked.packaged:
        for seed in range(asked.first, asked.first + seeds):
            tune_unless_there(root, asked.split, seed, asked.trials, asked.lists)
    name = f"{asked.data}-{PACKAGED}-ranker-{asked.split}" if asked.packaged else f"{asked.data}-ranker-{asked.split}"
    name += f"-seed-{asked.first}" if asked.first else ""
    out = asked.work / name
    shutil.rmtree(out, ignore_errors=True)
    systems = COLD if asked.split == "cold-items" else WARM
    users = ["--users", asked.users] if asked.users else []
    words = ["--split", asked.split, "--trials", asked.trials, "--seeds", seeds, *users, "--systems", systems]
    words += ["--first-seed", asked.first] if asked.first else []
    words += ["--reference", "fused", "--name", asked.data, "-w", root, "--out", out]
    run("evaluate", *words, settings=UNTUNED if asked.packaged else {})
    shutil.copy(out / "report.json", RESULTS / f"{name}.json")


if __name__ == "__main__":
    main()
