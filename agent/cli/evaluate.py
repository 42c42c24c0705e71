"""`whyrec evaluate`."""

import shlex
import shutil
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from agent.cli.console import Format, Steps, note, print_rows, say
from agent.cli.options import DEFAULT_WORKSPACE, FormatOption, WorkspaceOption, open_workspace

PROVEN = 0.05
WIDE = 80  # characters that all columns need
SCORER_NAMES = ("popularity", "item-knn", "bias-knn", "mf", "ease", "ials", "cosine", "soft-knn", "tower", "text-ease")
FUSION_NAMES = ("weighted", "cascade", "borda", "rrf", "stacked")
SERVED_NAMES = ("fused", "ranked")  # the very pipeline of recommend, without and with the tuned ranker
STUDENT_NAMES = ("twin", "student")  # before and after it was taught
NAMES = (*SCORER_NAMES, *FUSION_NAMES, *SERVED_NAMES, *STUDENT_NAMES)
SHOWN = (("ndcg", 10), ("recall", 10), ("mrr", 10), ("coverage", 10), ("latency-p50", 10))


class SplitChoice(StrEnum):
    """How events are cut into what is learnt from and what is tested on."""

    temporal = "temporal"
    leave_last = "leave-last"
    users = "users"
    cold_items = "cold-items"
    random = "random"


class RelevantChoice(StrEnum):
    """Which held-out events are to be found."""

    liked = "liked"
    any = "any"


SplitOption = Annotated[
    SplitChoice | None,
    typer.Option(help="How events are cut.", show_default="temporal, or what the times allow"),
]
HeldOutOption = Annotated[
    SplitChoice | None,
    typer.Option(
        "--split", help="Leave the test part of this split out, to measure on it.", show_default="all events are used"
    ),
]
RelevantOption = Annotated[
    RelevantChoice, typer.Option(help="What is to be found: held-out items that were liked, or any.")
]
TrialsOption = Annotated[int, typer.Option(min=1, max=1000, help="Parameter trials for each scorer on validation.")]

NameOption = Annotated[
    str | None, typer.Option(help="What the data are called in the report.", show_default="the folder's name")
]
OutOption = Annotated[
    Path | None, typer.Option(help="A new folder for the report.", show_default="reports/TIME in the workspace")
]

app = typer.Typer(invoke_without_command=True)


@app.callback()
def evaluate(
    context: typer.Context,
    split: SplitOption = None,
    systems: Annotated[
        str,
        typer.Option(
            help=f"all, or some of these, divided by commas: {', '.join(NAMES)}. The lists of fused and ranked can be "
            "shaped as by recommend: fused+diversity=0.3, fused+novelty=0.2+calibrated=0.4."
        ),
    ] = "all",
    users: Annotated[
        int | None, typer.Option(min=1, help="At most so many users, drawn at random.", show_default="all")
    ] = None,
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Of the users, as many as are known before the test: a young workspace.")
    ] = 1.0,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="How many times, each with another seed.")] = 1,
    first_seed: Annotated[int, typer.Option(min=0, help="The first of these seeds.")] = 0,
    trials: TrialsOption = 20,
    relevant: RelevantOption = RelevantChoice.liked,
    reference: Annotated[
        str | None, typer.Option(help="The system that all others are compared with.", show_default="the best")
    ] = None,
    name: NameOption = None,
    out: OutOption = None,
    form: FormatOption = Format.table,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Measure how good the recommendations are, on events that nothing has seen, against tuned scorers.

    Writes report.json and report.html. Interrupted, it goes on where it was when given again.

    Example:  whyrec evaluate --split cold-items --seeds 3

    Example:  whyrec evaluate --systems fused,fused+diversity=0.3,fused+diversity=0.6
    """
    if context.invoked_subcommand is not None:
        return
    from agent.evaluation.run import Evaluation
    from agent.evaluation.seed_run import Plan
    from agent.evaluation.study import Question
    from agent.models import Models
    from retrieval.errors import command

    opened = open_workspace(workspace)
    check_new(out)
    names = tuple(dict.fromkeys(part.strip() for part in systems.split(",") if part.strip()))
    if not names:
        raise typer.BadParameter("--systems names none; write all, or names divided by commas")
    plan = Plan(
        Question(split.value if split else None, relevant.value, users, share),
        () if names == ("all",) else names,
        seeds,
        trials,
        reference,
        name or opened.workspace.name,
        first_seed,
    )
    with opened.workspace.writing(), Steps() as watch:
        evaluation = Evaluation(opened.workspace, opened.settings, Models(opened.settings), plan, watch)
        report = evaluation.run(shlex.join(["whyrec", *sys.argv[1:]]))
        folder = out or folder_of_now(opened.workspace.root)
        _write(folder, report)
        evaluation.finish()
    print_rows(report["rows"], form, as_table(report))
    _say_whether_proven(report)
    made = (opened.workspace.root / "models" / "fusion" / "current").is_file()
    if "fused" in {row["system"] for row in report["rows"]} and not made and opened.settings.ranking.fusion != "off":
        note(f"fused is what whyrec recommend will serve once you run: {command('tune', workspace)}")
    say(f"Report: {folder / 'report.html'}")


def check_new(out: Path | None) -> None:
    """Before an hour of measuring: that the report can be written there.

    Raises:
        typer.BadParameter: there is something already.
    """
    if out is not None and out.exists():
        raise typer.BadParameter(f"{out} exists already; name a new folder with --out")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)


def folder_of_now(root: Path) -> Path:
    """Where a workspace keeps a report that is made now."""
    return root / "reports" / datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")


def _write(folder: Path, report: dict[str, Any]) -> None:
    from agent.evaluation.output import write_report
    from agent.evaluation.page import render_page

    write_report(folder, report, render_page(report))


def as_table(report: dict[str, Any]) -> Table:
    """The overall figures, best first; on a narrow terminal only the first of them, with its interval."""
    shown = SHOWN if shutil.get_terminal_size().columns >= WIDE else SHOWN[:1]
    table = Table(box=None, pad_edge=False)
    table.add_column("system", no_wrap=True, style="bold")
    for place, (metric, k) in enumerate(shown):
        table.add_column("ms" if metric == "latency-p50" else f"{metric}@{k}", justify="right", no_wrap=True)
        if place == 0:
            table.add_column("95 %", justify="right", no_wrap=True)
    figures = {
        (row["system"], row["metric"], row["k"]): row
        for row in report["rows"]
        if row["stratum"] == "all" and row["seed"] is None
    }
    systems = list(dict.fromkeys(row["system"] for row in report["rows"]))
    for system in sorted(systems, key=lambda s: -(figures[s, *SHOWN[0]]["mean"] or 0)):
        first = figures[system, *SHOWN[0]]
        interval = "" if first["low"] is None else f"{first['low']:.3f} to {first['high']:.3f}"
        cells = [_cell(figures.get((system, metric, k)), metric) for metric, k in shown]
        table.add_row(*map(Text, (system, cells[0], interval, *cells[1:])))
    return table


def _cell(row: dict[str, Any] | None, metric: str) -> str:
    if row is None or row["mean"] is None:
        return "-"
    return f"{row['mean']:.1f}" if metric == "latency-p50" else f"{row['mean']:.3f}"


def _say_whether_proven(report: dict[str, Any]) -> None:
    users = report["meta"]["users"]
    left_out = users["without relevant items"]
    say(
        f"{users['evaluated']:,} users"
        + (f"; {left_out:,} left out: no relevant item is held out of them" if left_out else "")
        + "; 95 %: bootstrap intervals"
    )
    compared = [c for c in report["comparisons"] if c["metric"] == "ndcg" and c["p_holm"] is not None]
    if compared:
        first = compared[0]["system"]
        unproven = [c["reference"] for c in compared if c["p_holm"] >= PROVEN or c["delta"] <= 0]
        lead = f"not proven better than {', '.join(unproven)}" if unproven else "proven better than all others"
        say(f"{first}: {lead} (NDCG@10, paired bootstrap, Holm)")
