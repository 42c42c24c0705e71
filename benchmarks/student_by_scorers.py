"""What a student keeps of scorers alone, without any language model: `<data>-scorers-student-<split>.json`.

    python -m benchmarks.student_by_scorers --data movielens-small --split temporal
    python -m benchmarks.student_by_scorers --data movielens-small --split cold-items --share 0.05 --seeds 3
    python -m benchmarks.student_by_scorers --data amazon-games --games FOLDER --split leave-last --users 5000

teacher: the scorers that `whyrec tune` would let serve. twin: the student before it is taught; student: after, with
three seeds. The others are scorers alone, with their parameters from validation. --share: of the users that are known
before the test, as if the workspace were younger.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from agent.cli.console import Steps, say
from agent.cli.options import open_workspace
from agent.distillation import Distiller, scorers_lists, student_config
from agent.evaluation.measure import Measured, Surroundings
from agent.evaluation.output import as_text, machine, versions
from agent.evaluation.report import PRIMARY, Rows, comparisons, pooled
from agent.evaluation.strata import item_strata, user_strata
from agent.evaluation.study import Question, Study
from agent.evaluation.tuning import tuned
from agent.models import Models
from agent.ranking_lists import find_retrieval
from agent.teacher import Classroom, Teacher
from benchmarks.quality import DEMOS, GAMES, workspace
from benchmarks.reporting import RESULTS
from benchmarks.student import ALONE, DEFAULT, STUDENTS, TRIALS, measured
from finetune.distill import distil
from retrieval.cf.scorer import System
from retrieval.cf.student import Student

WARM = ("soft-knn", "popularity", "ease")


def systems(study: Study, trials: int) -> Iterator[tuple[str, Sequence[System]]]:
    """Each with one version for each seed of students, or with one for all."""
    room = Classroom.of_test(study)
    with Steps() as watch:
        retrieval = find_retrieval(study, trials, watch)
        scorers = Teacher(study, room, retrieval, None)
        distiller = Distiller(scorers, retrieval, student_config(study, trials, watch), DEFAULT, watch)
        config = distiller.proof().config
    teacher = retrieval.fit(room.data)
    yield "teacher", [teacher]
    for name in ALONE if study.name == "cold-items" else WARM:
        yield name, [tuned(study, name, trials).fit(study, "test")]
    twin = Student.fit(room.data, config)
    yield "twin", [twin]
    lists = scorers_lists(retrieval, room, study)
    yield "student", [distil(twin, lists, replace(DEFAULT, seed=seed)) for seed in range(STUDENTS)]


def of_split(study: Study, trials: int) -> dict[str, Measured]:
    """Every system on one split."""
    task = study.task("test")
    relevant, liked = study.relevant(task), task.relevant(study.settings.events.liked_from)
    around = Surroundings(task, relevant, liked, item_strata(task), user_strata(task, None), None, None)
    found = {}
    for name, versions_ in systems(study, trials):
        found[name] = measured(name, versions_, around, study.seed)
        say(f"{name} {np.nanmean(found[name].by_user[PRIMARY]):.4f}")
    return found


def main() -> None:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=(*DEMOS, GAMES), default="movielens-small")
    parser.add_argument("--split", default="cold-items")
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=1, help="how many splits")
    parser.add_argument("--users", type=int, help="at most so many in the test; all without it")
    parser.add_argument("--games", type=Path, help="folder of Amazon Games with items.parquet and interactions.parquet")
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where workspaces are kept")
    asked = parser.parse_args()
    opened = open_workspace(workspace(asked.data, asked.work, asked.games, {}))
    question, trials = Question(asked.split, users=asked.users, share=asked.share), TRIALS.get(asked.data, 8)
    studies = [
        Study(opened.workspace, opened.settings, Models(opened.settings, say), question, seed)
        for seed in range(asked.seeds)
    ]
    found = [of_split(study, trials) for study in studies]
    runs = {name: [one[name] for one in found] for name in found[0]}
    rows = [row for each in runs.values() for row in Rows(asked.data, asked.split).of(each)]
    whole = {name: pooled(each) for name, each in runs.items()}
    young = "" if asked.share == 1 else f" --share {asked.share:g}"
    few = "" if asked.users is None else f" --users {asked.users}"
    given = f"--data {asked.data} --split {asked.split}{young} --seeds {asked.seeds}{few}"
    meta = {
        "command": f"python -m benchmarks.student_by_scorers {given}",
        "split": {"name": asked.split, "fingerprint": {one.seed: one.split.fingerprint for one in studies}},
        "share": asked.share,
        "student_seeds": STUDENTS,
        "trials": trials,
        "distillation": asdict(DEFAULT),
        "versions": versions(),
        "machine": machine(),
    }
    report = {"meta": meta, "rows": [asdict(row) for row in rows], "comparisons": comparisons(whole, "student")}
    part = "" if asked.share == 1 else f"-{asked.share:.0%}"
    path = RESULTS / f"{asked.data}-scorers-student-{asked.split}{part}.json"
    path.write_text(as_text(report), encoding="utf-8")


if __name__ == "__main__":
    main()
