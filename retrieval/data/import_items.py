"""Check and tidy a table of items."""

import polars as pl
from polars import selectors

from retrieval.data.columns import ITEM_ROLES, assign_columns
from retrieval.data.fields import tidy_fields
from retrieval.data.import_report import ImportReport, blank_to_null, column, identifier
from retrieval.data.readers import Table
from retrieval.errors import InputError, first_line

TITLE_LIMIT = 1_000
TEXT_LIMIT = 100_000
_FIELD = "field "


def import_items(
    table: Table, overrides: dict[str, str], *, skip_invalid: bool = False
) -> tuple[pl.DataFrame, ImportReport]:
    """Check and tidy the items: columns ``item_id``, ``title`` and every usable field, in the file's order.

    Raises:
        InputError: no items, or, unless ``skip_invalid``, the first row that cannot be used.
    """
    columns = assign_columns(table.columns(), ITEM_ROLES, overrides, table.source)
    report = ImportReport(table.source, columns)
    kinds = table.frame.collect_schema()
    frame = table.collect(
        table.frame.select(
            pl.int_range(1, pl.len() + 1).alias("row"),
            identifier(columns["item_id"], kinds).alias("item_id"),
            _text(columns["title"], kinds).alias("title"),
            selectors.exclude(selectors.by_name(*columns.values())).name.prefix(_FIELD),
        )
    )
    report.rows = len(frame)
    frame = _without_invalid(frame, _checks(frame.schema, columns), report, skip_invalid)
    report.kept = len(frame)
    if report.kept == 0:
        raise InputError(f"{table.source}: no item in it")
    fields = frame.select(selectors.starts_with(_FIELD).name.map(lambda name: name.removeprefix(_FIELD)))
    try:
        tidy, report.notes = tidy_fields(fields)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{table.source}: a field cannot be used: {first_line(error)}") from error
    return pl.concat([frame.select("item_id", "title"), tidy], how="horizontal"), report


def _checks(schema: pl.Schema, columns: dict[str, str]) -> dict[str, pl.Expr]:
    """For each problem that makes a row unusable, where it is; checked in this order."""
    too_long = [
        column(name).list.eval(pl.element().str.len_chars()).list.max() > TEXT_LIMIT
        if kind == pl.List(pl.String)
        else column(name).str.len_chars() > TEXT_LIMIT
        for name, kind in schema.items()
        if name.startswith(_FIELD) and kind in (pl.String, pl.List(pl.String))
    ]
    checks = {
        f"no {columns['item_id']}": pl.col("item_id").is_null(),
        f"{columns['item_id']} used before": ~pl.col("item_id").is_first_distinct(),
        f"no {columns['title']}": pl.col("title").is_null(),
        f"a title of more than {TITLE_LIMIT:,} characters": pl.col("title").str.len_chars() > TITLE_LIMIT,
    }
    if too_long:
        checks[f"a text of more than {TEXT_LIMIT:,} characters"] = pl.any_horizontal(too_long)
    return checks


def _without_invalid(
    frame: pl.DataFrame, checks: dict[str, pl.Expr], report: ImportReport, skip_invalid: bool
) -> pl.DataFrame:
    for problem, expression in checks.items():
        bad = frame.filter(expression.fill_null(False))
        if len(bad) == 0:
            continue
        if not skip_invalid:
            raise report.invalid(bad["row"][0], problem, bad["item_id"][0], len(bad))
        report.left_out[problem] = len(bad)
        frame = frame.filter(~expression.fill_null(False))
    return frame


def _text(name: str, kinds: pl.Schema) -> pl.Expr:
    if kinds[name] == pl.List(pl.String):
        return blank_to_null(column(name).list.join(" ", ignore_nulls=True))
    return blank_to_null(column(name).cast(pl.String))
