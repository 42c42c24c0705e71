"""What the ranker learns from, and from how much: the same tuning with less to read, with other budgets, with none.

    python -m benchmarks.ranker_controls                        all of them, hours
    python -m benchmarks.ranker_controls --only untuned --only "titles permuted"

MovieLens-small, cold items, seed 0. Each learns from 500 lists where nothing else is said: more did not help on films.
Each is judged on the same validation lists by the gate that `whyrec finetune ranker` fits: NDCG@10 as retrieved and
with the language model, by weights chosen on other lists. The test part is not touched. What was measured before
stays in the report.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from agent.cli.console import Steps, say
from agent.cli.options import open_workspace
from agent.evaluation.study import Question, Study
from agent.models import Models
from agent.ranker_tuning import Outcome, Plan, RankerTuner
from agent.ranking_lists import RankingLists, find_retrieval
from agent.unfinished import UNFINISHED
from benchmarks.quality import workspace
from benchmarks.reporting import RESULTS, write_report
from finetune.lora import LoraTuning
from retrieval.data.catalog import Catalog

NAME, SEED, TRIALS, HIDDEN_SIZE = "ranker-controls", 0, 8, 576
LISTS = 500


def as_it_is(catalog: Catalog) -> Catalog:
    return catalog


def permuted(catalog: Catalog) -> Catalog:
    """Every film has the title of another; year and genres stay."""
    titles = catalog.frame["title"].to_list()
    order = np.random.default_rng(SEED).permutation(len(titles))
    return Catalog(catalog.frame.with_columns(title=pl.Series([titles[place] for place in order])))


def removed(catalog: Catalog) -> Catalog:
    """Genres alone are left."""
    return Catalog(catalog.frame.drop("year").with_columns(title=pl.lit("A film")))


@dataclass(frozen=True)
class Control:
    """What the language model reads, how many lists it learns from, and how."""

    read: Callable[[Catalog], Catalog] = as_it_is
    lists: int = LISTS
    tuning: LoraTuning = field(default_factory=LoraTuning)


CONTROLS = {
    "untuned": Control(lists=0),
    "tuned": Control(),
    "titles permuted": Control(permuted),
    "titles removed": Control(removed),
    # Every change that tuning the matrices themselves could make, as none of their ranks is higher.
    "full rank": Control(tuning=LoraTuning(rank=HIDDEN_SIZE, alpha=2 * HIDDEN_SIZE, rate=1e-4)),
    # FGM on the input embeddings.
    "adversarial": Control(tuning=LoraTuning(adversarial=0.5)),
    "250 lists": Control(lists=250),
    "4,000 lists": Control(lists=4_000),
}


def figures(outcome: Outcome) -> dict[str, object]:
    """What the gate was fitted on, and what was seen while training."""
    (gate,) = outcome.gates.values()
    (everybody,) = gate.everybody  # in lists of cold items, as there are no others
    judged = {name: round(value, 4) for name, value in vars(everybody).items() if name in ("before", "after", "low")}
    return {**judged, "alpha": everybody.alpha, "lists": everybody.lists, "curve": list(outcome.curve)}


def main() -> None:
    """Tune each and write what the gates show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(CONTROLS), help="one of them; may be given again")
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where workspaces and rankers are kept")
    asked = parser.parse_args()
    opened = open_workspace(workspace("movielens-small", asked.work, None, {}))
    path = RESULTS / f"{NAME}.json"
    found = json.loads(path.read_text())["figures"] if path.is_file() else {}
    for name in asked.only or CONTROLS:
        control, folder = CONTROLS[name], asked.work / NAME / name.replace(" ", "-").replace(",", "")
        models = Models(opened.settings, say)
        study = Study(opened.workspace, opened.settings, models, Question("cold-items"), SEED)
        with Steps() as watch:
            watch.note(name)
            read = control.read(opened.workspace.catalog)
            source = RankingLists(study, find_retrieval(study, TRIALS, watch), catalog=read)
            tuner = RankerTuner([source], models, Plan(control.lists), control.tuning, folder, watch)
            outcome = tuner.run("python -m benchmarks.ranker_controls", resume=(folder / UNFINISHED).is_dir())
        found[name] = figures(outcome)
        write_report(NAME, found, seed=SEED, trials=TRIALS, tuning=vars(LoraTuning()))


if __name__ == "__main__":
    main()
