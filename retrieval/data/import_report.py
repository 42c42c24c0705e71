"""What all imports share: the report, ids, and the sentence about a row."""

from dataclasses import dataclass, field

import polars as pl
from polars import selectors

from retrieval.errors import InputError


@dataclass
class ImportReport:
    """What became of one table: which columns were used for what, and what was left out and why."""

    source: str
    columns: dict[str, str]
    rows: int = 0
    kept: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def invalid(self, row: int, problem: str, shown: object, count: int) -> InputError:
        """The error for the first of ``count`` rows that have a problem; rows are counted from 1 below the header."""
        value = "" if shown is None else f" ({str(shown)[:60]!r})"
        more = f", and {count - 1:,} more like it" if count > 1 else ""
        way_out = "mend it, or leave such rows out: --skip-invalid"
        return InputError(f"{self.source}, data row {row:,}{value}: {problem}{more}; {way_out}")


def column(name: str) -> pl.Expr:
    """The column of exactly this name; `polars.col` would read ``^…$`` as a pattern."""
    return selectors.by_name(name).as_expr()


def identifier(name: str, kinds: pl.Schema) -> pl.Expr:
    """An id column as text; whole floats lose their ``.0``; blanks become null."""
    if not kinds[name].is_float():
        return blank_to_null(column(name).cast(pl.String))
    whole = pl.when(column(name) == column(name).round()).then(column(name).cast(pl.Int64, strict=False))
    return pl.coalesce(whole.cast(pl.String), column(name).cast(pl.String))


def without_controls(text: pl.Expr) -> pl.Expr:
    """Text in which control characters, such as a terminal's escape, are blanks."""
    return text.str.replace_all(r"[\x00-\x1f\x7f-\x9f]", " ")


def blank_to_null(text: pl.Expr) -> pl.Expr:
    """Text without control characters and without blanks around it; null where nothing is left."""
    stripped = without_controls(text).str.strip_chars()
    return pl.when(stripped != "").then(stripped)
