"""What benchmarks of students share: their options, what is measured against what, and the report with intervals."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from agent.cli.console import say
from agent.evaluation.measure import Measured, Surroundings, measure
from agent.evaluation.output import as_text, machine, versions
from agent.evaluation.report import PRIMARY, Rows, comparisons, pooled
from agent.evaluation.strata import Members, item_strata
from agent.evaluation.study import Study
from benchmarks.quality import DEMOS, GAMES, GEMMA
from benchmarks.reporting import RESULTS
from finetune.distill import Distillation
from retrieval.cf.scorer import System
from retrieval.data.splits import Task

DATA = (*(name for name in DEMOS if not name.endswith(GEMMA)), GAMES)
TRIALS = {GAMES: 4}  # of the search for a scorer's parameters; eight elsewhere
STUDENTS = 3  # seeds of students
TAUGHT = Distillation()


def parser(description: str | None) -> argparse.ArgumentParser:
    """With the options that all of them have."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", choices=DATA, default="movielens-small")
    made.add_argument("--seeds", type=int, default=1, help="how many splits")
    made.add_argument("--games", type=Path, help="folder of Amazon Games with items.parquet and interactions.parquet")
    made.add_argument("--work", type=Path, default=Path(".bench"), help="where workspaces are kept")
    return made


def surroundings(study: Study, task: Task, people: dict[str, Members]) -> Surroundings:
    """``people``: the groups of users that are looked at apart."""
    relevant, liked = study.relevant(task), task.relevant(study.settings.events.liked_from)
    return Surroundings(task, relevant, liked, item_strata(task), people, None, None)


def measured(name: str, versions_: Sequence[System], around: Surroundings, seed: int) -> Measured:
    """One system on one split, as the mean of its versions."""
    runs = [measure(one, around, version, None) for version, one in enumerate(versions_)]
    found = replace(pooled(runs), system=name, seed=seed)
    say(f"{name} {np.nanmean(found.by_user[PRIMARY]):.4f}")
    return found


def write_comparison(
    name: str,
    command: str,
    found: Sequence[dict[str, Measured]],
    place: tuple[str, str],
    references: Iterable[str],
    meta: dict[str, Any],
) -> None:
    """Write ``benchmarks/results/<name>.json``, of each split what was measured; place: data and split."""
    runs = {system: [one[system] for one in found] for system in found[0]}
    whole = {system: pooled(each) for system, each in runs.items()}
    rows = [asdict(row) for each in runs.values() for row in Rows(*place).of(each)]
    made = {"command": command, **meta, "student_seeds": STUDENTS, "distillation": asdict(TAUGHT)}
    about = {**made, "versions": versions(), "machine": machine()}
    against = [one for system in references for one in comparisons(whole, system)]
    text = as_text({"meta": about, "rows": rows, "comparisons": against})
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
