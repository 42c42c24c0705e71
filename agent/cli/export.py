"""`whyrec export`: what was trained, for other programs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.console import say
from agent.cli.options import DEFAULT_WORKSPACE, WorkspaceOption, open_workspace

app = typer.Typer(help="Write what was trained for other programs.", no_args_is_help=True)


class ExportFormat(StrEnum):
    """What can be written."""

    npz = "npz"
    onnx = "onnx"


@app.callback()
def export() -> None:
    """Write what was trained for other programs."""


@app.command()
def student(
    to: Annotated[ExportFormat, typer.Option("--to", help="npz: arrays for numpy; onnx: a graph.")] = ExportFormat.npz,
    out: Annotated[
        Path | None, typer.Option(help="The file to write.", show_default="student.npz or student.onnx")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Write the student into one file that other programs can score with.

    Columns and rows are the items in order of their ids, which an npz file names. What was rated at least liked_from
    counts 1, the rest weak; of somebody with nothing so high, what is above their own mean counts 1.

    Example:  whyrec export student --to onnx --out student.onnx
    """
    from agent.exporting import export_npz, export_onnx
    from agent.fast import serving_student

    opened = open_workspace(workspace)
    stored, path = serving_student(opened.workspace), out or Path(f"student.{to.value}")
    if to is ExportFormat.onnx:
        export_onnx(stored.student, path)
    else:
        export_npz(stored.student, sorted(opened.workspace.catalog.ids), path)
    say(f"{path}: {stored.student.items:,} items, {path.stat().st_size / 2**20:.1f} MiB")
