"""What the language model adds to the scorers, and how much of it a student learns: `<data>-student-cold-items.json`.

    python -m benchmarks.student --data movielens-small
    python -m benchmarks.student --data movielens-small --first 1 --base gemma3-270m
    python -m benchmarks.student --data amazon-games --games FOLDER --lists 800

Cold items, where what is known of a person in the test is what the labels were made of: so the teacher's lists are in
the labels, and the language model is asked once. Each seed is a split of its own. A ranker is tuned on it if there is
none yet, and `whyrec label` asks it about as many people as --lists says. Then for each budget the language model's
part in the labels of a share of them is used and that of all others is left out, as if it had not been asked. Three
seeds of students; users are those whose lists the language model was asked for. Where no gain of the ranker was proven
it is asked for none: then the teacher is the scorers, for everybody with a list.

teacher: the labels themselves. scorers: what the model was given. cosine, soft-knn, tower, text-ease: scorers alone,
with their parameters from validation. twin: the student before it is taught. student: taught with the model's part in
the labels of half of the people (`labelled=yes`, the others `labelled=no`). Controls, taught by lists of the same
people: by-scorers, without the model; by-text-ease, by the scorer that the tables begin with; shuffled, with what the
model said of each list's items dealt to them anew. own-lists: the model's part stays with the lists that it was asked
for. Ablations, as the student but for one setting. `labels=5%` and so on: of the student with other budgets.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib import pyplot

from agent.cli.console import Steps, say
from agent.cli.options import open_workspace
from agent.distillation import shared, teacher_lists, with_model
from agent.evaluation.measure import Key, Measured, Surroundings
from agent.evaluation.report import PRIMARY, pooled
from agent.evaluation.strata import labelled_strata, user_strata
from agent.evaluation.study import Question, Study
from agent.evaluation.tuning import tuned
from agent.gate import GRID, put_together
from agent.models import Models
from agent.ranking_lists import find_retrieval
from agent.teacher import Teacher, find_teacher
from agent.twin_tuning import student_config
from benchmarks.comparing import STUDENTS, TAUGHT, TRIALS, measured, parser, surroundings, write_comparison
from benchmarks.quality import GAMES, workspace
from benchmarks.quality import whyrec as run
from benchmarks.ranker import tune_unless_there
from benchmarks.reporting import RESULTS
from finetune.distill import Distillation, distil
from retrieval.cf.scorer import System
from retrieval.cf.student import Student
from retrieval.data.histories import Histories
from retrieval.data.labels import LABELS, LabelStore
from retrieval.ranking import Floats, Top
from retrieval.text.text_ease import TextEase

SPLIT, LISTS = "cold-items", 1_000
ALONE = ("cosine", "soft-knn", "tower", TextEase.name)  # scorers that are measured beside the students
BUDGETS = (0.01, 0.02, 0.05, 0.1, 0.2, 1.0)  # shares of the people whose lists were labelled, beside none and half
HALF = 0.5
ABLATIONS = {
    "without-decay": replace(TAUGHT, decay=0.0),
    "forgetting": replace(TAUGHT, forgotten=0.2),
    "liked-too": replace(TAUGHT, liked=0.1),
    "adversarial": replace(TAUGHT, adversarial=1.0),
    "softer": replace(TAUGHT, temperature=1.0),
    "half-as-long": replace(TAUGHT, epochs=TAUGHT.epochs // 2),
}


class Listed(System):
    """The lists of labels, in the order of one of their columns; nothing for users without labels."""

    def __init__(self, name: str, labels: pl.DataFrame, by: str):
        self.name = name
        ordered = labels.sort(by, "item_id", descending=[True, False])
        lists = ordered.group_by("user_id", maintain_order=True).agg("item_id")
        self._lists: dict[str, list[str]] = dict(lists.iter_rows())

    def top(self, histories: Histories, k: int, *, exclude: object = None, candidates: object = None) -> Top:  # noqa: ARG002
        """As `System.top`; what is excluded and what may be listed was known when the labels were made."""
        column_of = {item_id: column for column, item_id in enumerate(histories.items)}
        columns = np.full((len(histories), k), -1, dtype=np.int64)
        for row, user in enumerate(histories.users):
            ids = self._lists.get(user, [])[:k]
            columns[row, : len(ids)] = [column_of[item_id] for item_id in ids]
        places = np.where(columns >= 0, -np.arange(k), -np.inf)
        return Top(columns, places.astype(np.float32))


@dataclass(frozen=True)
class Bench:
    """The labels of one split, and what students are made of."""

    study: Study
    teacher: Teacher
    twin: Student
    labels: pl.DataFrame

    @property
    def asked(self) -> pl.Series:
        """Users whose lists the language model was asked for."""
        return with_model(self.labels)["user_id"].unique().sort()

    def with_budget(self, share: float) -> pl.DataFrame:
        """The labels in which the language model has a say for so many of those it was asked about."""
        drawn = np.random.default_rng(self.study.seed).permutation(len(self.asked))[: round(share * len(self.asked))]
        kept = pl.col("user_id").is_in(self.asked.gather(drawn).implode())
        score = pl.when(kept).then("score").otherwise("retrieved")
        return self.labels.with_columns(score=score, ranked=pl.when(kept).then("ranked"))

    def taught(self, labels: pl.DataFrame, how: Distillation = TAUGHT) -> list[Student]:
        """The twin, taught by these as `whyrec distill` does, with each seed."""
        return self.taught_by(shared(self.teacher.with_say(labels)), how)

    def taught_by(self, labels: pl.DataFrame, how: Distillation = TAUGHT) -> list[Student]:
        """The twin, taught by each list as it is."""
        lists = teacher_lists(labels, self.teacher.room)
        return [distil(self.twin, lists, replace(how, seed=seed)) for seed in range(STUDENTS)]

    def around(self, labels: pl.DataFrame) -> Surroundings:
        """Users whose lists the model was asked for, in two groups: by whether these labels have its part."""
        task = self.study.task("test")
        users = self.asked if len(self.asked) else self.labels["user_id"].unique()
        rows = np.flatnonzero(np.isin(np.array(task.histories.users, dtype=object), users.to_list()))
        task = replace(task, histories=task.histories.take(rows), held_out=task.held_out[rows])
        return surroundings(
            self.study, task, user_strata(task, None) | labelled_strata(task, with_model(labels)["user_id"])
        )


def dealt_anew(labels: pl.DataFrame, seed: int) -> pl.DataFrame:
    """What the language model said of the items of each list, dealt to them by chance."""
    rng = np.random.default_rng(seed)
    parts = []
    for _, one in labels.group_by(["user_id"], maintain_order=True):
        if one["ranked"].null_count() == 0:
            before, said = one["retrieved"].to_numpy(), one["ranked"].to_numpy()
            dealt = rng.permutation(said)
            scores = put_together(before, dealt, weight(before, said, one["score"].to_numpy()))
            one = one.with_columns(ranked=pl.Series(dealt), score=pl.Series(scores))  # noqa: PLW2901
        parts.append(one)
    return pl.concat(parts)


def weight(before: Floats, said: Floats, score: Floats) -> float:
    """By which a list was put together."""
    return min(GRID, key=lambda alpha: float(np.abs(put_together(before, said, alpha) - score).max()))


def prepared(root: Path, seed: int, trials: int, lists: int) -> Bench:
    """Tune, label and make the twin."""
    tune_unless_there(root, SPLIT, seed, trials)
    run("label", "--split", SPLIT, "--trials", trials, "--seed", seed, "-w", root, "--lists", lists, settings={})
    opened = open_workspace(root)
    study = Study(opened.workspace, opened.settings, Models(opened.settings, say), Question(SPLIT), seed)
    with Steps() as watch:
        retrieval = find_retrieval(study, trials, watch)
        teacher, why = find_teacher(study, retrieval, measured=True)
        if why:
            watch.note(f"the language model has no say: {why}")
        twin = Student.fit(teacher.room.data, student_config(study, trials, watch))
    return Bench(study, teacher, twin, LabelStore(root / LABELS).of(teacher.fingerprint, "whyrec label")[0])


def by_text_ease(bench: Bench, text_ease: System) -> pl.DataFrame:
    """Lists of the same people by the one scorer that the tables begin with."""
    room, users = bench.teacher.room, bench.labels["user_id"].unique().to_list()
    people = room.data.histories
    people = people.take(np.flatnonzero(np.isin(np.array(people.users, dtype=object), users)))
    found = text_ease.top(people, bench.study.settings.ranking.candidates, candidates=room.among)
    rows = [
        (user, people.items[column], float(score))
        for user, columns, scores in zip(people.users, found.columns, found.scores, strict=True)
        for column, score in zip(columns, scores, strict=True)
        if column >= 0
    ]
    return pl.DataFrame(rows, ["user_id", "item_id", "score"], orient="row")


def systems(bench: Bench, trials: int) -> Iterator[tuple[str, Sequence[System]]]:
    """Each with one version for each seed of students, or with one for all."""
    half = bench.with_budget(HALF)
    yield "teacher", [Listed("teacher", bench.labels, "score")]
    yield "scorers", [Listed("scorers", bench.labels, "retrieved")]
    alone = {name: tuned(bench.study, name, trials).fit(bench.study, "test") for name in ALONE}
    yield from ((name, [one]) for name, one in alone.items())
    yield "twin", [bench.twin]
    yield "student", bench.taught(half)
    yield "by-scorers", bench.taught(bench.with_budget(0))
    yield "by-text-ease", bench.taught_by(by_text_ease(bench, alone[TextEase.name]))
    yield "shuffled", bench.taught(dealt_anew(half, bench.study.seed))
    yield "own-lists", bench.taught_by(half)
    for name, how in ABLATIONS.items():
        yield name, bench.taught(half, how)


def of_split(bench: Bench, trials: int) -> tuple[dict[str, Measured], dict[float, Measured]]:
    """Every system on one split, and the student by its share of labels."""
    seed, around = bench.study.seed, bench.around(bench.with_budget(HALF))
    found = {name: measured(name, versions_, around, seed) for name, versions_ in systems(bench, trials)}
    curve = {0.0: found["by-scorers"], HALF: found["student"]}
    for share in BUDGETS:
        curve[share] = measured(f"{share:.0%} of the labels", bench.taught(bench.with_budget(share)), around, seed)
    curve = dict(sorted(curve.items()))
    for share, one in curve.items():
        found["student"].by_user[Key(f"labels={share:.0%}", *PRIMARY[1:])] = one.by_user[PRIMARY]
    return found, curve


def plot(curve: dict[int, float], flat: dict[str, float], path: Path) -> None:
    """NDCG@10 by the number of lists that the language model was asked for; ``flat``: systems that need none."""
    figure, axes = pyplot.subplots(figsize=(7, 4))
    axes.plot(list(curve), list(curve.values()), marker="o", label="student")
    for (name, value), style in zip(flat.items(), ("-", "--", ":"), strict=False):
        axes.axhline(value, label=name, color="grey", linestyle=style)
    axes.set_xscale("symlog", linthresh=5)
    axes.set_xlim(left=0)
    axes.set_xlabel("lists that the language model has ordered")
    axes.set_ylabel("NDCG@10")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    """Measure students and write the report."""
    options = parser(__doc__)
    options.add_argument("--lists", type=int, default=LISTS, help="how many the language model is asked for")
    options.add_argument("--first", type=int, default=0, help="seed of the first split")
    options.add_argument("--base", help="the language model to tune and ask; without it that of the settings")
    asked = options.parse_args()
    if asked.base:
        os.environ["WHYREC_LANGUAGE_MODEL__MODEL"] = asked.base
    root, trials = workspace(asked.data, asked.work, asked.games, {}), TRIALS.get(asked.data, 8)
    benches = [prepared(root, seed, trials, asked.lists) for seed in range(asked.first, asked.first + asked.seeds)]
    found, curves = zip(*(of_split(bench, trials) for bench in benches), strict=True)
    name = f"{asked.data}-student-{SPLIT}" + (f"-{Path(asked.base).name}" if asked.base else "")
    given = {"data": asked.data, "lists": asked.lists, "first": asked.first, "seeds": asked.seeds}
    given |= {"base": asked.base} if asked.base else {}
    given |= {"games": "FOLDER"} if asked.data == GAMES else {}
    command = " ".join(["python -m benchmarks.student", *(f"--{option} {value}" for option, value in given.items())])
    meta = {
        "split": {"name": SPLIT, "fingerprint": {one.study.seed: one.study.split.fingerprint for one in benches}},
        "trials": trials,
        "lists": {one.study.seed: len(one.asked) for one in benches},
        "teacher": {one.study.seed: one.teacher.fingerprint for one in benches},
    }
    write_comparison(name, command, found, (asked.data, SPLIT), ("student", "teacher"), meta)
    whole = {system: pooled([one[system] for one in found]) for system in ("teacher", "scorers", "twin")}
    flat = {system: float(np.nanmean(one.by_user[PRIMARY])) for system, one in whole.items()}
    lists = np.mean([len(bench.asked) for bench in benches])
    means = {
        round(share * lists): float(np.nanmean(pooled([curve[share] for curve in curves]).by_user[PRIMARY]))
        for share in curves[0]
    }
    plot(means, flat, RESULTS / f"{name}.svg")


if __name__ == "__main__":
    main()
