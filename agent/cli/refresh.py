"""`whyrec refresh`."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from agent.cli.console import Format, Steps, note, print_rows, say
from agent.cli.evaluate import TrialsOption
from agent.cli.init import report_table
from agent.cli.options import DEFAULT_WORKSPACE, FormatOption, WorkspaceOption, open_workspace
from retrieval.data.columns import parse_overrides
from retrieval.data.readers import scan_table

if TYPE_CHECKING:
    from agent.refresh.outcome import Refreshed
    from agent.settings import RefreshSettings
    from retrieval.data.workspace import Workspace
    from retrieval.drift import Drift


def refresh(
    events: Annotated[
        Path | None, typer.Argument(help="Further events, in any format that whyrec init reads.", show_default=False)
    ] = None,
    column_map: Annotated[
        list[str] | None, typer.Option("--map", help="Name a column, such as item_id=asin. Can be repeated.")
    ] = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave out rows that cannot be used, and count them.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Measure and say what would be done; keep nothing.")
    ] = False,
    psi: Annotated[
        float | None,
        typer.Option(
            min=0, help="Train again above this population stability index.", show_default="refresh.psi, 0.25"
        ),
    ] = None,
    fall: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Train again where quality fell by more than this share.",
            show_default="refresh.fall, 0.1",
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="NDCG@10 that may be lost at most, 95 % sure.", show_default="refresh.tolerance, 0.01"
        ),
    ] = None,
    held_out: Annotated[
        float | None,
        typer.Option(
            min=0.05,
            max=0.95,
            help="Share of the new events, the newest, to measure on.",
            show_default="refresh.held_out, 0.5",
        ),
    ] = None,
    ranker: Annotated[
        bool, typer.Option("--ranker", help="Measure the tuned ranker, too, and tune it again where it needs that.")
    ] = False,
    trials: TrialsOption = 20,
    seed: Annotated[int, typer.Option(min=0, help="For clusters and intervals; training keeps its own seeds.")] = 0,
    form: FormatOption = Format.table,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Read new events, measure what they change, train again what needs it, and let it serve if it is not worse.

    New is what an artefact was not made of: the events of the file, reactions after whyrec compact, what was imported
    since. What is trained again is measured against what serves on the newest of them, which neither has seen. Unless
    it may be worse it is promoted, else kept; whyrec models use goes back. Interrupted, everything stays as it was.

    Example:  whyrec refresh events-of-today.csv --dry-run
    """
    from agent.models import Models
    from agent.refresh.kinds import artefacts_of
    from agent.refresh.run import Refresher
    from agent.refresh.trial import trials as trials_in
    from retrieval.data.further_events import read_events

    opened = open_workspace(workspace)
    given = {"psi": psi, "fall": fall, "tolerance": tolerance, "held_out": held_out}
    rules = opened.settings.refresh.model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )
    table, part = (scan_table(events) if events else None), None
    if table is None and (column_map or skip_invalid):
        raise typer.BadParameter("--map and --skip-invalid are for a file of events, and none is given")
    if ranker and opened.settings.remote.ranker:
        raise typer.BadParameter("a remote ranker is not tuned; prove it again: whyrec finetune ranker --lists 0")
    models, command_line = Models(opened.settings, say), shlex.join(["whyrec", *sys.argv[1:]])
    with opened.workspace.writing(), trials_in(opened.workspace) as folder, Steps() as watch:
        if table is not None:
            overrides = parse_overrides(column_map or [])
            part, report = read_events(opened.workspace, table, overrides, folder, skip_invalid=skip_invalid)
            report_table("events", report)
        refresher = Refresher(opened.workspace, models, rules, folder, watch)
        kinds, watched = artefacts_of(opened.settings, models, trials, command_line, ranker=ranker)
        rows = refresher.run(kinds, watched, part, seed=seed, dry=dry_run)
        if not dry_run:
            refresher.commit()
    print_rows([row.row() for row in rows], form, as_table(rows))
    _say_what_follows(opened.workspace, rows, rules, dry=dry_run)


def _say_what_follows(workspace: "Workspace", rows: "list[Refreshed]", rules: "RefreshSettings", *, dry: bool) -> None:
    from retrieval.errors import command

    if not rows:
        say(f"Nothing that learns from events was made here yet; begin with: {command('tune', workspace.root)}")
    for row in rows:
        if row.why:
            say(f"{row.kind}: {row.decision}: {row.why}")
        if row.judged is None:
            continue
        found, now = row.judged, row.now.mean if row.now else 0.0
        measured = f"NDCG@10 {now:.4f} to {found.quality.mean:.4f} (gain above {found.gain.low:+.4f}, 95 % sure)"
        if row.decision == "promoted":
            back = command(f"models use {row.version}", workspace.root)
            say(f"{row.kind}: {measured}; {found.version} serves now, back with: {back}")
        else:
            ahead = command(f"models use {found.version}", workspace.root)
            say(f"{row.kind}: {measured}, and it may lose {rules.tolerance:g} at most; {row.version} still serves")
            say(f"  to use the new one all the same: {ahead}")
    if dry:
        note("nothing was changed (--dry-run)")
    waiting = sum(one.value is not None for one in workspace.feedback.kept()[0] if one.kind != "dislike")
    if waiting:
        note(f"{waiting:,} reactions are no events yet: {command('compact', workspace.root)}")


def as_table(rows: "list[Refreshed]") -> Table:
    """The rows for people, as wide as a terminal of 80 columns; versions are in what is said below."""
    table = Table(box=None, pad_edge=False)
    for name in ("artefact", "decision"):
        table.add_column(name, no_wrap=True)
    for name in ("events", "new", "PSI popularity", "PSI profile", "then", "now", "retrained"):
        table.add_column(name, justify="right", no_wrap=not name.startswith("PSI"))
    for row in rows:
        figures = row.row()
        qualities = (_short(figures[name]) for name in ("then", "now", "retrained"))
        cells = row.kind, row.decision, f"{row.events:,}", f"{row.new:,}"
        table.add_row(*map(Text, (*cells, _read(row.popularity), _read(row.profile), *qualities)))
    return table


def _read(drift: "Drift | None") -> str:
    return "" if drift is None else f"{drift.psi:.3f} {drift.reading}"


def _short(value: Any) -> str:
    return "" if value is None else f"{value:.4f}"
