"""Check a table of events and write it as Parquet, in bounded memory."""

from pathlib import Path

import polars as pl

from retrieval.artefacts import write_parquet
from retrieval.data.columns import EVENT_ROLES, assign_columns
from retrieval.data.import_report import ImportReport, column, identifier
from retrieval.data.readers import Table, unreadable
from retrieval.data.times import Timestamps, timestamps
from retrieval.errors import InputError

UNKNOWN_ITEM = "an item that is not in the catalog"


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
    # Only the columns that are used, called by their role: a file may have a column "row" of its own.
    raw = Table(table.frame.select(column(name).alias(role) for role, name in columns.items()), table.source)
    times = timestamps(raw, "timestamp" if "timestamp" in columns else None)
    events = _without_invalid(raw, _typed(raw, times), report, skip_invalid)
    known = events.join(items.lazy().select("item_id"), on="item_id", how="semi")
    try:
        write_parquet(known.select("user_id", "item_id", "value", "timestamp"), target)
    except pl.exceptions.PolarsError as error:
        raise unreadable(Path(table.source), error) from error
    report.kept = pl.scan_parquet(target).select(pl.len()).collect().item()
    unknown = report.rows - sum(report.left_out.values()) - report.kept
    if unknown:
        report.left_out[UNKNOWN_ITEM] = unknown
    if report.kept == 0:
        raise InputError(_nothing_kept(raw, events, items, report))
    return report, times


def _typed(raw: Table, times: Timestamps) -> pl.LazyFrame:
    """row, user_id, item_id, value and timestamp as they shall be, null where they cannot; ``raw …`` as they came."""
    kinds = raw.frame.collect_schema()
    value = pl.lit(1.0)
    if "value" in kinds:
        text = pl.col("value").str.strip_chars() if kinds["value"] == pl.String else pl.col("value")
        value = text.cast(pl.Float64, strict=False)
    return raw.frame.with_row_index("row", offset=1).select(
        "row",
        identifier("user_id", kinds).alias("user_id"),
        identifier("item_id", kinds).alias("item_id"),
        value.alias("value"),
        times.expression.alias("timestamp"),
        *[
            pl.col(role).cast(pl.String, strict=False).alias(f"raw {role}")
            for role in ("value", "timestamp")
            if role in kinds
        ],
    )


def _checks(columns: dict[str, str]) -> dict[str, tuple[pl.Expr, str]]:
    """For each problem that makes a row unusable, where it is and which column to show; checked in this order."""
    checks = {
        f"no {columns['user_id']}": (pl.col("user_id").is_null(), "item_id"),
        f"no {columns['item_id']}": (pl.col("item_id").is_null(), "user_id"),
    }
    if "value" in columns:
        not_finite = pl.col("value").is_null() | ~pl.col("value").is_finite()
        checks[f"a {columns['value']} that is not a number"] = (not_finite, "raw value")
    if "timestamp" in columns:
        checks[f"a {columns['timestamp']} that is not a time"] = (pl.col("timestamp").is_null(), "raw timestamp")
    return checks


def _without_invalid(raw: Table, frame: pl.LazyFrame, report: ImportReport, skip_invalid: bool) -> pl.LazyFrame:
    """The rows that can be used; one pass counts the others and finds the first of each kind."""
    checks = _checks(report.columns)
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
    found = raw.collect(frame.select(counts)).row(0, named=True)
    report.rows = found["rows"]
    report.left_out = {problem: found[f"count {problem}"] for problem in checks if found[f"count {problem}"]}
    if report.left_out and not skip_invalid:
        problem, count = next(iter(report.left_out.items()))
        raise report.invalid(found[f"row {problem}"], problem, found[f"shown {problem}"], count)
    return frame.filter(valid)


def _nothing_kept(raw: Table, events: pl.LazyFrame, items: pl.DataFrame, report: ImportReport) -> str:
    if list(report.left_out) != [UNKNOWN_ITEM]:
        reasons = "; ".join(f"{count:,} with {reason}" for reason, count in report.left_out.items())
        return f"{raw.source}: no usable event in it" + (f" ({reasons})" if reasons else "")
    example = raw.collect(events.select("item_id").head(1)).item()
    return (
        f"{raw.source}: none of the {report.rows:,} events names an item of the catalog "
        f"(first event: {example!r}, first item: {items['item_id'][0]!r}); see --map item_id=COLUMN"
    )
