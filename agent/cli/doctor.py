"""`whyrec doctor`."""

from pathlib import Path

from agent.cli.console import Format, print_rows
from agent.cli.options import DEFAULT_WORKSPACE, FormatOption, WorkspaceOption


def doctor(workspace: WorkspaceOption = DEFAULT_WORKSPACE, form: FormatOption = Format.table) -> None:
    """Check versions, machine, models and workspace; each line says ok, or what to do.

    Example:  whyrec doctor --format json
    """
    from agent.diagnosis import diagnose

    print_rows([finding.as_row() for finding in diagnose(workspace, Path.cwd())], form)
