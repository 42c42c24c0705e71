"""Where things are printed: data on stdout, everything else on stderr."""

import csv
import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

UNFOLDED = 1_000
messages = Console(stderr=True, highlight=False, soft_wrap=True)


class Format(StrEnum):
    """How rows are printed."""

    table = "table"
    json = "json"
    ndjson = "ndjson"
    csv = "csv"


def complain(message: str) -> None:
    """One line on stderr for an error."""
    messages.print(Text.assemble(("error: ", "bold red"), " ".join(message.split())))


def note(message: str) -> None:
    """One line on stderr that a person should read but a program need not."""
    messages.print(Text.assemble(("note: ", "bold yellow"), message))


def say(message: str) -> None:
    """One line on stderr about what is being done."""
    messages.print(Text(message))


class Steps:
    """A bar on stderr for one piece of work after another; without a terminal, a line for each."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal)
        self._task: TaskID | None = None

    def __enter__(self) -> "Steps":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def start(self, label: str, total: int) -> None:
        """A piece of work of ``total`` steps begins; the one before is done."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(label, total=total)
        if not messages.is_terminal:
            say(label)

    def advance(self, steps: int = 1) -> None:
        """So many steps are done."""
        if self._task is not None:
            self._bar.advance(self._task, steps)

    def note(self, message: str) -> None:
        """As `note`, without disturbing the bar."""
        note(message)


def print_rows(rows: Sequence[Mapping[str, Any]], form: Format, *tables: Table) -> None:
    """Print rows on stdout. ``tables`` are how they look to people; by default one with a column for each key."""
    if form is Format.json:
        print(json.dumps(list(rows), ensure_ascii=False, indent=1))
    elif form is Format.ndjson:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
    elif form is Format.csv:
        sys.stdout.write(_as_csv(rows))
    else:
        # Off a terminal nothing is folded, unless a width was asked for.
        wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else UNFOLDED
        console = Console(highlight=False, width=wide)
        for place, table in enumerate(tables or [_as_table(rows)]):
            if place > 0:
                console.print()
            console.print(table)


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    flat = [
        {k: json.dumps(v, ensure_ascii=False) if isinstance(v, (list, dict)) else v for k, v in r.items()} for r in rows
    ]
    if flat:
        writer = csv.DictWriter(out, fieldnames=names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
    return out.getvalue()


def _as_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in rows[0] if rows else []:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(value)) for value in row.values()))
    return table
