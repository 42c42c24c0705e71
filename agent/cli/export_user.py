"""`whyrec export-user`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.console import say
from agent.cli.options import DEFAULT_WORKSPACE, WorkspaceOption, open_workspace


def export_user(
    user: Annotated[str, typer.Argument(help="A user id of the events.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="The file to write.", show_default="standard output")] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Write all data about a user as JSON: attributes, events, reactions, labels, and where else they are named.

    Example:  whyrec export-user 15 --out 15.json
    """
    from agent.personal import exported
    from agent.reactions import checked_user
    from retrieval.artefacts import write_text

    data = exported(open_workspace(workspace).workspace, checked_user(user))
    text = json.dumps(data, ensure_ascii=False, indent=1, default=str)
    if out is None:
        print(text)
        return
    write_text(out, text + "\n")
    say(f"{out}: all data about {user}")
