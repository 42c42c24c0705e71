"""Check and tidy a table of items."""

from collections.abc import Mapping

import polars as pl

from retrieval.data.columns import ITEM_ROLES, assign_columns
from retrieval.data.fields import NO_KINDS
from retrieval.data.import_records import import_records
from retrieval.data.import_report import ImportReport, blank_to_null, column
from retrieval.data.readers import Table

TITLE_LIMIT = 1_000


def import_items(
    table: Table,
    overrides: dict[str, str],
    *,
    skip_invalid: bool = False,
    kinds: Mapping[str, pl.DataType] = NO_KINDS,
) -> tuple[pl.DataFrame, ImportReport]:
    """Check and tidy the items: columns ``item_id``, ``title`` and every usable field, in the file's order.

    ``kinds``: the types that some fields must have.

    Raises:
        InputError: no items, values of another type, or, unless ``skip_invalid``, the first row that cannot be used.
    """
    columns = assign_columns(table.columns(), ITEM_ROLES, overrides, table.source)
    title = _text(columns["title"], table.frame.collect_schema())
    checks = {
        f"no {columns['title']}": pl.col("title").is_null(),
        f"a title of more than {TITLE_LIMIT:,} characters": pl.col("title").str.len_chars() > TITLE_LIMIT,
    }
    return import_records(table, "item", columns, {"title": title}, checks, skip_invalid=skip_invalid, kinds=kinds)


def _text(name: str, kinds: pl.Schema) -> pl.Expr:
    if kinds[name] == pl.List(pl.String):
        return blank_to_null(column(name).list.join(" ", ignore_nulls=True))
    return blank_to_null(column(name).cast(pl.String))
