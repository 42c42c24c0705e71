"""The items there are: their ids, titles, text and metadata."""

import hashlib
import heapq
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from retrieval.errors import UnknownItemError

LABEL_LENGTH = 80
SKETCHED = 64  # hashes that tell one catalog from another
_ARTICLE_LAST = re.compile(r"^([^()]+), ?(The|An|A)( \(.*)?$")
WORD = re.compile(r"[^\W\d_]{3,}")
_BLANKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")

Scalar = str | int | float | bool
Metadata = dict[str, Scalar | list[Scalar]]


@dataclass(frozen=True)
class Attribute:
    """One fact of an item's data: ``Attribute("genres", "Horror")``."""

    field: str
    value: str


class Catalog:
    """All items in memory, in the order of the file; rows are numbered from 0."""

    def __init__(self, frame: pl.DataFrame):
        self.frame = frame
        self.ids: list[str] = frame["item_id"].to_list()
        self._row_of = {item_id: row for row, item_id in enumerate(self.ids)}
        self.fields = [name for name in frame.columns if name not in ("item_id", "title")]
        self._text_fields = [name for name in self.fields if _is_text(frame.schema[name])]

    @classmethod
    def read(cls, path: Path) -> "Catalog":
        """Read ``items.parquet``."""
        return cls(pl.read_parquet(path))

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._row_of

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of all items and fields, whatever file and order they come in."""
        content = self.frame.sort("item_id").write_ndjson()
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    @cached_property
    def sketch(self) -> tuple[str, ...]:
        """The 64 smallest hashes of its texts, 16 hexadecimal digits each (bottom-k sketch; Broder 1997)."""
        texts = (self.text(item_id).encode("utf-8", "surrogatepass") for item_id in self.ids)
        return tuple(heapq.nsmallest(SKETCHED, {hashlib.sha256(text).hexdigest()[:16] for text in texts}))

    def row(self, item_id: str) -> int:
        """The row number of an item.

        Raises:
            UnknownItemError: no such id.
        """
        try:
            return self._row_of[item_id]
        except KeyError:
            raise UnknownItemError(f"no item {item_id!r}; an id or a title of the catalog is needed") from None

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        return self.frame.to_dicts()

    def title(self, item_id: str) -> str:
        """The title as the data give it."""
        return str(self._rows[self.row(item_id)]["title"])

    def label(self, item_id: str) -> str:
        """How the item is called in front of people: the title, cut at 80 characters, and the year if known.

        An English article that a list of titles has at the end, as in "Matrix, The", is put where it is said.
        """
        record = self._rows[self.row(item_id)]
        title = _ARTICLE_LAST.sub(r"\2 \1\3", _one_line(str(record["title"])))
        return _title_and_year({**record, "title": title}, LABEL_LENGTH)

    def text(self, item_id: str) -> str:
        """The item's text, for encoders and language models: the one definition.

        The title with the year where there is one, then every text field as ``Field: value``; lists joined by
        commas. Other numbers and links stay out.
        """
        record = self._rows[self.row(item_id)]
        parts = [_title_and_year(record)]
        for name, values in self._said(record):
            parts.append(f"{name.replace('_', ' ').capitalize()}: {_one_line(', '.join(values))}")
        return ". ".join(parts)

    def words(self, item_id: str) -> frozenset[str]:
        """The words of the title and of the text fields' values, in small letters, without the fields' names."""
        record = self._rows[self.row(item_id)]
        said = [str(record["title"]), *(value for _, values in self._said(record) for value in values)]
        return frozenset(WORD.findall(" ".join(said).casefold()))

    def _said(self, record: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
        """Each text field with its values; links say nothing."""
        for name in self._text_fields:
            value = record[name]
            values = value if isinstance(value, list) else [value]
            kept = [entry for entry in values if entry and not entry.startswith(("http://", "https://"))]
            if kept:
                yield name, kept

    def metadata(self, item_id: str) -> Metadata:
        """All fields that have a value, for filters; empty lists and missing values are left out."""
        record = self._rows[self.row(item_id)]
        return {name: value for name, value in record.items() if value is not None and value != []}

    def attributes(self, item_id: str) -> list[Attribute]:
        """The facts that may be shared with another item: values of text fields, in the order of the data."""
        said = self._said(self._rows[self.row(item_id)])
        return [Attribute(name, value) for name, values in said for value in values if len(value) <= LABEL_LENGTH]

    def content_hash(self, item_id: str) -> str:
        """16 hexadecimal digits that change when the item's text or metadata change."""
        content = json.dumps([self.text(item_id), self.metadata(item_id)], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _title_and_year(record: dict[str, Any], length: int | None = None) -> str:
    title = _one_line(str(record["title"]))
    if length is not None and len(title) > length:
        title = title[: length - 1].rstrip() + "…"
    year = record.get("year")
    return f"{title} ({year})" if isinstance(year, int) and f"({year})" not in title else title


def _one_line(text: str) -> str:
    return _BLANKS.sub(" ", text).strip()


def _is_text(kind: pl.DataType) -> bool:
    return kind == pl.String or kind == pl.List(pl.String)
