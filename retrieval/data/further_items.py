"""Put further items into the catalog of a workspace that is there already."""

from typing import Any

import polars as pl

from retrieval.artefacts import write_parquet
from retrieval.data.columns import for_table, refuse_unused
from retrieval.data.import_items import import_items
from retrieval.data.import_report import ImportReport
from retrieval.data.readers import Table
from retrieval.data.workspace import Workspace
from retrieval.errors import InputError

KNOWN = "an id that is in the catalog already"


def add_items(
    workspace: Workspace, table: Table, overrides: dict[str, str], *, skip_invalid: bool = False
) -> tuple[list[str], ImportReport]:
    """Write the catalog with further items behind the others; their ids. On any error nothing changes.

    Fields take the type that the catalog has them in; fields that it does not have are left out, which the report
    notes. An opened `Workspace` still has the catalog as it was.

    Raises:
        InputError: the table cannot be used, or, unless ``skip_invalid``, an item is in the catalog already.
    """
    refuse_unused(overrides, {"items": table.columns()})
    items, report = import_items(table, for_table(overrides, "items"), skip_invalid=skip_invalid)
    before = workspace.catalog.frame
    known = items["item_id"].is_in(before["item_id"].implode())
    if known.any():
        if not skip_invalid:
            place = int(known.arg_max() or 0)
            raise report.invalid(place + 1, KNOWN, items["item_id"][place], int(known.sum()))
        report.left_out[KNOWN] = int(known.sum())
        report.kept -= int(known.sum())
        items = items.filter(~known)
        if report.kept == 0:
            raise InputError(f"{table.source}: every item in it is in the catalog already")
    unknown = [name for name in items.columns if name not in before.columns]
    report.notes += [f"{name}: left out, the catalog has no such field" for name in unknown]
    columns = [_as(kind, items, name, table.source) for name, kind in before.schema.items()]
    after = pl.concat([before, pl.DataFrame(columns)])
    work = workspace.items_path.with_suffix(".unfinished")
    write_parquet(after.lazy(), work)
    work.replace(workspace.items_path)
    return items["item_id"].to_list(), report


def _as(kind: Any, items: pl.DataFrame, name: str, source: str) -> pl.Series:
    """A field in the catalog's type; nothing where the table does not have it."""
    if name not in items.columns:
        return pl.Series(name, [None] * len(items), kind)
    column = items[name]
    try:
        if isinstance(kind, pl.List) and not isinstance(column.dtype, pl.List):
            alone = pl.when(column.is_not_null()).then(pl.concat_list(column))  # no row of this table has two values
            return pl.select(alone.cast(kind).alias(name)).to_series()
        return column.cast(kind)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{source}: {name} holds {column.dtype} here and {kind} in the catalog") from error
