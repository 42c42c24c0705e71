"""`whyrec forget`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.console import Format, note, print_rows, say
from agent.cli.options import DEFAULT_WORKSPACE, FormatOption, WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from agent.stored import Stored


def forget(
    user: Annotated[str, typer.Argument(help="A user id of the events.", show_default=False)],
    form: FormatOption = Format.table,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Remove all data about a user: events, reactions, attributes, labels, and what was kept of runs and reports.

    Lists what was trained and may have learnt from their events, with the command that makes it anew without them; old
    versions go with whyrec models remove. Files outside of the workspace, such as exports and reports, are not known.

    Example:  whyrec forget 15
    """
    from agent.personal import forget as forget_user
    from agent.reactions import checked_user

    opened = open_workspace(workspace).workspace
    with opened.writing():
        found = forget_user(opened, checked_user(user))
    say(f"Removed of {user}: " + ", ".join(f"{count:,} {name}" for name, count in found.removed.items()))
    print_rows([_as_row(one) for one in found.trained], form)
    if found.trained:
        note("what is listed was trained before and may have learnt from these events; make it anew, then remove it")


def _as_row(one: "Stored") -> dict[str, Any]:
    return {"kind": one.kind, "version": one.version, "live": one.live, "command": one.command}
