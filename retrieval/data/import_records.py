"""What importing items and importing users share: a table with one row for each, under an id."""

from collections.abc import Mapping

import polars as pl
from polars import selectors

from retrieval.data.fields import NO_KINDS, tidy_fields
from retrieval.data.import_report import ImportReport, column, identifier
from retrieval.data.readers import Table
from retrieval.errors import InputError, first_line

TEXT_LIMIT = 100_000
_FIELD = "field "


def import_records(
    table: Table,
    what: str,
    columns: dict[str, str],
    further: dict[str, pl.Expr],
    checks: dict[str, pl.Expr],
    *,
    lists: bool = True,
    skip_invalid: bool = False,
    kinds: Mapping[str, pl.DataType] = NO_KINDS,
) -> tuple[pl.DataFrame, ImportReport]:
    """Check and tidy the rows, in the file's order: the id, the ``further`` columns and every usable field.

    ``what`` is item or user, its id ``item_id`` or ``user_id``. ``columns`` gives the file's column for the id and for
    each of ``further``. ``checks`` are problems that make a row unusable, with where they are, beside those of ids and
    endless texts. ``lists`` says whether fields may be lists, ``kinds`` which types some of them must have.

    Raises:
        InputError: no rows, or, unless ``skip_invalid``, the first row that cannot be used.
    """
    key = f"{what}_id"
    report = ImportReport(table.source, columns)
    frame = table.collect(
        table.frame.select(
            pl.int_range(1, pl.len() + 1).alias("row"),
            identifier(columns[key], table.frame.collect_schema()).alias(key),
            *[expression.alias(name) for name, expression in further.items()],
            selectors.exclude(selectors.by_name(*columns.values())).name.prefix(_FIELD),
        )
    )
    report.rows = len(frame)
    all_checks = _id_checks(key, columns[key]) | checks | _length_checks(frame.schema)
    frame = _without_invalid(frame, key, all_checks, report, skip_invalid)
    report.kept = len(frame)
    if report.kept == 0:
        raise InputError(f"{table.source}: no {what} in it")
    fields = frame.select(selectors.starts_with(_FIELD).name.map(lambda name: name.removeprefix(_FIELD)))
    try:
        tidy, report.notes = tidy_fields(fields, (key, *further), what=what, lists=lists, kinds=kinds)
    except InputError as error:
        raise InputError(f"{table.source}: {error}") from error
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{table.source}: a field cannot be used: {first_line(error)}") from error
    return pl.concat([frame.select(key, *further), tidy], how="horizontal"), report


def _id_checks(key: str, name: str) -> dict[str, pl.Expr]:
    """For each problem that an id can have, where it is; ``name`` is what the file calls the ids."""
    return {f"no {name}": pl.col(key).is_null(), f"{name} used before": ~pl.col(key).is_first_distinct()}


def _length_checks(schema: pl.Schema) -> dict[str, pl.Expr]:
    too_long = [
        column(name).list.eval(pl.element().str.len_chars()).list.max() > TEXT_LIMIT
        if kind == pl.List(pl.String)
        else column(name).str.len_chars() > TEXT_LIMIT
        for name, kind in schema.items()
        if name.startswith(_FIELD) and kind in (pl.String, pl.List(pl.String))
    ]
    return {f"a text of more than {TEXT_LIMIT:,} characters": pl.any_horizontal(too_long)} if too_long else {}


def _without_invalid(
    frame: pl.DataFrame, key: str, checks: dict[str, pl.Expr], report: ImportReport, skip_invalid: bool
) -> pl.DataFrame:
    """The rows that pass all checks, which are made in their order."""
    for problem, expression in checks.items():
        bad = frame.filter(expression.fill_null(False))
        if len(bad) == 0:
            continue
        if not skip_invalid:
            raise report.invalid(bad["row"][0], problem, bad[key][0], len(bad))
        report.left_out[problem] = len(bad)
        frame = frame.filter(~expression.fill_null(False))
    return frame
