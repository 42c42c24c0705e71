"""`whyrec index`."""

import time
from typing import Annotated

import typer

from agent.cli.console import Steps, say
from agent.cli.options import DEFAULT_WORKSPACE, WorkspaceOption, open_workspace


def index(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Throw the index away and make it anew.")] = False,
) -> None:
    """Encode the items' text and bring the index up to date; unchanged items are skipped.

    Example:  whyrec index
    """
    from agent.indexing import bring_up_to_date
    from agent.models import Models

    opened = open_workspace(workspace)
    start = time.perf_counter()
    with opened.workspace.writing(), Steps() as watch:
        models = Models(opened.settings, say)
        found = bring_up_to_date(opened.workspace, opened.settings, models, watch, rebuild=rebuild)
    say(
        f"Index: {found.items:,} items; {found.written:,} written, {found.deleted:,} deleted, "
        f"{found.unchanged:,} unchanged, in {time.perf_counter() - start:.1f} s"
    )
