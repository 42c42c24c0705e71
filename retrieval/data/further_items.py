"""Put further items into the catalog of a workspace that is there already."""

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
    before = workspace.catalog.frame
    kinds = {name: kind for name, kind in before.schema.items() if name not in ("item_id", "title")}
    items, report = import_items(table, for_table(overrides, "items"), skip_invalid=skip_invalid, kinds=kinds)
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
    columns = [
        items[name] if name in items.columns else pl.Series(name, [None] * len(items), kind)
        for name, kind in before.schema.items()
    ]
    after = pl.concat([before, pl.DataFrame(columns)])
    work = workspace.items_path.with_suffix(".unfinished")
    write_parquet(after.lazy(), work)
    work.replace(workspace.items_path)
    return items["item_id"].to_list(), report
