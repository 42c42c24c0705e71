"""`whyrec init`."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.console import note, say
from agent.cli.options import DEFAULT_WORKSPACE
from agent.settings import Settings, load_settings
from retrieval.data.columns import parse_overrides
from retrieval.data.demo import movielens_100k, movielens_small
from retrieval.data.feedback import FOLDED
from retrieval.data.import_report import ImportReport
from retrieval.data.import_tables import Imported
from retrieval.data.readers import Table, scan_table
from retrieval.data.workspace import Workspace, create_workspace
from retrieval.errors import command

Tables = tuple[Table, Table | None, Table | None]


class Demo(StrEnum):
    """Packaged data sets."""

    movielens = "movielens"
    movielens_100k = "movielens-100k"


def init(
    workspace: Annotated[
        Path | None, typer.Argument(help="The workspace folder to make.", show_default=str(DEFAULT_WORKSPACE))
    ] = None,
    items: Annotated[
        Path | None, typer.Option(help="Items: CSV, TSV, Parquet, NDJSON or RecBole .item, also .gz or .zst.")
    ] = None,
    events: Annotated[
        Path | None, typer.Option(help="What users did, in any of these formats or RecBole .inter.")
    ] = None,
    users: Annotated[
        Path | None, typer.Option(help="What is known of users, such as age or gender; also RecBole .user.")
    ] = None,
    demo: Annotated[Demo | None, typer.Option(help="Use a packaged data set instead of files.")] = None,
    column_map: Annotated[
        list[str] | None, typer.Option("--map", help="Name a column, such as item_id=asin. Can be repeated.")
    ] = None,
    noun: Annotated[
        str | None, typer.Option(help="What an item is called in explanations.", show_default="item")
    ] = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave out rows that cannot be used, and count them.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Import the data of a workspace anew; its settings and index stay.")
    ] = False,
    workspace_option: Annotated[
        Path | None,
        typer.Option("--workspace", "-w", help="The same as WORKSPACE, which WHYREC_WORKSPACE stands in for."),
    ] = None,
) -> None:
    """Make a workspace from your files, or from a packaged data set.

    Example:  whyrec init --items films.csv --events ratings.csv.gz --map item_id=movieId
    """
    if demo is not None and (items or events or users or column_map or noun is not None):
        raise typer.BadParameter("--demo brings its own tables, columns and noun")
    if workspace and workspace_option and workspace != workspace_option:
        raise typer.BadParameter(f"two workspaces are named: {workspace} and {workspace_option}")
    root = workspace or workspace_option or Path(os.environ.get("WHYREC_WORKSPACE", DEFAULT_WORKSPACE))
    kept = (root / "whyrec.toml").is_file()
    if kept and noun is not None:
        raise typer.BadParameter(f"{root} keeps its settings; write the noun into {root / 'whyrec.toml'}")
    tables = _opened(items, events, users) if demo is None else _packaged(demo)
    had_users = kept and replace and Workspace(root).users_path.exists()
    had_folded = kept and replace and any(Workspace(root).events_path.glob(f"{FOLDED}-*"))
    imported = create_workspace(
        root,
        *tables,
        overrides=parse_overrides(column_map or []),
        noun=noun or ("film" if demo else "item"),
        skip_invalid=skip_invalid or demo is not None,
        replace=replace,
    )
    report_table("items", imported.items)
    if imported.events:
        report_table("events", imported.events)
        liked = f"{imported.verb} from {imported.liked_from:g} up"
        say(f"  {imported.users:,} users; times: {imported.times}; {liked}")
    if imported.people:
        report_table("users", imported.people)
    elif had_users:
        note("the users' attributes from before are gone: these data have none (--users FILE brings them)")
    if had_folded:
        note("reactions that whyrec compact had made events of are gone with the events from before")
    if kept:
        _compare(load_settings(root / "whyrec.toml"), imported)
    say(f"Workspace {root} is ready. Next: {command('index', root)}")


def _opened(items: Path | None, events: Path | None, users: Path | None) -> Tables:
    if items is None:
        raise typer.BadParameter("give --items FILE (and --events FILE, --users FILE), or --demo movielens")
    return scan_table(items), scan_table(events) if events else None, scan_table(users) if users else None


def _packaged(demo: Demo) -> Tables:
    if demo is Demo.movielens_100k:
        return movielens_100k()
    return (*movielens_small(), None)


def _compare(settings: Settings, imported: Imported) -> None:
    """Say where settings that were kept are not what the new data suggest."""
    say("Settings and index are those from before")
    for name, suggested in (("liked_from", imported.liked_from), ("verb", imported.verb)):
        value = getattr(settings.events, name)
        if imported.events and value != suggested:
            note(f"events.{name} stays {value}, these data suggest {suggested}; change it in whyrec.toml")


def report_table(name: str, report: ImportReport) -> None:
    """Say what became of a table."""
    say(f"{name}: {report.kept:,} of {report.rows:,} rows kept ({report.source})")
    say("  columns: " + ", ".join(f"{role} = {column}" for role, column in report.columns.items()))
    for reason, count in report.left_out.items():
        say(f"  left out: {count:,} with {reason}")
    for line in report.notes:
        say(f"  {line}")
