"""`whyrec distill`: teach a student from labels, and let it serve where validation proves that teaching helps."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from agent.evaluation.output import versions
from agent.evaluation.study import Study
from agent.evaluation.tuning import PLACES, tuned
from agent.evaluation.watch import Watch
from agent.ranking_lists import Retrieval
from agent.stored_student import save_student
from agent.teacher import Classroom, Teacher
from retrieval.cf.ease import Ease
from retrieval.cf.student import Student, StudentConfig
from retrieval.data.labels import LabelStore
from retrieval.metrics import Figures, find_hits, ranking_metrics
from retrieval.significance import compare
from retrieval.text.text_ease import TextEase

if TYPE_CHECKING:
    from finetune.distill import Distillation, TeacherLists

PERSON = ["user_id", "history"]  # whose list a label belongs to


@dataclass(frozen=True)
class Outcome:
    """twin, student: NDCG@10 on validation before and after it was taught; low: the lower end of the gain's interval.

    proven: whether it is above 0; where it is not, the twin serves. lists: learnt from; asked: how many of them a
    language model had a say in.
    """

    version: str
    twin: float
    student: float
    low: float
    proven: bool
    lists: int
    asked: int


def student_config(study: Study, trials: int, watch: Watch) -> StudentConfig:
    """The parameters that were best on validation for the scorers that the tables begin with."""
    watch.start("Tuning what the student begins with", 2 * trials)
    text = tuned(study, TextEase.name, trials, watch.advance).parameters
    own = tuned(study, Ease.name, trials, watch.advance).parameters["strength"]
    return StudentConfig(**text, own=own)


def up_to_date(labels: pl.DataFrame, room: Classroom) -> tuple[pl.DataFrame, int]:
    """The labels of items that are still there and histories that are as they were; how many lists it left out."""
    histories = room.data.histories
    now = pl.DataFrame({"user_id": histories.users, "history": histories.hashes()}, schema=labels.select(PERSON).schema)
    kept = labels.join(now, on=PERSON, how="semi")
    changed = labels.select(PERSON).n_unique() - kept.select(PERSON).n_unique()
    return kept.filter(pl.col("item_id").is_in(list(histories.items))), changed


def with_model(labels: pl.DataFrame) -> pl.DataFrame:
    """The lists of which the language model has judged every item."""
    return labels.filter(pl.col("ranked").is_not_null().all().over(PERSON))


def teacher_lists(labels: pl.DataFrame, room: Classroom, by: str) -> "TeacherLists":
    """The labels of one teacher as lists; ``by``: the column with the scores."""
    from finetune.distill import TeacherLists

    histories = room.data.histories
    columns = pl.col("item_id").replace_strict(
        list(histories.items), range(len(histories.items)), return_dtype=pl.Int64
    )
    lists = labels.group_by("user_id", maintain_order=True).agg(columns.alias("columns"), pl.col(by))
    width = int(lists["columns"].list.len().max() or 0)  # type: ignore[arg-type]
    padded = np.full((len(lists), width), -1, dtype=np.int64), np.zeros((len(lists), width), dtype=np.float32)
    for row, (own, given) in enumerate(lists.select("columns", by).iter_rows()):
        padded[0][row, : len(own)], padded[1][row, : len(own)] = own, given
    row_of = {user: row for row, user in enumerate(histories.users)}
    people = histories.take(np.array([row_of[user] for user in lists["user_id"]], dtype=np.int64))
    return TeacherLists(people, *padded, room.among)


def lessons(labels: pl.DataFrame, room: Classroom) -> list["TeacherLists"]:
    """What is taught, one after the other: everybody's list as the scorers order it, then those the model has ordered.

    In one lesson, the scorers' lists of the many would take back what the model's lists of the few have taught.
    """
    ordered = with_model(labels)
    found = [teacher_lists(labels, room, "retrieved")]
    if len(ordered):
        found.append(teacher_lists(ordered, room, "score"))
    return found


class Distiller:
    """Teaches a student in a classroom from the labels of one teacher."""

    def __init__(
        self, teacher: Teacher, retrieval: Retrieval, config: StudentConfig, how: "Distillation", watch: Watch
    ):
        self._teacher = teacher
        self._study = teacher.study
        self._retrieval = retrieval
        self._config = config
        self._how = how
        self._watch = watch

    def run(self, store: LabelStore, folder: Path, command: str) -> Outcome:
        """Teach, prove, and keep it as the current version below ``folder``.

        Raises:
            InputError: there are no labels of this teacher.
            SplitError: nobody is left to validate on.
        """
        room = self._teacher.room
        labels, changed = up_to_date(store.of(self._teacher.fingerprint), room)
        if changed:
            self._watch.note(f"{changed:,} lists are of histories that have changed since, and are left out")
        learnt, asked = (one["user_id"].n_unique() for one in (labels, with_model(labels)))
        twin = Student.fit(room.data, self._config)
        student = self._taught(twin, lessons(labels, room), "Teaching the student")
        before, after = self._validated()
        gain = compare(after, [before], self._study.seed)[0]
        figures = {"twin": float(np.nanmean(before)), "student": float(np.nanmean(after)), "low": gain.low}
        proven = gain.low > 0
        made = {
            "command": command,
            "catalog": self._study.workspace.catalog_fingerprint,
            "events": self._study.workspace.events_fingerprint,
            "space": self._study.space,
            "split": room.split,
            "teacher": self._teacher.fingerprint,
            "lists": {"learnt from": learnt, "asked": asked},
            "validation": {"split": self._study.name, "seed": self._study.seed, **figures, "proven": proven},
            "how": asdict(self._how),
            "versions": versions(),
        }
        version = save_student(folder, student if proven else twin, made)
        return Outcome(version, **figures, proven=proven, lists=learnt, asked=asked)

    def _taught(self, student: Student, lists: Sequence["TeacherLists"], label: str) -> Student:
        """The student after these lessons."""
        from finetune.distill import distil

        self._watch.start(label, len(lists) * self._how.epochs)
        for lesson in lists:
            losses: list[Mapping[str, float]] = []

            def told(found: Mapping[str, float], losses: list[Mapping[str, float]] = losses) -> None:
                losses.append(found)
                self._watch.advance()

            student = distil(student, lesson, self._how, told)
            said = "  ".join(f"{name} {losses[0][name]:.4g} to {value:.4g}" for name, value in losses[-1].items())
            self._watch.note(f"{len(lesson.histories):,} lists: loss {said}")
        return student

    def _validated(self) -> tuple[Figures, Figures]:
        """NDCG@10 of validation users by a twin and by one that the scorers have taught, over all draws of items."""
        found = pl.concat([self._proof(part) for part in self._study.validations]).fill_nan(None)
        means = found.group_by("user", maintain_order=True).mean().drop_nulls()
        return means["before"].to_numpy(), means["after"].to_numpy()

    def _proof(self, part: Study) -> pl.DataFrame:
        from finetune.distill import TeacherLists

        room, task = Classroom.of_validation(part), part.task("validation")
        twin = Student.fit(room.data, self._config)
        people = room.data.histories
        people = people.take(np.flatnonzero(people.counts > 0))
        size = part.settings.ranking.candidates
        found = self._retrieval.fit(room.data.histories).top(people, size, candidates=room.among)
        lists = TeacherLists(people, found.columns, found.scores, room.among)
        relevant = part.relevant(task)

        def ndcg(system: Student) -> Figures:
            listed = system.top(task.histories, PLACES, candidates=task.candidates).columns
            return ranking_metrics(find_hits(listed, relevant), np.diff(relevant.indptr), PLACES)["ndcg"]

        taught = self._taught(twin, [lists], "Proving on validation that it helps")
        return pl.DataFrame({"user": task.histories.users, "before": ndcg(twin), "after": ndcg(taught)})


def described(outcome: Outcome) -> dict[str, Any]:
    """The outcome as a row."""
    figures = {name: round(getattr(outcome, name), 4) for name in ("twin", "student", "low")}
    return {
        "lists": outcome.lists,
        "with LM": outcome.asked,
        **figures,
        "serves": "student" if outcome.proven else "twin",
    }
