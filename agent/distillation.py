"""`whyrec distill`: teach a student from labels, and let it serve where validation proves that teaching helps."""

from collections.abc import Mapping
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
from retrieval.cf.scorer import System
from retrieval.cf.student import Student, StudentConfig
from retrieval.data.histories import Histories
from retrieval.data.labels import LabelStore, history_hash
from retrieval.data.splits import Task
from retrieval.metrics import Figures, find_hits, ranking_metrics
from retrieval.significance import compare
from retrieval.text.text_ease import TextEase

if TYPE_CHECKING:
    from finetune.distill import Distillation, TeacherLists


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


def teacher_lists(labels: pl.DataFrame, room: Classroom) -> tuple["TeacherLists", int]:
    """The labels of one teacher as lists, those of histories that have changed since left out; how many it left out.

    Labels of items that are no longer there are left out, too.
    """
    from finetune.distill import TeacherLists

    histories = room.data.histories
    row_of = {user: row for row, user in enumerate(histories.users)}
    column_of = {item_id: column for column, item_id in enumerate(histories.items)}
    rows, columns, scores, changed = [], [], [], 0
    for (user, known), one in labels.group_by(["user_id", "history"], maintain_order=True):
        row = row_of.get(str(user))
        if row is None or _hash(histories, row) != known:
            changed += 1
            continue
        kept = [(column_of[i], s) for i, s in one.select("item_id", "score").iter_rows() if i in column_of]
        if kept:
            rows.append(row)
            columns.append([column for column, _ in kept])
            scores.append([score for _, score in kept])
    width = max((len(one) for one in columns), default=0)
    padded = np.full((len(rows), width), -1, dtype=np.int64), np.zeros((len(rows), width), dtype=np.float32)
    for place, (own, given) in enumerate(zip(columns, scores, strict=True)):
        padded[0][place, : len(own)], padded[1][place, : len(own)] = own, given
    people = histories.take(np.array(rows, dtype=np.int64))
    return TeacherLists(people, *padded, room.among), changed


def _hash(histories: Histories, row: int) -> str:
    part = slice(*histories.values.indptr[row : row + 2])
    items = [histories.items[column] for column in histories.values.indices[part]]
    return history_hash(items, histories.values.data[part].tolist())


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
        labels = store.of(self._teacher.fingerprint)
        lists, changed = teacher_lists(labels, self._teacher.room)
        if changed:
            self._watch.note(f"{changed:,} lists are of histories that have changed since, and are left out")
        asked = labels.filter(pl.col("ranked").is_not_null()).select("user_id", "history").n_unique()
        twin = Student.fit(self._teacher.room.data, self._config)
        student = self.taught(twin, lists, "Teaching the student")
        before, after = self._validated()
        gain = compare(after, [before], self._study.seed)[0]
        figures = {"twin": float(np.nanmean(before)), "student": float(np.nanmean(after)), "low": gain.low}
        proven = gain.low > 0
        made = {
            "command": command,
            "catalog": self._study.workspace.catalog_fingerprint,
            "events": self._study.workspace.events_fingerprint,
            "space": self._study.space,
            "split": self._teacher.room.split,
            "teacher": self._teacher.fingerprint,
            "lists": {"learnt from": len(lists.histories), "asked": asked},
            "validation": {"split": self._study.name, "seed": self._study.seed, **figures, "proven": proven},
            "how": asdict(self._how),
            "versions": versions(),
        }
        version = save_student(folder, student if proven else twin, made)
        return Outcome(version, **figures, proven=proven, lists=len(lists.histories), asked=asked)

    def taught(self, twin: Student, lists: "TeacherLists", label: str) -> Student:
        """The twin, taught by these lists."""
        from finetune.distill import distil

        self._watch.start(label, self._how.epochs)
        losses: list[Mapping[str, float]] = []

        def told(found: Mapping[str, float]) -> None:
            losses.append(found)
            self._watch.advance()

        student = distil(twin, lists, self._how, told)
        said = "  ".join(f"{name} {losses[0][name]:.4g} to {value:.4g}" for name, value in losses[-1].items())
        self._watch.note(f"loss: {said}")
        return student

    def _validated(self) -> tuple[Figures, Figures]:
        """NDCG@10 of validation users by a twin, and by one that the scorers alone have taught."""
        from finetune.distill import TeacherLists

        room, task = Classroom.of_validation(self._study), self._study.task("validation")
        twin = Student.fit(room.data, self._config)
        people = room.data.histories
        people = people.take(np.flatnonzero(people.counts > 0))
        size = self._study.settings.ranking.candidates
        found = self._retrieval.fit(room.data.histories).top(people, size, candidates=room.among)
        lists = TeacherLists(people, found.columns, found.scores, room.among)
        return self._ndcg(twin, task), self._ndcg(self.taught(twin, lists, "Proving it on validation"), task)

    def _ndcg(self, system: System, task: Task) -> Figures:
        relevant = self._study.relevant(task)
        found = system.top(task.histories, PLACES, candidates=task.candidates)
        return ranking_metrics(find_hits(found.columns, relevant), np.diff(relevant.indptr), PLACES)["ndcg"]


def described(outcome: Outcome) -> dict[str, Any]:
    """The outcome as a row."""
    figures = {name: round(getattr(outcome, name), 4) for name in ("twin", "student", "low")}
    return {
        "lists": outcome.lists,
        "with LM": outcome.asked,
        **figures,
        "serves": "student" if outcome.proven else "twin",
    }
