"""`whyrec distill`: teach a student from labels, and let it serve where validation proves that teaching helps."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from agent.evaluation.output import versions
from agent.evaluation.watch import Watch
from agent.lesson import Lesson
from agent.ranking_lists import Retrieval
from agent.stored_student import save_student
from agent.student_proof import Proof, Prover
from agent.teacher import Classroom, Teacher
from retrieval.cf.student import Student, StudentConfig
from retrieval.data.labels import LabelStore
from retrieval.data.seen import Seen
from retrieval.errors import command as whyrec_command

if TYPE_CHECKING:
    from finetune.distill import TeacherLists

PERSON = ["user_id", "history"]  # whose list a label belongs to
NO_LABELS = pl.DataFrame(schema={"user_id": pl.String, "history": pl.String, "ranked": pl.Float32})


@dataclass(frozen=True)
class Outcome:
    """version: its name. lists: learnt from; asked: how many of them a language model had a say in."""

    version: str
    proof: Proof
    lists: int
    asked: int


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


def shared(labels: pl.DataFrame) -> pl.DataFrame:
    """The labels with new scores: wherever the language model has a say, what it has said where it was asked.

    ``score = z(retrieved) + Σ (z(score) − z(retrieved)) / (n + 1)``, z over a list, the sum over the n lists in which
    the model has judged the item. So a list that it was not asked for changes as others do on average, and one that it
    was asked for is rid of chance (DECISIONS.md, 2026-11-27); one in which it has no ``say`` stays as it is.
    """
    before, after = (_standardised(name).over(PERSON) for name in ("retrieved", "score"))
    found = labels.with_columns(before.alias("before"))
    change = with_model(labels.with_columns((after - before).alias("change"))).group_by("item_id")
    mean = change.agg((pl.col("change").sum() / (pl.len() + 1)).alias("change"))
    found = found.join(mean, on="item_id", how="left", maintain_order="left")
    heard = pl.when("say").then(pl.col("change").fill_null(0)).otherwise(0)
    return found.with_columns(score=pl.col("before") + heard).drop("before", "change")


def _standardised(name: str) -> pl.Expr:
    spread = pl.col(name).std(ddof=0)
    return pl.when(spread > 0).then((pl.col(name) - pl.col(name).mean()) / spread).otherwise(0)


def teacher_lists(labels: pl.DataFrame, room: Classroom) -> "TeacherLists":
    """The labels of one teacher as lists."""
    from finetune.distill import TeacherLists

    histories = room.data.histories
    columns = pl.col("item_id").replace_strict(
        list(histories.items), range(len(histories.items)), return_dtype=pl.Int64
    )
    lists = labels.group_by("user_id", maintain_order=True).agg(columns.alias("columns"), "score")
    width = max(lists["columns"].list.len().to_list(), default=0)
    padded = np.full((len(lists), width), -1, dtype=np.int64), np.zeros((len(lists), width), dtype=np.float32)
    for row, (own, given) in enumerate(lists.select("columns", "score").iter_rows()):
        padded[0][row, : len(own)], padded[1][row, : len(own)] = own, given
    row_of = {user: row for row, user in enumerate(histories.users)}
    people = histories.take(np.array([row_of[user] for user in lists["user_id"]], dtype=np.int64))
    return TeacherLists(people, *padded, room.among)


def _shared_lists(labels: pl.DataFrame, teacher: Teacher) -> "TeacherLists":
    return teacher_lists(shared(teacher.with_say(labels)), teacher.room)


class Distiller:
    """Teaches a student in a classroom from the labels of one teacher."""

    def __init__(self, teacher: Teacher, retrieval: Retrieval, config: StudentConfig, lesson: Lesson, watch: Watch):
        """``lesson``: what it learns from; without a teacher in it, no labels are read."""
        self._teacher = teacher
        self._study = teacher.study
        self._retrieval = retrieval
        self._config = config
        self._lesson = lesson
        self._watch = watch

    def run(self, store: LabelStore, folder: Path, command: str) -> Outcome:
        """Teach, prove, and keep it as the current version below ``folder``.

        Raises:
            InputError: there are no labels of this teacher.
            SplitError: nobody is left to validate on.
        """
        room = self._teacher.room
        labels = NO_LABELS if self._lesson.taught is None else self._labels(store)
        learnt, asked = (one["user_id"].n_unique() for one in (labels, with_model(labels)))
        proof = Prover(self._study, self._retrieval, self._config, self._lesson, self._watch).run()
        student = Student.fit(room.data, proof.taught if proof.proven else proof.alone)
        if proof.proven:
            read = partial(self._study.sequences, "test" if room.split else None)
            lists = partial(_shared_lists, labels, self._teacher)
            student = self._lesson.taught_to(student, read, lists, self._watch)
        validation = {"split": self._study.name, "seed": self._study.seed, **proof.figures, "proven": proof.proven}
        made = {
            "command": command,
            "catalog": self._study.workspace.catalog_fingerprint,
            "events": self._study.workspace.events_fingerprint,
            "seen": Seen.of(self._study.workspace).to_json(),
            "space": self._study.space,
            "split": room.split,
            "teacher": self._teacher.fingerprint,
            "lists": {"learnt from": learnt, "asked": asked},
            "validation": validation,
            "how": self._lesson.described,
            "versions": versions(),
        }
        labelled = with_model(labels)["user_id"].unique().sort() if proof.proven else labels["user_id"].head(0)
        version = save_student(folder, student, made, labelled)
        return Outcome(version, proof, learnt, asked)

    def _labels(self, store: LabelStore) -> pl.DataFrame:
        found, damaged = store.of(self._teacher.fingerprint, self._again)
        if damaged:
            self._watch.note(f"{damaged} parts in labels/ could not be read; whyrec label labels their lists anew")
        labels, changed = up_to_date(found, self._teacher.room)
        if changed:
            self._watch.note(f"{changed:,} lists are of histories that have changed since, and are left out")
        return labels

    @property
    def _again(self) -> str:
        """The command that makes labels for this student."""
        held_out = f" --split {self._study.name} --seed {self._study.seed}" if self._teacher.room.split else ""
        return whyrec_command(f"label{held_out}", self._study.workspace.root)


def described(outcome: Outcome) -> dict[str, Any]:
    """The outcome as a row."""
    figures = {name: round(value, 4) for name, value in outcome.proof.figures.items()}
    return {
        "lists": outcome.lists,
        "with LM": outcome.asked,
        **figures,
        "serves": "student" if outcome.proof.proven else "twin",
    }
