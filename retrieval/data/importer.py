"""Turn tables that people have into the workspace's Parquet files, refusing what cannot be right."""

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from retrieval.data.columns import EVENT_ROLES, ITEM_ROLES, assign_columns
from retrieval.data.fields import tidy_fields
from retrieval.data.readers import Table, unreadable
from retrieval.data.times import Timestamps, timestamps
from retrieval.errors import InputError

TITLE_LIMIT = 1_000
TEXT_LIMIT = 100_000


@dataclass
class ImportReport:
    """What became of one table: which columns were used for what, and what was left out and why."""

    source: str
    columns: dict[str, str]
    rows: int = 0
    kept: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def import_items(
    table: Table, overrides: dict[str, str], *, skip_invalid: bool = False
) -> tuple[pl.DataFrame, ImportReport]:
    """Check and tidy the items: columns ``item_id``, ``title`` and every usable field, in the file's order.

    Raises:
        InputError: no items, or, unless ``skip_invalid``, the first row that cannot be used.
    """
    columns = assign_columns(table.columns(), ITEM_ROLES, overrides, table.source)
    report = ImportReport(table.source, columns)
    frame = table.collect(table.frame)
    kinds = frame.schema
    item_id, title = _identifier(columns["item_id"], kinds), _text(columns["title"], kinds)
    frame = frame.select(
        pl.int_range(1, pl.len() + 1).alias("row"),
        item_id.alias("item_id"),
        title.alias("title"),
        pl.exclude(list(columns.values())).name.prefix("field "),
    )
    too_long = [
        pl.col(name).str.len_chars() > TEXT_LIMIT
        for name, kind in frame.schema.items()
        if name.startswith("field ") and kind == pl.String
    ]
    report.rows = len(frame)
    checks = {
        f"no {columns['item_id']}": pl.col("item_id").is_null(),
        f"{columns['item_id']} used before": ~pl.col("item_id").is_first_distinct(),
        f"no {columns['title']}": pl.col("title").is_null(),
        f"a title of more than {TITLE_LIMIT:,} characters": pl.col("title").str.len_chars() > TITLE_LIMIT,
    }
    if too_long:
        checks[f"a text of more than {TEXT_LIMIT:,} characters"] = pl.any_horizontal(too_long)
    frame = _without_invalid(frame, checks, report, skip_invalid, shown="item_id")
    report.kept = len(frame)
    if report.kept == 0:
        raise InputError(f"{table.source}: no item in it")
    fields, report.notes = tidy_fields(frame.select(pl.col("^field .*$").name.map(lambda n: n.removeprefix("field "))))
    return pl.concat([frame.select("item_id", "title"), fields], how="horizontal"), report


def import_events(
    table: Table, overrides: dict[str, str], items: pl.DataFrame, target: Path, *, skip_invalid: bool = False
) -> tuple[ImportReport, Timestamps]:
    """Check the events and write those of known items to ``target`` (Parquet), in bounded memory.

    Columns: ``user_id`` and ``item_id`` (string), ``value`` (float64, 1 where the table has none) and ``timestamp``
    (int64, in the unit of the returned `Timestamps`). Events of items that are not in the catalog are counted.

    Raises:
        InputError: no event of a known item or, unless ``skip_invalid``, the first row that cannot be used.
    """
    columns = assign_columns(table.columns(), EVENT_ROLES, overrides, table.source)
    report = ImportReport(table.source, columns)
    kinds = table.frame.collect_schema()
    times = timestamps(table, columns.get("timestamp"))
    value = _number(columns["value"], kinds) if "value" in columns else pl.lit(1.0)
    shown = {"value": columns.get("value"), "time": columns.get("timestamp")}
    frame = table.frame.with_row_index("row", offset=1).select(
        "row",
        _identifier(columns["user_id"], kinds).alias("user_id"),
        _identifier(columns["item_id"], kinds).alias("item_id"),
        value.alias("value"),
        times.expression.alias("timestamp"),
        *[pl.col(name).cast(pl.String, strict=False).alias(f"raw {role}") for role, name in shown.items() if name],
    )
    checks = {
        f"no {columns['user_id']}": (pl.col("user_id").is_null(), "item_id"),
        f"no {columns['item_id']}": (pl.col("item_id").is_null(), "user_id"),
    }
    if shown["value"]:
        not_finite = pl.col("value").is_null() | ~pl.col("value").is_finite()
        checks[f"a {shown['value']} that is not a number"] = (not_finite, "raw value")
    if shown["time"]:
        checks[f"a {shown['time']} that is not a time"] = (pl.col("timestamp").is_null(), "raw time")
    frame = _without_invalid_events(table, frame, checks, report, skip_invalid)
    known = frame.join(items.lazy().select("item_id"), on="item_id", how="semi")
    try:
        known.select("user_id", "item_id", "value", "timestamp").sink_parquet(target)
    except pl.exceptions.PolarsError as error:
        raise unreadable(Path(table.source), error) from error
    report.kept = pl.scan_parquet(target).select(pl.len()).collect().item()
    unknown = report.rows - sum(report.left_out.values()) - report.kept
    if unknown:
        report.left_out["an item that is not in the catalog"] = unknown
    if report.kept == 0:
        raise InputError(_nothing_kept(table, frame, items, report))
    return report, times


def _nothing_kept(table: Table, frame: pl.LazyFrame, items: pl.DataFrame, report: ImportReport) -> str:
    if report.rows == 0:
        return f"{table.source}: no event in it"
    example = table.collect(frame.select("item_id").head(1)).item()
    return (
        f"{table.source}: none of the {report.rows:,} events names an item of the catalog "
        f"(first event: {example!r}, first item: {items['item_id'][0]!r}); see --map item_id=COLUMN"
    )


def _without_invalid(
    frame: pl.DataFrame, checks: dict[str, pl.Expr], report: ImportReport, skip_invalid: bool, shown: str
) -> pl.DataFrame:
    for problem, expression in checks.items():
        bad = frame.filter(expression.fill_null(False))
        if len(bad) == 0:
            continue
        if not skip_invalid:
            raise _invalid_row(report, bad["row"][0], problem, bad[shown][0], len(bad))
        report.left_out[problem] = len(bad)
        frame = frame.filter(~expression.fill_null(False))
    return frame


def _without_invalid_events(
    table: Table,
    frame: pl.LazyFrame,
    checks: dict[str, tuple[pl.Expr, str]],
    report: ImportReport,
    skip_invalid: bool,
) -> pl.LazyFrame:
    valid = pl.lit(True)
    counts = [pl.len().alias("rows")]
    for problem, (expression, shown) in checks.items():
        bad = valid & expression
        counts += [
            bad.sum().alias(f"count {problem}"),
            pl.col("row").filter(bad).first().alias(f"row {problem}"),
            pl.col(shown).filter(bad).first().alias(f"shown {problem}"),
        ]
        valid = valid & ~expression
    found = table.collect(frame.select(counts)).row(0, named=True)
    report.rows = found["rows"]
    for problem in checks:
        if found[f"count {problem}"] and not skip_invalid:
            raise _invalid_row(
                report, found[f"row {problem}"], problem, found[f"shown {problem}"], found[f"count {problem}"]
            )
        if found[f"count {problem}"]:
            report.left_out[problem] = found[f"count {problem}"]
    return frame.filter(valid)


def _invalid_row(report: ImportReport, row: int, problem: str, shown: object, count: int) -> InputError:
    value = "" if shown is None else f" ({str(shown)[:60]!r})"
    more = f", and {count - 1:,} more like it" if count > 1 else ""
    return InputError(
        f"{report.source}, data row {row:,}{value}: {problem}{more}; mend it, or leave such rows out: --skip-invalid"
    )


def _identifier(name: str, kinds: pl.Schema) -> pl.Expr:
    """An id column as text; whole floats lose their ``.0``; blanks become null."""
    column = pl.col(name).cast(pl.Int64, strict=False) if kinds[name].is_float() else pl.col(name)
    return _blank_to_null(column.cast(pl.String))


def _text(name: str, kinds: pl.Schema) -> pl.Expr:
    column = pl.col(name).list.join(" ", ignore_nulls=True) if kinds[name] == pl.List(pl.String) else pl.col(name)
    return _blank_to_null(column.cast(pl.String))


def _blank_to_null(column: pl.Expr) -> pl.Expr:
    stripped = column.str.strip_chars()
    return pl.when(stripped != "").then(stripped)


def _number(name: str, kinds: pl.Schema) -> pl.Expr:
    column = pl.col(name).str.strip_chars() if kinds[name] == pl.String else pl.col(name)
    return column.cast(pl.Float64, strict=False)
