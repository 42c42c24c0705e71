"""What shaping a list costs in accuracy and what it buys: `list-shaping.json` and `list-shaping.svg`.

    python -m benchmarks.list_shaping

MovieLens-small, temporal split, by `whyrec evaluate`: what `whyrec recommend` serves there (`fused`), with each step at
several strengths; nothing is chosen by these figures. ``fast``: the untaught twin as `recommend --mode fast` serves it,
whose diversity goes by the student's own vectors; it is measured by the items' text like the others.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot, rc_context

from agent.cli.console import Steps
from agent.cli.options import open_workspace
from agent.evaluation import plots
from agent.evaluation.measure import Surroundings, measure
from agent.evaluation.output import as_text
from agent.evaluation.report import Rows
from agent.evaluation.run import Evaluation
from agent.evaluation.seed_run import SERVED, Plan
from agent.evaluation.strata import genres
from agent.evaluation.study import Question, Study
from agent.models import Models
from benchmarks.quality import workspace
from benchmarks.reporting import RESULTS
from retrieval.cf.scorer import System
from retrieval.cf.student import Student, StudentConfig
from retrieval.ranking import Top
from retrieval.shaping import POOL, STEPS, diversified

DATA, SPLIT, TRIALS, K = "movielens-small", "temporal", 8, 10
STRENGTHS = (0.1, 0.3, 0.5, 0.7, 1.0)
FAST = "fast"
SHOWN = {
    "diversity": "diversity (mean of 1 − cosine of the texts)",
    "novelty": "novelty (bits)",
    "coverage": "coverage",
    "miscalibration": "miscalibration (nats)",
}


class Diverse(System):
    """The student's lists as `agent.fast` diversifies them."""

    def __init__(self, student: Student, strength: float):
        self.name = FAST if strength == 0 else shaped(FAST, "diversity", strength)
        self._student, self._strength = student, strength
        self._unit = student.vectors / np.maximum(np.linalg.norm(student.vectors, axis=1, keepdims=True), 1e-9)

    def top(self, histories, k, *, exclude=None, candidates=None) -> Top:
        found = self._student.top(histories, max(k, POOL), exclude=exclude, candidates=candidates)
        ranked = diversified(found.rankings(histories.items), self._unit[found.columns], self._strength).first(k)
        column_of = {item_id: column for column, item_id in enumerate((*histories.items, ""))}
        columns = np.array([[column_of[item_id] for item_id in row] for row in ranked.ids.tolist()])
        return Top(np.where(columns == len(histories.items), -1, columns), ranked.scores)


def shaped(system: str, step: str, strength: float) -> str:
    """What `whyrec evaluate` calls it."""
    return f"{system}+{step}={strength:g}"


def fast_rows(study: Study) -> list[dict[str, Any]]:
    """The figures of the twin, plain and diversified."""
    task = study.task("test")
    relevant, liked = study.relevant(task), task.relevant(study.settings.events.liked_from)
    around = Surroundings(
        task, relevant, liked, {}, {}, genres(study.workspace.catalog, task.items), study.vectors
    )  # fmt: skip
    student = Student.fit(study.training_data("test"), StudentConfig())
    runs = [Diverse(student, strength) for strength in (0.0, *STRENGTHS)]
    found = [replace(measure(one, around, 0, None), system=one.name) for one in runs]
    return [asdict(row) for one in found for row in Rows(DATA, SPLIT).of([one])]


def plot(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """NDCG@10 against each other figure: a line for each step, from the plain list on."""
    means = {(row["system"], row["metric"]): row["mean"] for row in rows}
    lines = {step: [SERVED, *(shaped(SERVED, step, strength) for strength in STRENGTHS)] for step in STEPS}
    lines["diversity, fast"] = [FAST, *(shaped(FAST, "diversity", strength) for strength in STRENGTHS)]
    styles = plots.styles_of(list(lines))
    figure, axes = pyplot.subplots(2, 2, figsize=(10, 8), sharey=True)
    for place, (metric, label) in zip(axes.flat, SHOWN.items(), strict=True):
        for name, systems in lines.items():
            xs, ys = ([means[system, one] for system in systems] for one in (metric, "ndcg"))
            look = {"color": styles[name].colour, "marker": styles[name].marker, "markeredgecolor": "white"}
            place.plot(xs, ys, label=name, linewidth=1, **look)
        for name in (SERVED, FAST):
            place.plot(means[name, metric], means[name, "ndcg"], marker="x", color="black", zorder=4)
        place.set_xlabel(label)
        place.spines[["top", "right", "left"]].set_visible(False)
        place.grid(color="#dddddd", linewidth=0.8)
        place.tick_params(length=0)
    for place in axes[:, 0]:
        place.set_ylabel(f"NDCG@{K}")
    axes[0, 0].legend(frameon=False, title=f"×: plain; then {', '.join(map(str, STRENGTHS))}", title_fontsize="small")
    figure.tight_layout()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": path.stem}):
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure, and write report and plot."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--work", type=Path, default=Path(".bench"), help="where workspaces are kept")
    opened = open_workspace(workspace(DATA, options.parse_args().work, None, {}))
    models = Models(opened.settings)
    systems = (SERVED, *(shaped(SERVED, step, strength) for step in STEPS for strength in STRENGTHS))
    plan = Plan(Question(SPLIT), systems, trials=TRIALS, reference=SERVED, data=DATA)
    with Steps() as watch:
        evaluation = Evaluation(opened.workspace, opened.settings, models, plan, watch)
        report = evaluation.run("python -m benchmarks.list_shaping")
        evaluation.finish()
    rows = report["rows"] + fast_rows(Study(opened.workspace, opened.settings, models, Question(SPLIT), 0))
    rows = [row for row in rows if row["metric"] in ("ndcg", *SHOWN) and row["k"] == K and row["stratum"] == "all"]
    compared = [one for one in report["comparisons"] if (one["metric"], one["k"]) == ("ndcg", K)]
    text = as_text({"meta": report["meta"], "rows": rows, "comparisons": compared})
    (RESULTS / "list-shaping.json").write_text(text, encoding="utf-8")
    plot(rows, RESULTS / "list-shaping.svg")


if __name__ == "__main__":
    main()
