"""`whyrec feedback`."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from agent.cli.console import Format, note, print_rows, say
from agent.cli.options import DEFAULT_WORKSPACE, FormatOption, WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from retrieval.data.feedback import Reaction
    from retrieval.data.workspace import Workspace

app = typer.Typer(help="Take down what people say of items; it counts from the next request on.", no_args_is_help=True)


@app.callback()
def feedback() -> None:
    """Take down what people say of items; it counts from the next request on."""


@app.command()
def add(
    user: Annotated[str, typer.Argument(help="A user id of the events, or a new one.", show_default=False)],
    item: Annotated[str, typer.Argument(help="An item id, or a title.", show_default=False)],
    reaction: Annotated[
        str,
        typer.Argument(
            metavar="REACTION", help="like, dislike, seen, hide, or a rating such as 4.5.", show_default=False
        ),
    ],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Say what a user thinks of an item.

    The next recommend and explain go by it, in every mode; nothing has to be trained. like counts as liked, dislike as
    the worst rating, a rating as itself. seen: the user has had the item, which says nothing of their taste. What a
    user dislikes or hides is never recommended to them again, unless they like or rate it later.

    Example:  whyrec feedback add 15 "Blade Runner" like
    """
    from agent.reactions import Reactions

    opened = open_workspace(workspace)
    reactions = Reactions(opened.workspace, opened.settings)
    known = reactions.knows(user)
    given = reactions.add(user, item, reaction)
    say(f"Noted: {_said(given, opened.workspace)}")
    if not known:
        note(f"{given.user_id} is new: there was no event and no reaction of theirs")


@app.command(name="list")
def list_(
    user: Annotated[str | None, typer.Argument(help="Only of this user.", show_default=False)] = None,
    form: FormatOption = Format.table,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """List the reactions, oldest first; those that whyrec compact has made events of are events and not listed.

    Of these, dislikes are still listed, as they keep items away: folded says that they are events, too.

    Example:  whyrec feedback list 15 --format json
    """
    from agent.reactions import checked_user
    from retrieval.data.feedback import is_folded

    opened = open_workspace(workspace).workspace
    found, folded = opened.feedback.kept(None if user is None else checked_user(user))
    rows = [_as_row(one, opened) | {"folded": is_folded(one, folded)} for one in found]
    print_rows(rows, form, _as_table(rows))
    if not found:
        say("There are no reactions" + (f" of {user}" if user is not None else ""))


@app.command()
def undo(
    user: Annotated[str | None, typer.Argument(help="Only of this user.", show_default=False)] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Take back the last reaction, which must not have become an event yet (whyrec compact).

    Example:  whyrec feedback undo 15
    """
    from agent.reactions import checked_user
    from retrieval.errors import InputError

    opened = open_workspace(workspace).workspace
    found = opened.feedback.undo(None if user is None else checked_user(user))
    if found is None:
        raise InputError("there is no reaction to take back" + (f" of {user!r}" if user is not None else ""))
    say(f"Taken back: {_said(found, opened)}")


def _said(one: "Reaction", workspace: "Workspace") -> str:
    said = f"{one.value:g}" if one.kind == "rating" else one.kind
    return f"{said} from {one.user_id} for {_label(one, workspace)} [{one.item_id}]"


def _as_row(one: "Reaction", workspace: "Workspace") -> dict[str, Any]:
    given = datetime.fromtimestamp(one.timestamp / 1000, UTC).isoformat(timespec="seconds")
    row = {"user_id": one.user_id, "item_id": one.item_id, "title": _label(one, workspace)}
    return {**row, "reaction": one.kind, "value": one.value, "given": given}


def _as_table(rows: list[dict[str, Any]]) -> Table:
    """The same for people: ids and titles may be long, a value may be missing."""
    table = Table(box=None, pad_edge=False)
    for name in ("user_id", "item_id", "title"):
        table.add_column(name, overflow="fold")
    for name in ("reaction", "value", "given", "folded"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        value = "" if row["value"] is None else f"{row['value']:g}"
        cells = {**row, "value": value, "folded": "folded" if row["folded"] else ""}
        table.add_row(*(Text(cell) for cell in cells.values()))
    return table


def _label(one: "Reaction", workspace: "Workspace") -> str:
    """What the item is called; its id where it is no longer in the catalog."""
    return workspace.catalog.label(one.item_id) if one.item_id in workspace.catalog else one.item_id
