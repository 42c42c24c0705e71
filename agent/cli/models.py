"""`whyrec models`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from agent.cli.console import Format, print_rows, say
from agent.cli.options import DEFAULT_WORKSPACE, FormatOption, WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from agent.stored import Stored

app = typer.Typer(help="List what was trained in the workspace, and choose what serves.", invoke_without_command=True)
VersionArgument = Annotated[str, typer.Argument(help="A version, or how it begins.", show_default=False)]
MEBIBYTE = 2**20


@app.callback()
def models(
    context: typer.Context, form: FormatOption = Format.table, workspace: WorkspaceOption = DEFAULT_WORKSPACE
) -> None:
    """List what was trained in the workspace: kind, version, what it reached, size, and which one serves.

    Example:  whyrec models --format json
    """
    if context.invoked_subcommand is not None:
        return
    from agent.stored import stored_models

    found = stored_models(open_workspace(workspace).workspace)
    print_rows([as_row(one) for one in found], form, as_table(found))
    if not found:
        say("Nothing was trained here yet; whyrec tune and whyrec finetune do")


@app.command()
def use(version: VersionArgument, workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """Let a version serve in place of the current one of its kind.

    Example:  whyrec models use 20260102T030405
    """
    from agent.stored import use_model

    opened = open_workspace(workspace).workspace
    with opened.writing():
        found = use_model(opened, version)
    say(f"The {found.kind} {found.version} serves now")


@app.command()
def remove(version: VersionArgument, workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """Delete a version that does not serve.

    Example:  whyrec models remove 20260102T030405
    """
    from agent.stored import remove_model

    opened = open_workspace(workspace).workspace
    with opened.writing():
        found = remove_model(opened, version)
    say(f"The {found.kind} {found.version} was removed")


def as_row(one: "Stored") -> dict[str, Any]:
    """A version as plain data."""
    data = {"kind": one.kind, "version": one.version, "live": one.live, "bytes": one.size}
    return {**data, "says": one.says, "command": one.command}


def as_table(found: "list[Stored]") -> Table:
    """The versions for people."""
    table = Table(box=None, pad_edge=False)
    for name in ("kind", "version", "live"):
        table.add_column(name, no_wrap=True)
    table.add_column("MiB", justify="right", no_wrap=True)
    table.add_column("validation", overflow="fold")
    for one in found:
        cells = (one.kind, one.version, "live" if one.live else "", f"{one.size / MEBIBYTE:.1f}", one.says)
        table.add_row(*map(Text, cells))
    return table
