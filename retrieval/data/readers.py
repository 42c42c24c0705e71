"""Open a table in any of the formats people have, lazily, so that memory stays bounded."""

import csv
import gzip
import io
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import polars as pl

from retrieval.errors import InputError, first_line

SUFFIXES = (".csv", ".tsv", ".parquet", ".ndjson", ".jsonl", ".inter", ".item", ".user")
_COMPRESSED = (".gz", ".zst")
_ATOMIC = (".inter", ".item", ".user")


@dataclass(frozen=True)
class Table:
    """A lazy table and the name to use for it in messages."""

    frame: pl.LazyFrame
    source: str

    def columns(self) -> list[str]:
        """The names of its columns."""
        return self.frame.collect_schema().names()

    def collect(self, frame: pl.LazyFrame) -> pl.DataFrame:
        """Run a query on this table in bounded memory.

        Raises:
            InputError: polars cannot read on; names the file and, for broken UTF-8, the line.
        """
        try:
            return frame.collect(engine="streaming")
        except pl.exceptions.PolarsError as error:
            raise unreadable(Path(self.source), error) from error


def scan_table(path: Path) -> Table:
    """Scan a CSV, TSV, Parquet, NDJSON or RecBole atomic file; text formats may be gzip or zstd compressed.

    Columns of text formats come as strings, whatever they hold: the importer decides what they mean. RecBole's
    ``name:type`` headers lose their type, and ``token_seq`` and ``float_seq`` columns become lists.

    Raises:
        InputError: the file is missing, empty, of an unknown format, or not what its ending says.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty")
    if _format(path) != ".parquet" and _head(path).startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path}: is UTF-16; convert it with: iconv -f UTF-16 -t UTF-8")
    frame = _scan(path)
    try:
        names = frame.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(path, error) from error
    return Table(_without_types(frame, names) if _format(path) in _ATOMIC else frame, str(path))


def unreadable(path: Path, error: Exception) -> InputError:
    """The error to raise when polars cannot read on in ``path``; it names the line where that can be found."""
    told = str(error).lower()
    if "utf-8" in told or "utf8" in told:
        line = _first_broken_line(path)
        if line is not None:
            return InputError(f"{path}, line {line}: not valid UTF-8; convert the file, for instance with iconv")
    if "more fields" in told and _format(path) in (".csv", ".tsv"):
        line = _first_long_line(path)
        if line is not None:
            return InputError(f"{path}, line {line}: more fields than the header has; is a text without quotes?")
    return InputError(f"{path}: cannot be read as {_format(path)[1:]}: {first_line(error)}")


def _format(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _scan(path: Path) -> pl.LazyFrame:
    kind = _format(path)
    if kind == ".parquet":
        return pl.scan_parquet(path, glob=False)
    if kind in (".ndjson", ".jsonl"):
        return pl.scan_ndjson(path, infer_schema_length=10_000)
    if kind in (".csv", ".tsv", *_ATOMIC):
        separator = "," if kind == ".csv" else "\t"
        quote = '"' if kind in (".csv", ".tsv") else None
        return pl.scan_csv(path, separator=separator, quote_char=quote, infer_schema=False, glob=False)
    raise InputError(f"{path}: unknown format; the name must end in one of {', '.join(SUFFIXES)} (and .gz or .zst)")


def _without_types(frame: pl.LazyFrame, names: list[str]) -> pl.LazyFrame:
    columns = []
    for name in names:
        short, _, kind = name.partition(":")
        column = pl.col(name)
        if kind == "token_seq":
            column = column.str.split(" ")
        elif kind == "float_seq":
            column = column.str.split(" ").list.eval(pl.element().cast(pl.Float64))
        columns.append(column.alias(short))
    return frame.select(columns)


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _readable_lines(path: Path) -> bool:
    return path.is_file() and path.suffix != ".zst" and _format(path) != ".parquet"


def _head(path: Path) -> bytes:
    try:
        with _opened(path) as file:
            return file.read(2)
    except (OSError, EOFError):
        return b""  # polars says what is wrong with it


def _first_broken_line(path: Path) -> int | None:
    """The number of the first line (from 1) that is not UTF-8, or None where this cannot be told."""
    if not _readable_lines(path):
        return None
    with _opened(path) as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return None


def _first_long_line(path: Path) -> int | None:
    """The number of the first line whose record has more fields than the header, or None where this cannot be told."""
    if not _readable_lines(path):
        return None
    with _opened(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="")
        records = csv.reader(text, delimiter="," if _format(path) == ".csv" else "\t")
        fields = len(next(records, []))
        return next((records.line_num for record in records if len(record) > fields), None)
