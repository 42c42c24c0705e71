"""`whyrec similar`."""

from typing import Annotated

import typer

from agent.cli.console import Format, print_rows
from agent.cli.options import (
    DEFAULT_WORKSPACE,
    CountOption,
    FormatOption,
    WhereOption,
    WorkspaceOption,
    open_workspace,
)
from agent.cli.recommend import as_tables
from agent.request import as_row


def similar(
    item: Annotated[str, typer.Argument(help="An item id, or a title.", show_default=False)],
    k: CountOption = 10,
    where: WhereOption = "",
    form: FormatOption = Format.table,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """List the items whose text is nearest to an item's.

    Example:  whyrec similar "Toy Story" -k 5
    """
    from agent.models import Models
    from agent.recommender import Recommender

    opened = open_workspace(workspace)
    answer = Recommender(opened.workspace, opened.settings, Models(opened.settings)).similar(item, k, where)
    print_rows([as_row(row) for row in answer.rows], form, *as_tables(answer.rows))
