"""What each part of teaching the student is worth, switched on or off in turn: `ablation-movielens-small.json`.

    python -m benchmarks.ablation

MovieLens-small, cold items (each seed a split of its own) and split by time (one split, each seed a student of its
own). No language model: the teacher is a fusion of scorers with their default constants. `default` is the student as
`whyrec distill` teaches it, but for 30 epochs in place of 100; all others differ from it in one thing. By time, all
that is ranked has had thirty events or more in training. Both for want of processor time: a student learns from nine
thousand items twelve times as long as from seven hundred. Constants, the teacher's weights on cold items included, are
the best ones on validation of cold items (first seed, first draw of items), for both splits. Events of the other tests
are partly among those, which can only favour what is tuned, and none of that is proven to help; it is off by default.
Teaching itself is on, as `whyrec distill` proves it by itself.

without-teacher: the twin, nothing distilled. Augmentation at each sight: forgetting (each item left out by chance),
cropping (a piece of the history), substituting (items that say the same of people). A student sums up what a history
has, so its order, and reordering, say nothing to it. pretrained: self-supervision first, then the teacher;
pretrained-alone: no teacher. adversarial: APR. Regularisation: without-decay, more-decay, without-bound.
"""

import argparse
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from agent.cli.console import say
from agent.cli.options import open_workspace
from agent.evaluation.draws import ndcg_of_draw, over_draws
from agent.evaluation.report import Row
from agent.evaluation.study import Question, Study
from agent.models import Models
from agent.ranking_lists import Retrieval
from agent.student_proof import scorers_lists
from agent.teacher import Classroom
from benchmarks.quality import workspace
from benchmarks.reporting import write_rows
from finetune.distill import Distillation, TeacherLists, distil
from finetune.pretraining import Pretraining, pretrain
from retrieval.cf.fused import Fusion
from retrieval.cf.student import Student, StudentConfig
from retrieval.data.sequences import Sequences
from retrieval.data.splits import Stage, Task
from retrieval.metrics import Figures
from retrieval.significance import bootstrap_means, compare, holm, interval

DATA, SEEDS = "movielens-small", 3
SPLITS = ("cold-items", "temporal")
FEWEST = 30  # events of an item that is ranked where the split is by time
TAUGHT = Distillation(epochs=30)
PROVEN = 0.05  # p after Holm's correction over the ablations of a split
CONFIG = StudentConfig(positive_from=4.0)
WARM = ("popularity", "ease", "ials", "text-ease")
COLD = ("text-ease", "tower")
TEACHERS = {
    "cold-items": [Fusion("weighted", COLD, weights) for weights in ((1.0, 0.0), (0.7, 0.3), (0.5, 0.5))],
    "temporal": [Fusion("weighted", WARM, (0.25,) * 4)],
}


@dataclass(frozen=True)
class Lesson:
    """How a student is made of the twin; None: that step is left out."""

    taught: Distillation | None = TAUGHT
    pretrained: Pretraining | None = None

    def seeded(self, seed: int) -> "Lesson":
        """The same with a seed."""
        return Lesson(
            None if self.taught is None else replace(self.taught, seed=seed),
            None if self.pretrained is None else replace(self.pretrained, seed=seed),
        )


def taught(**changes: float) -> Lesson:
    """The default but for these."""
    return Lesson(replace(TAUGHT, **changes))


SEQUENCES = [Pretraining(epochs=3), Pretraining(epochs=10), Pretraining(epochs=10, rate=0.003)]
ABLATIONS: dict[str, Sequence[Lesson]] = {
    "default": [Lesson()],
    "without-teacher": [Lesson(None)],
    "pretrained-alone": [Lesson(None, one) for one in SEQUENCES],
    "pretrained": [Lesson(TAUGHT, one) for one in SEQUENCES],
    "forgetting": [taught(forgotten=share) for share in (0.1, 0.2)],
    "cropping": [taught(cropped=share) for share in (0.25, 0.5)],
    "substituting": [taught(substituted=share) for share in (0.1, 0.2)],
    "adversarial": [taught(adversarial=1.0, reach=reach) for reach in (0.5, 2.0)],
    "without-decay": [taught(decay=0.0)],
    "more-decay": [taught(decay=decay) for decay in (0.03, 0.1)],
    "without-bound": [taught(bound=1e9)],
}


class Bench:
    """One split at one stage, with its teacher's lists."""

    def __init__(self, study: Study, stage: Stage, teacher: Fusion):
        self.study = study
        self.stage: Stage = stage
        self._teacher = teacher
        room = Classroom.of_test(study) if stage == "test" else Classroom.of_validation(study)
        if room.among is None:
            counts = np.bincount(room.data.histories.values.indices, minlength=len(room.data.histories.items))
            room = replace(room, among=counts >= FEWEST)
        self.room = room
        self._before: tuple[Pretraining | None, Student | None] = (None, None)  # the latest that was pre-trained

    @cached_property
    def task(self) -> Task:
        """What is predicted, of what may be ranked."""
        return replace(self.study.task(self.stage), candidates=self.room.among)

    @cached_property
    def twin(self) -> Student:
        return Student.fit(self.room.data, CONFIG)

    @cached_property
    def teacher(self):
        return Retrieval(self._teacher).fit(self.room.data)

    @cached_property
    def lists(self) -> TeacherLists:
        return scorers_lists(self.teacher, self.room, self.study)

    @cached_property
    def sequences(self) -> Sequences:
        return self.study.sequences(self.stage)

    def student(self, lesson: Lesson) -> Student:
        """The twin after the lesson."""
        student = self.twin
        if lesson.pretrained is not None:
            if lesson.pretrained != self._before[0]:
                self._before = lesson.pretrained, pretrain(student, self.sequences, lesson.pretrained)
            student = self._before[1]
        return student if lesson.taught is None else distil(student, self.lists, lesson.taught)

    def figures(self, systems: Mapping[str, Callable[[], object]]) -> pl.DataFrame:
        """NDCG@10 of each user by each system."""
        return ndcg_of_draw(self.study, self.task, {name: make() for name, make in systems.items()})


class Kept:
    """What was measured before, so that an interrupted run goes on where it was."""

    def __init__(self, folder: Path):
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def of(self, bench: Bench, name: str, what: object, make: Callable[[], object]) -> pl.DataFrame:
        """The figures of one system; ``what`` it is made by."""
        parts = (bench.study.split.fingerprint, bench.stage, bench.study.seed, bench._teacher, CONFIG, FEWEST, what)
        path = self._folder / f"{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}.parquet"
        if not path.is_file():
            bench.figures({"ndcg": make}).write_parquet(path)
        found = pl.read_parquet(path)
        say(f"{bench.study.label} {bench.stage} {name} {found['ndcg'].fill_nan(None).mean():.4f}")
        return found


def chosen(bench: Bench, kept: Kept) -> dict[str, Lesson]:
    """The constants of each ablation that are best on validation."""
    found = {}
    for name, lessons in ABLATIONS.items():
        tried = lessons if len(lessons) > 1 else []
        values = [kept.of(bench, name, one, lambda one=one: bench.student(one)) for one in tried]
        means = [one["ndcg"].fill_nan(None).mean() for one in values] or [0.0]
        found[name] = lessons[int(np.argmax(means))]
    return found


def best_teacher(study: Study, kept: Kept) -> Fusion:
    """The fusion that is best on validation."""
    if len(TEACHERS[study.name]) == 1:
        return TEACHERS[study.name][0]
    benches = [Bench(study, "validation", fusion) for fusion in TEACHERS[study.name]]
    found = [kept.of(one, "teacher", "teacher", lambda one=one: one.teacher) for one in benches]
    means = [one["ndcg"].fill_nan(None).mean() for one in found]
    return TEACHERS[study.name][int(np.argmax(means))]


def of_seed(bench: Bench, lessons: Mapping[str, Lesson], seed: int, kept: Kept) -> pl.DataFrame:
    """NDCG@10 of each user by each system."""
    found = {"teacher": kept.of(bench, "teacher", "teacher", lambda: bench.teacher)}
    for system, lesson in lessons.items():
        one = lesson.seeded(seed)
        found[system] = kept.of(bench, system, one, lambda one=one: bench.student(one))
    columns = [frame["ndcg"].alias(system) for system, frame in found.items()]
    return found["teacher"].select("user").with_columns(columns)


def of_split(
    name: str, study_of: Callable[[str, int], Study], lessons: Mapping[str, Lesson], kept: Kept
) -> tuple[dict[str, Figures], Fusion]:
    """NDCG@10 of each user by each system, their mean over the seeds; and the teacher."""
    fusion = best_teacher(study_of(name, 0), kept)
    draws = []
    bench = Bench(study_of(name, 0), "test", fusion)
    for seed in range(SEEDS):
        if seed > 0 and name == "cold-items":
            bench = Bench(study_of(name, seed), "test", fusion)
        draws.append(of_seed(bench, lessons, seed, kept))
    means = over_draws(draws).sort("user")
    figures = {system: means[system].to_numpy() for system in means.columns if system != "user"}
    return figures, fusion


def rows_of(split: str, figures: Mapping[str, Figures]) -> tuple[list[Row], list[dict[str, object]]]:
    """NDCG@10 of each with its interval; and what each gains over the default, paired by user."""
    means = bootstrap_means(np.stack(list(figures.values()), axis=1), 0)
    rows = []
    for column, (system, values) in enumerate(figures.items()):
        low, high = interval(means[:, column])
        rows.append(Row(DATA, split, system, "all", "ndcg", 10, float(values.mean()), low, high, len(values), None))
    others = [system for system in figures if system != "default"]
    found = [compare(figures[system], [figures["default"]], 0)[0] for system in others]
    against: list[dict[str, object]] = []
    for system, one, p in zip(others, found, holm([one.p for one in found]), strict=True):
        rows.append(
            Row(DATA, split, system, "all", "gain over default", 10, one.delta, one.low, one.high, one.users, None)
        )
        place = {"data": DATA, "split": split, "system": system, "reference": "default", "metric": "ndcg", "k": 10}
        against.append({**place, **asdict(one), "p_holm": p, "helps": one.low > 0 and p < PROVEN})
    return rows, against


def main() -> None:
    """Measure all of it, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where the workspace is kept")
    work = parser.parse_args().work
    opened = open_workspace(workspace(DATA, work, None, {}))
    models = Models(opened.settings, say)

    def study_of(name: str, seed: int) -> Study:
        return Study(opened.workspace, opened.settings, models, Question(name), seed)

    kept, rows, against, teachers = Kept(work / "ablation"), [], [], {}
    first = study_of(SPLITS[0], 0)
    lessons = chosen(Bench(first, "validation", best_teacher(first, kept)), kept)
    for name in SPLITS:
        figures, teacher = of_split(name, study_of, lessons, kept)
        teachers[name] = dict(zip(teacher.scorers, teacher.weights, strict=True))
        found, differences = rows_of(name, figures)
        rows, against = rows + found, against + differences
        constants = {system: asdict(one) for system, one in lessons.items()}
        about = {"seeds": SEEDS, "student": asdict(CONFIG), "teachers": teachers, "lessons": constants}
        write_rows(f"ablation-{DATA}", rows, against, **about)


if __name__ == "__main__":
    main()
