"""`whyrec add-items`."""

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.console import Steps, say
from agent.cli.init import report_table
from agent.cli.options import DEFAULT_WORKSPACE, WorkspaceOption, open_workspace
from retrieval.data.columns import parse_overrides
from retrieval.data.readers import scan_table


def add_items(
    items: Annotated[Path, typer.Argument(help="Items, in any format that whyrec init reads.", show_default=False)],
    column_map: Annotated[
        list[str] | None, typer.Option("--map", help="Name a column, such as item_id=asin. Can be repeated.")
    ] = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave out rows that cannot be used, and count them.")
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Add items to the catalog; they can be recommended at once, by their text, in every mode.

    The index, the scorers that whyrec tune has put together and the student get to know them. Nothing is searched or
    taught anew.

    Example:  whyrec add-items new-films.csv
    """
    from agent.adding import ItemAdder
    from agent.models import Models

    opened = open_workspace(workspace)
    table = scan_table(items)
    with opened.workspace.writing(), Steps() as watch:
        adder = ItemAdder(opened.workspace, opened.settings, Models(opened.settings, say), watch)
        added = adder.add(table, parse_overrides(column_map or []), skip_invalid=skip_invalid)
    report_table("items", added.report)
    knowing = ["the index", *(["the scorers"] if added.fusion else []), *(["the student"] if added.student else [])]
    say(f"Known now to {' and '.join(knowing)}; they can be recommended")
