"""Give every further column of a table of items or users a type that text, filters and evidence can use."""

import re
from collections.abc import Mapping
from types import MappingProxyType

import polars as pl

from retrieval.data.import_report import without_controls
from retrieval.errors import InputError

NO_KINDS: Mapping[str, pl.DataType] = MappingProxyType({})
_LIST_SHARE = 0.1  # a text column becomes a list when at least this share of its values holds a bar


def tidy_fields(
    frame: pl.DataFrame,
    reserved: tuple[str, ...],
    *,
    what: str,
    lists: bool = True,
    kinds: Mapping[str, pl.DataType] = NO_KINDS,
) -> tuple[pl.DataFrame, list[str]]:
    """Return the fields with tidy names and types, and a note on each thing that was decided.

    Names become lower case with underscores. Types are string, int64, float64, bool or a list of one of these:
    text that holds only numbers becomes numbers (unless it has leading zeros), text split by ``|`` becomes a list,
    dates become ISO text. Columns of any other type are left out, which a note says. Without ``lists`` text is not
    split and lists are left out as well. ``what`` names a row of the table in messages: item or user. ``kinds``: the
    types that some fields, by tidy name, must have.

    Raises:
        InputError: two columns have the same tidy name, one has a ``reserved`` name, or its values are of another kind.
    """
    columns: dict[str, pl.Series] = {}
    notes = []
    for series in frame.get_columns():
        name = re.sub(r"\W+", "_", series.name).strip("_").lower() or "field"
        if name in columns or name in reserved:
            raise InputError(f"two columns of the {what}s table are called {name!r} once tidied; rename one of them")
        tidy = _as(kinds[name], series, name) if name in kinds else _tidy(series, lists)
        if tidy is None:
            notes.append(f"{series.name}: left out, its type {series.dtype} cannot be used")
            continue
        if name not in kinds and tidy.dtype == pl.List(pl.String) and series.dtype == pl.String:
            notes.append(f"{name}: split at | into a list")
        columns[name] = tidy.alias(name)
    return pl.DataFrame(columns), notes


def _tidy(series: pl.Series, lists: bool) -> pl.Series | None:
    kind = series.dtype
    if kind.is_integer() or kind.is_decimal() or kind.is_float():
        return _tidy_numbers(series)
    if kind == pl.Boolean:
        return series
    if kind.is_temporal() and kind != pl.Duration:
        return series.cast(pl.String)
    if isinstance(kind, pl.List):
        return _tidy_list(series) if lists else None
    if kind == pl.String or isinstance(kind, (pl.Categorical, pl.Enum)):
        return _tidy_text(_tidy_words(series), lists)
    return pl.Series(series.name, [None] * len(series), pl.String) if kind == pl.Null else None


def _as(kind: pl.DataType, series: pl.Series, name: str) -> pl.Series:
    """The values in this type, which is one of those that `tidy_fields` gives."""
    refused = InputError(f"{name} holds other values than {kind}, which it is in the catalog")
    tidy: pl.Series | None
    if series.dtype.is_nested():
        tidy = _tidy_list(series) if isinstance(kind, pl.List) and isinstance(series.dtype, pl.List) else None
    elif isinstance(kind, pl.List):
        tidy = _trimmed(_tidy_words(series).str.split("|"))
    else:
        tidy = _tidy_words(series) if kind == pl.String else _tidy(series, lists=False)
    if tidy is None or (kind.is_integer() and tidy.dtype.is_float()):
        raise refused
    try:
        return tidy.cast(kind)
    except pl.exceptions.PolarsError as error:
        raise refused from error


def _tidy_words(series: pl.Series) -> pl.Series:
    """As text without control characters and blanks around it, nothing where it is empty."""
    text = without_controls(pl.lit(series.cast(pl.String))).str.strip_chars()
    return pl.select(pl.when(text != "").then(text).alias(series.name)).to_series()


def _tidy_numbers(series: pl.Series) -> pl.Series:
    if series.dtype.is_integer():
        exact = series.cast(pl.Int64, strict=False)
        return exact if exact.null_count() == series.null_count() else series.cast(pl.Float64)
    numbers = series.cast(pl.Float64)
    numbers = pl.select(pl.when(numbers.is_finite()).then(numbers).alias(series.name)).to_series()
    present = numbers.drop_nulls()
    whole = len(present) > 0 and ((present == present.round()) & (present.abs() < 2**53)).all()
    return numbers.cast(pl.Int64) if whole else numbers


def _tidy_text(text: pl.Series, lists: bool) -> pl.Series:
    present = text.drop_nulls()
    if len(present) == 0:
        return text
    if present.str.contains(r"^-?(0|[1-9][0-9]{0,17})$").all():
        return text.cast(pl.Int64)
    if (
        present.str.contains(r"^-?(0|[1-9][0-9]*)?\.?[0-9]+([eE][-+]?[0-9]+)?$").all()
        and not present.str.contains(r"^-?0[0-9]").any()
    ):
        return _tidy_numbers(text.cast(pl.Float64))
    if lists and present.str.contains(r"\|").sum() >= _LIST_SHARE * len(present):
        return _trimmed(text.str.split("|"))
    return text


def _tidy_list(series: pl.Series) -> pl.Series | None:
    inner = series.dtype.inner  # type: ignore[attr-defined]
    if inner.is_integer():
        return series.cast(pl.List(pl.Int64))
    if inner.is_float() or inner == pl.Boolean:
        return series
    if inner != pl.String:
        return None
    return _trimmed(series)


def _trimmed(series: pl.Series) -> pl.Series:
    """A list of text without blanks around its entries and without empty ones."""
    stripped = series.list.eval(without_controls(pl.element()).str.strip_chars())
    return stripped.list.eval(pl.element().filter(pl.element().is_not_null() & (pl.element() != "")))
