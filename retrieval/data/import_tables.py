"""Import the tables of a workspace: items, and where there are any, events and users."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from retrieval.artefacts import write_parquet
from retrieval.data.columns import TABLES, assign_columns, for_table, refuse_unused
from retrieval.data.import_events import import_events
from retrieval.data.import_items import import_items
from retrieval.data.import_report import ImportReport
from retrieval.data.import_users import import_users
from retrieval.data.readers import Table

SCALE = 20


@dataclass(frozen=True)
class Imported:
    """What `create_workspace` did: a report for each table, and what the times and values of the events are.

    liked_from and verb are what these data suggest; settings that a replaced workspace had before stay as they are.
    users counts those with events; people reports on the table of users' attributes.
    """

    items: ImportReport
    events: ImportReport | None
    times: str
    liked_from: float
    verb: str
    users: int
    people: ImportReport | None = None


def check_overrides(tables: dict[str, Table], overrides: dict[str, str]) -> None:
    """Refuse wrong columns before anything is read; ``tables`` has items and may have events and users.

    Raises:
        InputError: a ``--map`` that fits no table, or a table without a column that it must have.
    """
    columns = {name: table.columns() for name, table in tables.items()}
    refuse_unused(overrides, columns)
    for name, table in tables.items():
        assign_columns(columns[name], TABLES[name], for_table(overrides, name), table.source)


def import_tables(
    folder: Path, tables: dict[str, Table], overrides: dict[str, str], *, skip_invalid: bool = False
) -> Imported:
    """Write ``items.parquet``, ``events/`` and, where ``tables`` has users, ``users.parquet`` into a new ``folder``.

    Raises:
        InputError: a table cannot be used (`import_items`, `import_events`, `import_users`).
    """
    (folder / "events").mkdir(parents=True)
    columns = {name: for_table(overrides, name) for name in tables}
    catalog, items = import_items(tables["items"], columns["items"], skip_invalid=skip_invalid)
    write_parquet(catalog.lazy(), folder / "items.parquet")
    people = None
    if "users" in tables:
        users, people = import_users(tables["users"], columns["users"], skip_invalid=skip_invalid)
        write_parquet(users.lazy(), folder / "users.parquet")
    if "events" not in tables:
        return Imported(items, None, "none", 1.0, "liked", 0, people)
    part = folder / "events" / "part-00000.parquet"
    events, times = import_events(tables["events"], columns["events"], catalog, part, skip_invalid=skip_invalid)
    written = pl.scan_parquet(part)
    active = written.select("user_id").unique()
    if people:
        _note_strangers(active, pl.scan_parquet(folder / "users.parquet"), people)
    verb = "liked" if "value" in events.columns else "chose"
    return Imported(items, events, times.kind, _liked_from(written), verb, _count(active), people)


def _note_strangers(active: pl.LazyFrame, users: pl.LazyFrame, people: ImportReport) -> None:
    """Say how many users with events have no attributes; were it all, the ids of the two tables would not match."""
    strangers = _count(active.join(users, on="user_id", how="anti"))
    if strangers:
        people.notes.append(f"{strangers:,} of the {_count(active):,} users with events are not in it")


def _count(rows: pl.LazyFrame) -> int:
    return int(rows.select(pl.len()).collect(engine="streaming").item())


def _liked_from(events: pl.LazyFrame) -> float:
    """The upper median of the values: the largest that at most half of the events lie below.

    It must be more than the least value and, on a rating scale (at most 20 different values), reach the middle of the
    scale: where most events are dislikes, these are not liked.
    """
    counts = events.group_by("value").len().collect(engine="streaming").sort("value")  # ratings have few values
    values = counts["value"].to_list()
    below = counts["len"].cum_sum() - counts["len"]
    median = counts.filter(below <= counts["len"].sum() / 2)["value"].to_list()[-1]
    if len(values) == 1:
        return float(median)
    least = (values[0] + values[-1]) / 2 if len(values) <= SCALE else values[1]
    return float(next(value for value in values if value >= max(median, least)))
