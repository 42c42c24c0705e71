"""`whyrec distill`: teach a student from labels, and let it serve where validation proves that teaching helps."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from agent.evaluation.output import versions
from agent.evaluation.study import Study
from agent.evaluation.tuning import PLACES, tuned
from agent.evaluation.watch import Watch
from agent.labelling import OTHERS
from agent.ranking_lists import Retrieval
from agent.stored_student import save_student
from agent.teacher import Classroom, Teacher
from retrieval.cf.student import Student, StudentConfig
from retrieval.data.labels import LabelStore
from retrieval.errors import command as whyrec_command
from retrieval.metrics import Figures, find_hits, ranking_metrics
from retrieval.significance import compare
from retrieval.text.text_ease import TextEase

if TYPE_CHECKING:
    from finetune.distill import Distillation, TeacherLists

PERSON = ["user_id", "history"]  # whose list a label belongs to
OWN = (100.0, 300.0, 1_000.0, 3_000.0)  # what λ of the student's EASE is chosen among
FEWEST = 10  # users who can prove anything


@dataclass(frozen=True)
class Proof:
    """What validation says of teaching. alone, taught: the tables that are best for a twin, and to be taught.

    twin, student: NDCG@10 of the twin, and of what was taught by the scorers; low: the lower end of the gain's 95 %
    interval. users: who judged.
    """

    alone: StudentConfig
    taught: StudentConfig
    twin: float
    student: float
    low: float
    users: int

    @property
    def proven(self) -> bool:
        """Whether teaching helps; where it does not, the twin serves."""
        return self.low > 0 and self.users >= FEWEST

    @property
    def figures(self) -> dict[str, float]:
        """Those that say how good both are."""
        return {"twin": self.twin, "student": self.student, "low": self.low}


@dataclass(frozen=True)
class Outcome:
    """version: its name. lists: learnt from; asked: how many of them a language model had a say in."""

    version: str
    proof: Proof
    lists: int
    asked: int


def student_config(study: Study, trials: int, watch: Watch) -> StudentConfig:
    """What is best on validation for the scorer of texts that the tables begin with."""
    watch.start("Tuning what the student begins with", trials)
    return StudentConfig(**tuned(study, TextEase.name, trials, watch.advance).parameters)


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
    """The labels with new scores: for everybody, what the language model has said to those that it was asked for.

    ``score = z(retrieved) + Σ (z(score) − z(retrieved)) / (n + 1)``, z over a list, the sum over the n lists in which
    the model has judged the item. So a list that it was not asked for changes as others do on average, and one that it
    was asked for is rid of chance (DECISIONS.md, 2026-11-27).
    """
    before, after = (_standardised(name).over(PERSON) for name in ("retrieved", "score"))
    found = labels.with_columns(before.alias("before"))
    change = with_model(labels.with_columns((after - before).alias("change"))).group_by("item_id")
    mean = change.agg((pl.col("change").sum() / (pl.len() + 1)).alias("change"))
    found = found.join(mean, on="item_id", how="left", maintain_order="left")
    return found.with_columns(score=pl.col("before") + pl.col("change").fill_null(0)).drop("before", "change")


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
        found, damaged = store.of(self._teacher.fingerprint, self._again)
        if damaged:
            self._watch.note(f"{damaged} parts in labels/ could not be read; whyrec label labels their lists anew")
        labels, changed = up_to_date(found, room)
        if changed:
            self._watch.note(f"{changed:,} lists are of histories that have changed since, and are left out")
        learnt, asked = (one["user_id"].n_unique() for one in (labels, with_model(labels)))
        proof = self.proof()
        student = Student.fit(room.data, proof.taught if proof.proven else proof.alone)
        if proof.proven:
            student = self._taught(student, teacher_lists(shared(labels), room))
        validation = {"split": self._study.name, "seed": self._study.seed, **proof.figures, "proven": proof.proven}
        made = {
            "command": command,
            "catalog": self._study.workspace.catalog_fingerprint,
            "events": self._study.workspace.events_fingerprint,
            "space": self._study.space,
            "split": room.split,
            "teacher": self._teacher.fingerprint,
            "lists": {"learnt from": learnt, "asked": asked},
            "validation": validation,
            "how": asdict(self._how),
            "versions": versions(),
        }
        labelled = with_model(labels)["user_id"].unique().sort() if proof.proven else labels["user_id"].head(0)
        version = save_student(folder, student, made, labelled)
        return Outcome(version, proof, learnt, asked)

    @property
    def _again(self) -> str:
        """The command that makes labels for this student."""
        held_out = f" --split {self._study.name} --seed {self._study.seed}" if self._teacher.room.split else ""
        return whyrec_command(f"label{held_out}", self._study.workspace.root)

    def proof(self) -> Proof:
        """Whether it helps validation users to teach the student by the scorers' lists, over all draws of items.

        Where items with events are ranked, λ of their EASE is chosen first, on one half of the users, for the twin and
        for what is taught; the other half judges.

        Raises:
            SplitError: nobody is left to validate on.
        """
        every = [self._config] if self._study.name == "cold-items" else [replace(self._config, own=o) for o in OWN]
        figures = {config: self._validated(config) for config in every}
        alone = taught = every[0]
        users = len(figures[alone][0])
        judge = np.ones(users, dtype=np.bool_)
        if len(every) > 1 and users >= 2 * FEWEST:
            judge = np.random.default_rng(self._study.seed).permutation(users) % 2 == 0
            alone = max(every, key=lambda config: float(figures[config][0][~judge].mean()))
            taught = max(every, key=lambda config: float(figures[config][1][~judge].mean()))
        before, after = figures[alone][0][judge], figures[taught][1][judge]
        gain = compare(after, [before], self._study.seed)[0]
        return Proof(alone, taught, float(before.mean()), float(after.mean()), gain.low, len(after))

    def _taught(self, twin: Student, lists: "TeacherLists") -> Student:
        from finetune.distill import distil

        self._watch.start("Teaching the student", self._how.epochs)
        losses: list[Mapping[str, float]] = []

        def told(found: Mapping[str, float]) -> None:
            losses.append(found)
            self._watch.advance()

        student = distil(twin, lists, self._how, told)
        said = "  ".join(f"{name} {losses[0][name]:.4g} to {value:.4g}" for name, value in losses[-1].items())
        self._watch.note(f"loss: {said}")
        return student

    def _validated(self, config: StudentConfig) -> tuple[Figures, Figures]:
        """NDCG@10 of each user by the twin and by the student; who is in several draws has the mean of them."""
        found = pl.concat([self._on(*lesson, config) for lesson in self._lessons]).fill_nan(None).drop_nulls()
        means = found.group_by("user", maintain_order=True).mean()
        return means["before"].to_numpy(), means["after"].to_numpy()

    @cached_property
    def _lessons(self) -> list[tuple[Study, "TeacherLists"]]:
        """What every draw of items teaches, whatever the tables."""
        parts = self._study.validations
        return [(part, scorers_lists(self._retrieval, Classroom.of_validation(part), part)) for part in parts]

    def _on(self, part: Study, lists: "TeacherLists", config: StudentConfig) -> pl.DataFrame:
        from finetune.distill import distil

        task = part.task("validation")
        relevant = part.relevant(task)
        twin = Student.fit(part.training_data("validation"), config)

        def ndcg(system: Student) -> Figures:
            listed = system.top(task.histories, PLACES, candidates=task.candidates).columns
            return ranking_metrics(find_hits(listed, relevant), np.diff(relevant.indptr), PLACES)["ndcg"]

        self._watch.start("Proving on validation that it helps", self._how.epochs)
        taught = distil(twin, lists, self._how, lambda _: self._watch.advance())
        return pl.DataFrame({"user": task.histories.users, "before": ndcg(twin), "after": ndcg(taught)})


def scorers_lists(retrieval: Retrieval, room: Classroom, study: Study) -> "TeacherLists":
    """What `whyrec label` lists without a language model: of as many people as it asks the scorers for."""
    from finetune.distill import TeacherLists

    people = room.data.histories
    drawn = np.random.default_rng(study.seed).permutation(np.flatnonzero(people.counts > 0))[:OTHERS]
    people = people.take(np.sort(drawn))
    size = study.settings.ranking.candidates
    found = retrieval.fit(room.data).top(people, size, candidates=room.among)
    return TeacherLists(people, found.columns, found.scores, room.among)


def described(outcome: Outcome) -> dict[str, Any]:
    """The outcome as a row."""
    figures = {name: round(value, 4) for name, value in outcome.proof.figures.items()}
    return {
        "lists": outcome.lists,
        "with LM": outcome.asked,
        **figures,
        "serves": "student" if outcome.proof.proven else "twin",
    }
