"""What a student keeps of scorers alone, without any language model: `<data>-scorers-student-<split>.json`.

    python -m benchmarks.student_by_scorers --data movielens-small --split temporal
    python -m benchmarks.student_by_scorers --data movielens-small --split cold-items --share 0.05 --seeds 3
    python -m benchmarks.student_by_scorers --data amazon-games --games FOLDER --split leave-last --users 5000

teacher: the scorers that `whyrec tune` would let serve. twin: the student before it is taught; student: after, with
three seeds; served: the one of both that `whyrec distill` would keep. The others are scorers alone, with their
parameters from validation. --share: of the users that are known before the test, as if the workspace were younger.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from agent.cli.console import Steps, say
from agent.cli.options import open_workspace
from agent.evaluation.measure import Measured
from agent.evaluation.strata import user_strata
from agent.evaluation.study import Question, Study
from agent.evaluation.tuning import tuned
from agent.lesson import Lesson
from agent.models import Models
from agent.ranking_lists import find_retrieval
from agent.student_proof import Prover, scorers_lists
from agent.teacher import Classroom
from agent.twin_tuning import student_config
from benchmarks.comparing import STUDENTS, TAUGHT, TRIALS, measured, parser, surroundings, write_comparison
from benchmarks.quality import GAMES, workspace
from benchmarks.student import ALONE
from finetune.distill import distil
from retrieval.cf.scorer import System
from retrieval.cf.student import Student

WARM = ("soft-knn", "popularity", "ease")


def systems(study: Study, trials: int) -> Iterator[tuple[str, Sequence[System]]]:
    """Each with one version for each seed of students, or with one for all."""
    room = Classroom.of_test(study)
    with Steps() as watch:
        retrieval = find_retrieval(study, trials, watch)
        proof = Prover(study, retrieval, student_config(study, trials, watch), Lesson(None, TAUGHT), watch).run()
    teacher = retrieval.fit(room.data)
    yield "teacher", [teacher]
    for name in ALONE if study.name == "cold-items" else WARM:
        yield name, [tuned(study, name, trials).fit(study, "test")]
    twin, begun = Student.fit(room.data, proof.alone), Student.fit(room.data, proof.taught)
    yield "twin", [twin]
    lists = scorers_lists(teacher, room, study)
    taught = [distil(begun, lists, replace(TAUGHT, seed=seed)) for seed in range(STUDENTS)]
    yield "student", taught
    yield "served", taught if proof.proven else [twin]


def of_split(study: Study, trials: int) -> dict[str, Measured]:
    """Every system on one split."""
    task = study.task("test")
    around = surroundings(study, task, user_strata(task, None))
    return {name: measured(name, each, around, study.seed) for name, each in systems(study, trials)}


def main() -> None:
    """Measure, and write the report."""
    options = parser(__doc__)
    options.add_argument("--split", default="cold-items")
    options.add_argument("--share", type=float, default=1.0)
    options.add_argument("--users", type=int, help="at most so many in the test; all without it")
    asked = options.parse_args()
    opened = open_workspace(workspace(asked.data, asked.work, asked.games, {}))
    question, trials = Question(asked.split, users=asked.users, share=asked.share), TRIALS.get(asked.data, 8)
    studies = [
        Study(opened.workspace, opened.settings, Models(opened.settings, say), question, seed)
        for seed in range(asked.seeds)
    ]
    given = {"data": asked.data, "split": asked.split, "seeds": asked.seeds}
    given |= {"share": asked.share} if asked.share < 1 else {}
    given |= {"users": asked.users} if asked.users else {}
    given |= {"games": "FOLDER"} if asked.data == GAMES else {}
    command = " ".join(["python -m benchmarks.student_by_scorers", *(f"--{name} {v}" for name, v in given.items())])
    meta = {
        "split": {"name": asked.split, "fingerprint": {one.seed: one.split.fingerprint for one in studies}},
        "share": asked.share,
        "trials": trials,
    }
    part = "" if asked.share == 1 else f"-share-{asked.share:g}"
    found = [of_split(study, trials) for study in studies]
    name = f"{asked.data}-scorers-student-{asked.split}{part}"
    write_comparison(name, command, found, (asked.data, asked.split), ("student", "served"), meta)


if __name__ == "__main__":
    main()
