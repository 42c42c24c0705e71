"""Tune the packaged ranker on MovieLens-small and Amazon Games, and put it into the package.

    python -m benchmarks.pretrained --games FOLDER
    python -m benchmarks.pretrained --data movielens-small --out FOLDER      on one of them, for figures of transfer

It learns to order what the text alone finds, as in a workspace where nothing was tuned. Of both data sets it sees what
is training in two splits at once, that of cold items and the one by time, in each of the draws and periods that prove
it, so reports on either may use it. Interrupted, it goes on where it was with --resume.
"""

import argparse
import shutil
import sys
from pathlib import Path

import polars as pl

from agent.cli.console import Steps, say
from agent.cli.options import open_workspace
from agent.evaluation.study import Question, Study
from agent.models import Models
from agent.ranker_tuning import Plan, RankerTuner
from agent.ranking_lists import DRAWS, RankingLists, Retrieval
from agent.settings import PACKAGED_RANKER
from benchmarks.quality import GAMES, workspace
from finetune.lora import LoraTuning
from retrieval.artefacts import atomic_folder
from retrieval.cf.live import TEXT_ALONE
from retrieval.data.splits import Split
from retrieval.data.workspace import EVENT_COLUMNS

DATA = ("movielens-small", GAMES)
SEED = 0


def sources(root: Path) -> list[RankingLists]:
    """Lists of cold items and of others: nothing of either test, and nothing to learn from that either validates on."""
    opened = open_workspace(root)
    models = Models(opened.settings, say)
    studies = [Study(opened.workspace, opened.settings, models, Question(name), SEED) for name in ("cold-items", None)]
    unseen, alone = [study.split.fingerprint for study in studies], Retrieval(TEXT_ALONE)
    cold, known = (
        [_without(draw, other) for draw in study.validations[:DRAWS]]
        for study, other in zip(studies, studies[::-1], strict=True)
    )
    return [
        RankingLists(cold[0], alone, unseen, draws=cold, proving=known),
        RankingLists(known[0], alone, unseen, draws=known, proving=cold),
    ]


def _without(study: Study, other: Study) -> Study:
    """The same without the events that another tests."""
    tested = other.split.events.filter(pl.col("part").is_in(["test", "test-history"]))
    kept = study.split.events.join(tested, on=EVENT_COLUMNS, how="anti", nulls_equal=True, maintain_order="left")
    return study.on(Split(study.name, study.seed, kept))


def said(asked: argparse.Namespace) -> str:
    """The command, without the folders of this machine."""
    words = ["--games FOLDER", *([f"--data {asked.data} --out FOLDER"] if asked.data else [])]
    return " ".join(["python -m benchmarks.pretrained", *words, f"--lists {asked.lists} --seed {asked.seed}"])


def main() -> None:
    """Tune and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", type=Path, help="folder of Amazon Games with items.parquet and interactions.parquet")
    parser.add_argument("--data", choices=DATA, help="only this one")
    parser.add_argument("--lists", type=int, default=1_200)
    parser.add_argument(
        "--seed", type=int, default=SEED, help="of what is drawn in training; the splits have their own"
    )
    parser.add_argument("--out", type=Path, help="where versions are kept in place of the package")
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where workspaces are kept")
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run stopped")
    asked = parser.parse_args()
    if asked.data and asked.out is None:
        sys.exit("the packaged ranker is tuned on both: name a folder with --out for one that is not")
    names = [asked.data] if asked.data else DATA
    roots = [workspace(name, asked.work, asked.games, {}) for name in names]
    folder = asked.out or asked.work / "pretrained"
    models = Models(open_workspace(roots[0]).settings, say)
    tuning = LoraTuning(seed=asked.seed)
    with Steps() as watch:
        every = [source for root in roots for source in sources(root)]
        tuner = RankerTuner(every, models, Plan(asked.lists), tuning, folder, watch)
        outcome = tuner.run(said(asked), resume=asked.resume)
    print((folder / outcome.version / "README.md").read_text(encoding="utf-8"))
    if asked.out is None:
        with atomic_folder(PACKAGED_RANKER, replace=True) as work:
            shutil.copytree(folder / outcome.version, work, dirs_exist_ok=True)


if __name__ == "__main__":
    main()
