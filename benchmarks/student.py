"""What a student learns from its teacher, and from whom: the committed reports `<data>-student-cold-items.json`.

    python -m benchmarks.student --data movielens-small
    python -m benchmarks.student --data amazon-games --games FOLDER --lists 500

Cold items, where what is known of a person in the test is what the labels were made of: so the teacher's lists are in
the labels, and the language model is asked once. A ranker is tuned on the split if there is none yet
(`benchmarks.ranker` does the same), `whyrec label` asks it about as many people as --lists says. Then for each budget
the language model's part in the labels of a share of them is used and that of all others is left out, as if it had not
been asked. Three seeds of students; users are those whose lists the language model was asked for.

teacher: the labels themselves. scorers: what the model was given. twin: the student before it is taught. student:
taught with the model's part in the labels of half of the people (`labelled=yes`, the others `labelled=no`). Controls,
taught by lists of the same people: by-scorers, without the model; by-text-ease, by the scorer that the tables begin
with; shuffled, with what the model said of each list's items dealt to them anew. Ablations, as the student but for one
setting. `labels=5%` and so on: of the student with other budgets.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib import pyplot

from agent.cli.console import Steps, say
from agent.cli.options import open_workspace
from agent.distillation import student_config, teacher_lists
from agent.evaluation.measure import Key, Measured, Surroundings, measure
from agent.evaluation.output import as_text, machine, versions
from agent.evaluation.report import PRIMARY, Rows, comparisons, pooled
from agent.evaluation.strata import item_strata, labelled_strata, user_strata
from agent.evaluation.study import Question, Study
from agent.evaluation.tuning import tuned
from agent.gate import put_together
from agent.models import Models
from agent.ranking_lists import Retrieval, find_retrieval
from agent.teacher import Teacher, find_teacher
from benchmarks.quality import DEMOS, GAMES, workspace
from benchmarks.quality import whyrec as run
from benchmarks.ranker import is_tuned
from benchmarks.reporting import RESULTS
from finetune.distill import Distillation, distil
from retrieval.cf.fused import SINGLE, Fusion
from retrieval.cf.scorer import System
from retrieval.cf.student import Student
from retrieval.data.histories import Histories
from retrieval.data.labels import LABELS, LabelStore
from retrieval.ranking import Floats, Top
from retrieval.text.text_ease import TextEase

SPLIT, SEED, SEEDS, TRIALS = "cold-items", 0, 3, 8
BUDGETS = (0.01, 0.02, 0.05, 0.1, 0.2, 1.0)  # shares of the people whose lists were labelled, beside none and half
HALF = 0.5
DEFAULT = Distillation()
ABLATIONS = {
    "without-decay": replace(DEFAULT, decay=0.0),
    "forgetting": replace(DEFAULT, forgotten=0.2),
    "liked-too": replace(DEFAULT, liked=0.1),
    "adversarial": replace(DEFAULT, adversarial=1.0),
    "softer": replace(DEFAULT, temperature=1.0),
    "half-as-long": replace(DEFAULT, epochs=DEFAULT.epochs // 2),
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
        return self.labels.filter(pl.col("ranked").is_not_null())["user_id"].unique().sort()

    def with_budget(self, share: float) -> pl.DataFrame:
        """The labels in which the language model has a say for so many of those it was asked about."""
        drawn = np.random.default_rng(SEED).permutation(len(self.asked))[: round(share * len(self.asked))]
        kept = pl.col("user_id").is_in(self.asked.gather(drawn).implode())
        score = pl.when(kept).then("score").otherwise("retrieved")
        return self.labels.with_columns(score=score, ranked=pl.when(kept).then("ranked"))

    def taught(self, labels: pl.DataFrame, how: Distillation = DEFAULT) -> list[Student]:
        """The twin, taught by these, with each seed."""
        lists, _ = teacher_lists(labels, self.teacher.room)
        return [distil(self.twin, lists, replace(how, seed=seed)) for seed in range(SEEDS)]

    def surroundings(self, labels: pl.DataFrame) -> Surroundings:
        """Users whose lists the model was asked for, in two groups: by whether these labels have its part."""
        study, task = self.study, self.study.task("test")
        rows = np.flatnonzero(np.isin(np.array(task.histories.users, dtype=object), self.asked.to_list()))
        task = replace(task, histories=task.histories.take(rows), held_out=task.held_out[rows])
        people = user_strata(task, None) | labelled_strata(task, labels)
        relevant, liked = study.relevant(task), task.relevant(study.settings.events.liked_from)
        return Surroundings(task, relevant, liked, item_strata(task), people, None, None)


def dealt_anew(labels: pl.DataFrame) -> pl.DataFrame:
    """What the language model said of the items of each list, dealt to them by chance."""
    rng = np.random.default_rng(SEED)
    parts = []
    for _, one in labels.group_by(["user_id"], maintain_order=True):
        if one["ranked"].null_count() == 0:
            before, said = one["retrieved"].to_numpy(), one["ranked"].to_numpy()
            dealt = rng.permutation(said)
            scores = put_together(before, dealt, weights(before, said, one["score"].to_numpy()))
            one = one.with_columns(ranked=pl.Series(dealt), score=pl.Series(scores))  # noqa: PLW2901
        parts.append(one)
    return pl.concat(parts)


def weights(before: Floats, said: Floats, score: Floats) -> Floats:
    """By which a list was put together: all its items are cold, so they have the same."""
    grid = [np.full(len(said), alpha, dtype=np.float32) for alpha in np.linspace(0, 1, 101)]
    return min(grid, key=lambda alphas: float(np.abs(put_together(before, said, alphas) - score).max()))


def prepared(root: Path, lists: int) -> Bench:
    """Tune, label and make the twin."""
    split = ("--split", SPLIT, "--trials", TRIALS, "--seed", SEED, "-w", root)
    if not is_tuned(root, SPLIT, SEED):
        run("finetune", "ranker", *split, "--lists", 1_000, "--start-from", "none", settings={})
    run("label", *split, "--lists", lists, settings={})
    opened = open_workspace(root)
    study = Study(opened.workspace, opened.settings, Models(opened.settings, say), Question(SPLIT), SEED)
    with Steps() as watch:
        retrieval = find_retrieval(study, TRIALS, watch)
        teacher, why = find_teacher(study, retrieval, measured=True)
        if why:
            raise SystemExit(f"the language model has no say: {why}")
        twin = Student.fit(teacher.room.data, student_config(study, TRIALS, watch))
    return Bench(study, teacher, twin, LabelStore(root / LABELS).of(teacher.fingerprint))


def by_text_ease(bench: Bench) -> pl.DataFrame:
    """Lists of the same people by the one scorer that the tables begin with."""
    people = bench.teacher.histories
    alone, name = Fusion(SINGLE, (TextEase.name,), (1.0,)), TextEase.name
    retrieval = Retrieval(bench.study, alone, [tuned(bench.study, name, TRIALS)])
    size = bench.study.settings.ranking.candidates
    found = retrieval.fit(people).top(people, size, candidates=bench.teacher.room.among)
    hashes = bench.teacher.hashes(range(len(people)))
    rows = [
        (user, known, people.items[column], float(score))
        for user, known, columns, scores in zip(people.users, hashes, found.columns, found.scores, strict=True)
        for column, score in zip(columns, scores, strict=True)
        if column >= 0
    ]
    return pl.DataFrame(rows, schema=["user_id", "history", "item_id", "score"], orient="row")


def systems(bench: Bench) -> Iterator[tuple[str, Sequence[System]]]:
    """Each with one version for each seed, or with one for all."""
    half = bench.with_budget(HALF)
    yield "teacher", [Listed("teacher", bench.labels, "score")]
    yield "scorers", [Listed("scorers", bench.labels, "retrieved")]
    yield "twin", [bench.twin]
    lists = {
        "student": half,
        "by-scorers": bench.with_budget(0),
        "by-text-ease": by_text_ease(bench),
        "shuffled": dealt_anew(half),
    }
    for name, labels in lists.items():
        yield name, bench.taught(labels)
    for name, how in ABLATIONS.items():
        yield name, bench.taught(half, how)


def measured(name: str, versions_: Sequence[System], around: Surroundings) -> list[Measured]:
    """One system with the figures of each seed."""
    return [replace(measure(one, around, seed, None), system=name, seed=seed) for seed, one in enumerate(versions_)]


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=(*DEMOS, GAMES), default="movielens-small")
    parser.add_argument("--lists", type=int, default=1_000, help="how many the language model is asked for")
    parser.add_argument("--games", type=Path, help="folder of Amazon Games with items.parquet and interactions.parquet")
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where workspaces are kept")
    asked = parser.parse_args()
    bench = prepared(workspace(asked.data, asked.work, asked.games, {}), asked.lists)
    around = bench.surroundings(bench.with_budget(HALF))
    runs: dict[str, list[Measured]] = {}
    for name, each in systems(bench):
        runs[name] = measured(name, each, around)
        print(name, round(float(np.nanmean(pooled(runs[name]).by_user[PRIMARY])), 4), flush=True)
    curve = {0.0: pooled(runs["by-scorers"]), HALF: pooled(runs["student"])}
    for share in BUDGETS:
        curve[share] = pooled(measured("student", bench.taught(bench.with_budget(share)), around))
    curve = dict(sorted(curve.items()))
    for share in curve:
        overall = {Key(f"labels={share:.0%}", *key[1:]): v for key, v in curve[share].by_user.items() if key == PRIMARY}
        for one in runs["student"]:
            one.by_user.update(overall)
        print(f"{share:.0%}", round(float(np.nanmean(curve[share].by_user[PRIMARY])), 4), flush=True)
    rows = [row for found in runs.values() for row in Rows(asked.data, SPLIT).of(found)]
    whole = {name: pooled(found) for name, found in runs.items()}
    name = f"{asked.data}-student-{SPLIT}"
    meta = {
        "command": f"python -m benchmarks.student --data {asked.data} --lists {asked.lists}",
        "split": {"name": SPLIT, "seed": SEED, "fingerprint": bench.study.split.fingerprint},
        "student_seeds": SEEDS,
        "trials": TRIALS,
        "lists": len(bench.asked),
        "distillation": asdict(Distillation()),
        "teacher": bench.teacher.fingerprint,
        "versions": versions(),
        "machine": machine(),
    }
    report = {"meta": meta, "rows": [asdict(row) for row in rows], "comparisons": comparisons(whole, "student")}
    (RESULTS / f"{name}.json").write_text(as_text(report), encoding="utf-8")
    flat = {one: float(np.nanmean(whole[one].by_user[PRIMARY])) for one in ("teacher", "scorers", "twin")}
    means = {round(share * len(bench.asked)): float(np.nanmean(one.by_user[PRIMARY])) for share, one in curve.items()}
    plot(means, flat, RESULTS / f"{name}.svg")


if __name__ == "__main__":
    main()
