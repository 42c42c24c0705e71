"""`whyrec evaluate explanations`."""

import shlex
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from agent.cli.console import Format, Steps, print_rows, say
from agent.cli.evaluate import NameOption, OutOption, check_new, folder_of_now
from agent.cli.options import DEFAULT_WORKSPACE, FormatOption, SeedOption, WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from agent.evaluation.report import Row

READ = 50  # explanations that the page shows


def explanations(
    count: Annotated[int, typer.Option(min=1, help="How many, ten for a user; users are drawn at random.")] = 1000,
    systems: Annotated[
        str, typer.Option(help="Who words them: writer, lm-zero-shot (the language model untuned), template.")
    ] = "writer,template",
    seed: SeedOption = 0,
    name: NameOption = None,
    out: OutOption = None,
    form: FormatOption = Format.table,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Measure how true, varied and personal the explanations of recommended lists are.

    What they claim is checked against items and events by rules that know neither evidence nor verifier. Writes
    report.json, and report.html with fifty of them beside their evidence, to be read.

    Example:  whyrec evaluate explanations --count 200
    """
    from agent.evaluation.explained import SYSTEMS, ExplanationStudy, beside_evidence, score_of
    from agent.evaluation.explained_page import render_page
    from agent.evaluation.output import machine, versions, write_report
    from agent.models import Models
    from agent.recommender import Recommender, serving

    wanted = tuple(dict.fromkeys(part.strip() for part in systems.split(",")))
    if unknown := [one for one in wanted if one not in SYSTEMS]:
        raise typer.BadParameter(f"--systems has no {unknown[0]!r}: {', '.join(SYSTEMS)} are there")
    opened = open_workspace(workspace)
    check_new(out)
    settings = opened.settings.without_downgrade()
    models = Models(settings, say)
    recommender = Recommender(opened.workspace, settings, models, serving(opened.workspace, settings))
    score = score_of(opened.workspace, settings, models)
    rows: list[Row] = []
    shown: list[dict[str, Any]] = []
    with Steps() as watch:
        study = ExplanationStudy(opened.workspace, recommender, settings.events.liked_from, score, seed, watch)
        for system in wanted:
            found, written = study.run(count, system, name or opened.workspace.name)
            rows += found
            shown = shown or beside_evidence(written, READ, seed)
    meta = {
        "command": shlex.join(["whyrec", *sys.argv[1:]]),
        "seed": seed,
        "count": count,
        "catalog": opened.workspace.catalog_fingerprint,
        "events": opened.workspace.events_fingerprint,
        "versions": versions(),
        "machine": machine(),
    }
    report: dict[str, Any] = {"meta": meta, "rows": [asdict(row) for row in rows], "comparisons": []}
    folder = out or folder_of_now(opened.workspace.root)
    write_report(folder, report, render_page(report, shown))
    print_rows(report["rows"], form, as_table(rows))
    say(f"Report: {folder / 'report.html'}")


def as_table(rows: "list[Row]") -> Table:
    """A row for each metric, a column for each system."""
    systems = list(dict.fromkeys(row.system for row in rows))
    table = Table(box=None, pad_edge=False)
    table.add_column("metric", style="bold", overflow="fold")
    for system in systems:
        table.add_column(system, justify="right", no_wrap=True)
    means = {(row.metric, row.system): row.mean for row in rows}
    for metric in dict.fromkeys(row.metric for row in rows):
        cells = [means[metric, system] for system in systems]
        table.add_row(*map(Text, [metric, *("-" if mean is None else f"{mean:.3f}" for mean in cells)]))
    return table
