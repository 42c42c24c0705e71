"""Make sense of a timestamp column: seconds, milliseconds, ISO dates or an order number."""

from dataclasses import dataclass
from typing import Literal

import polars as pl

from retrieval.data.readers import Table
from retrieval.errors import InputError

Kind = Literal["seconds", "milliseconds", "iso", "order", "none"]
_SECONDS_FROM = 10**8  # 1973; smaller numbers are positions
_MILLISECONDS_FROM = 10**11  # the year 5138 in seconds, 1973 in milliseconds


@dataclass(frozen=True)
class Timestamps:
    """What the times of a table are, and the expression that turns them into int64.

    ``seconds``, ``milliseconds`` and ``iso`` become milliseconds since 1970 (UTC); ``order`` stays the number it is;
    ``none`` is the row number, for tables without such a column.
    """

    kind: Kind
    expression: pl.Expr


def timestamps(table: Table, column: str | None) -> Timestamps:
    """Find out what the times in ``column`` are; values that do not fit the kind become null.

    Raises:
        InputError: the column holds lists or structs.
    """
    if column is None:
        return Timestamps("none", pl.col("row").cast(pl.Int64))
    dtype = table.frame.collect_schema()[column]
    if dtype.is_temporal():
        return Timestamps("iso", pl.col(column).cast(pl.Datetime("ms")).cast(pl.Int64))
    if dtype.is_nested():
        raise InputError(
            f"{table.source}: the column {column} holds {dtype}, which is no time; see --map timestamp=COLUMN"
        )
    text = pl.col(column).str.strip_chars() if dtype == pl.String else pl.col(column)
    number = text.cast(pl.Float64, strict=False)
    found = table.collect(
        table.frame.select(number.min().alias("low"), number.max().alias("high"), number.count().alias("numbers"))
    )
    low, high, numbers = found.row(0)
    if numbers == 0 and dtype == pl.String:
        return Timestamps("iso", _parse_iso(pl.col(column)))
    finite = pl.when(number.is_finite()).then(number)
    if numbers and low >= _MILLISECONDS_FROM:
        return Timestamps("milliseconds", finite.round().cast(pl.Int64, strict=False))
    if numbers and low >= _SECONDS_FROM and high < _MILLISECONDS_FROM:
        return Timestamps("seconds", (finite * 1000).round().cast(pl.Int64, strict=False))
    return Timestamps("order", finite.round().cast(pl.Int64, strict=False))


def _parse_iso(text: pl.Expr) -> pl.Expr:
    """ISO 8601 dates and date-times, with or without offset or ``Z``; naive ones count as UTC."""
    stripped = text.str.strip_chars().str.replace("T", " ", literal=True).str.replace(r"Z$", "+00:00")
    forms = [
        "%Y-%m-%d %H:%M:%S%.f%:z",
        "%Y-%m-%d %H:%M%:z",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%d",
    ]
    parsed = []
    for form in forms:
        moment = stripped.str.to_datetime(form, time_unit="ms", strict=False, time_zone="UTC" if "z" in form else None)
        parsed.append(moment.cast(pl.Datetime("ms")).cast(pl.Int64))
    return pl.coalesce(parsed)
