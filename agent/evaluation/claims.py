"""What a written explanation claims, and whether the raw tables bear it out.

Nothing here knows the evidence, the sentences or the verifier: names, values and numbers are looked for in the text,
and checked against items and events.
"""

import itertools
import re
from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from retrieval.data.catalog import Catalog

NOT_VALUES = ("item_id", "title")


@dataclass(frozen=True)
class Claims:
    """How many names, values and numbers a text has, and how many of each are true. values: those it names."""

    names: int
    true_names: int
    values: tuple[str, ...]
    true_values: int
    numbers: int
    true_numbers: int


class ClaimReader:
    """Reads texts about items of one catalog, on the events of one workspace."""

    def __init__(self, catalog: Catalog, events: pl.DataFrame, liked_from: float):
        """``events``: all of them; those of at least ``liked_from`` are likes."""
        self._ids: dict[str, set[str]] = {}
        for item_id in catalog.ids:
            self._ids.setdefault(catalog.label(item_id), set()).add(item_id)
        self._values = {
            row["item_id"]: {
                value
                for name, cell in row.items()
                if name not in NOT_VALUES
                for value in (cell if isinstance(cell, list) else [cell])
                if isinstance(value, str) and value
            }
            for row in catalog.frame.iter_rows(named=True)
        }
        self._all_values = sorted(set().union(*self._values.values()), key=len, reverse=True) if self._values else []
        liked = events.filter(pl.col("value") >= liked_from).group_by("item_id").agg("user_id")
        self._likers = {item_id: set(users) for item_id, users in liked.iter_rows()}

    def read(self, text: str, item_id: str, going_by: Collection[str]) -> Claims:
        """What a text claims that is to explain an item to somebody who liked, or at least preferred, ``going_by``."""
        names, rest = self._names(text)
        known = {item_id, *going_by}
        named = [self._ids[name] & known for name in names]
        values, rest = _found(self._all_values, rest)
        holders = [ids for ids in named if ids] or [{item_id}]
        true_values = [v for v in values if all(any(v in self._values[one] for one in ids) for ids in holders)]
        numbers = [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", rest)]
        counted = self._together(holders)
        return Claims(
            len(names),
            sum(bool(ids) for ids in named),
            tuple(values),
            len(true_values),
            len(numbers),
            sum(number in counted for number in numbers),
        )

    def _names(self, text: str) -> tuple[list[str], str]:
        """The labels of items that stand in a text, and the text without them; the longest first."""
        return _found(sorted((label for label in self._ids if label in text), key=len, reverse=True), text)

    def _together(self, holders: list[set[str]]) -> set[int]:
        """How many liked all items that are named, for each way to read the names."""
        return {
            len(set.intersection(*(self._likers.get(one, set()) for one in reading)))
            for reading in itertools.product(*holders)
        }


def _found(wanted: list[str], text: str) -> tuple[list[str], str]:
    """Which of these stand in a text as whole words, and the text without them."""
    found = []
    for one in wanted:
        if one not in text:
            continue
        text, times = re.subn(rf"(?<!\w){re.escape(one)}(?!\w)", "\x00", text)
        found += [one] * times
    return found, text
