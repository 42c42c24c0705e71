"""`whyrec doctor`."""

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.console import Format, print_rows, say
from agent.cli.options import DEFAULT_WORKSPACE, FormatOption, WorkspaceOption

BenchOption = Annotated[
    bool, typer.Option("--bench", help="Measure the encoder's backends instead, in less than a minute.")
]


def doctor(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    form: FormatOption = Format.table,
    bench: BenchOption = False,
) -> None:
    """Check versions, machine, models and workspace; each line says ok, or what to do.

    Exits with 1 when something is missing, stale or wrong.

    Example:  whyrec doctor --format json
    """
    if bench:
        _measure(workspace, form)
        return
    from agent.diagnosis import diagnose

    findings = diagnose(workspace, Path.cwd())
    print_rows([finding.as_row() for finding in findings], form)
    if any(finding.state in ("missing", "stale", "wrong") for finding in findings):
        raise typer.Exit(1)


def _measure(root: Path, form: Format) -> None:
    from agent.encoder_speed import compare_backends, made_up_texts
    from agent.settings import load_settings
    from retrieval.data.workspace import Workspace

    settings = load_settings(Workspace(root).settings_path if root.exists() else None)
    texts = made_up_texts()
    say(f"Encoding {len(texts)} made-up texts in turns with each backend")
    rows = [measured.as_row() for measured in compare_backends(settings, texts, say)]
    print_rows(rows, form)
