"""`whyrec doctor`."""

from pathlib import Path

import typer

from agent.cli.console import Format, print_rows
from agent.cli.options import DEFAULT_WORKSPACE, FormatOption, WorkspaceOption


def doctor(workspace: WorkspaceOption = DEFAULT_WORKSPACE, form: FormatOption = Format.table) -> None:
    """Check versions, machine, models and workspace; each line says ok, or what to do.

    Exits with 1 when something is missing, stale or wrong.

    Example:  whyrec doctor --format json
    """
    from agent.diagnosis import diagnose

    findings = diagnose(workspace, Path.cwd())
    print_rows([finding.as_row() for finding in findings], form)
    if any(finding.state in ("missing", "stale", "wrong") for finding in findings):
        raise typer.Exit(1)
