"""What a remote model has cost, in SQLite, so that the cap holds over processes."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.remote.options import RemoteSettings
from retrieval.errors import RemoteError, WorkspaceError, first_line

SPENDING = "spending.sqlite"  # in a workspace
PATIENCE = 30.0  # seconds that one process waits for another
_MOST = 10**12  # tokens of one answer that are believed
_SCHEMA = """
CREATE TABLE IF NOT EXISTS spent (
    day TEXT NOT NULL,
    model TEXT NOT NULL,
    purpose TEXT NOT NULL,
    requests INTEGER NOT NULL,
    read INTEGER NOT NULL,
    written INTEGER NOT NULL,
    cost REAL NOT NULL,
    PRIMARY KEY (day, model, purpose)
)
"""
_ADD = """
INSERT INTO spent VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET requests = requests + excluded.requests,
    read = read + excluded.read, written = written + excluded.written, cost = cost + excluded.cost
"""


@dataclass(frozen=True)
class Spent:
    """requests: how many were answered or may have been. tokens: read and written. cost: by the prices of then."""

    requests: int
    tokens: int
    cost: float


@dataclass(frozen=True)
class Reserved:
    """What a request may cost at most, which is counted until it is known what it did cost."""

    day: str
    purpose: str
    read: int
    written: int


class Spending:
    """Counts for one cap; any number of processes may do so at once, and never exceed it together."""

    def __init__(self, settings: RemoteSettings, path: Path):
        """``path``: the database, which need not exist."""
        self._settings = settings
        self.path = path

    def total(self) -> Spent:
        """All that was spent.

        Raises:
            WorkspaceError: the database cannot be read.
        """
        if not self.path.is_file():
            return Spent(0, 0, 0.0)
        with self._transaction() as database:
            return _total(database)

    def reserve(self, purpose: str, read: int, written: int) -> Reserved:
        """Count what a request may cost at most.

        Raises:
            RemoteError: that does not fit under the cap; nothing is counted.
            WorkspaceError: the database cannot be written.
        """
        settings = self._settings
        with self._transaction() as database:
            spent, cost = _total(database), settings.cost(read, written)
            name = f"the spending cap of the language model {settings.name} is reached"
            if spent.tokens + read + written > settings.most_tokens:
                raise RemoteError(
                    f"{name}: {spent.tokens:,} of {settings.most_tokens:,} tokens, and the next answer may take "
                    f"{read + written:,}; raise most_tokens under [remote]"
                )
            if settings.most_cost and spent.cost + cost > settings.most_cost:
                raise RemoteError(
                    f"{name}: {spent.cost:.4f} of {settings.most_cost:g} in money, and the next answer may take "
                    f"{cost:.4f}; raise most_cost under [remote]"
                )
            reserved = Reserved(time.strftime("%Y-%m-%d", time.gmtime()), purpose, read, written)
            self._add(database, reserved, 1, read, written)
        return reserved

    def settle(self, reserved: Reserved, read: int, written: int) -> None:
        """Count what it did cost in place of what it might have.

        Raises:
            WorkspaceError: the database cannot be written.
        """
        read, written = (min(max(count, 0), _MOST) for count in (read, written))
        with self._transaction() as database:
            self._add(database, reserved, 0, read - reserved.read, written - reserved.written)

    def cancel(self, reserved: Reserved) -> None:
        """Count nothing, as nothing was answered.

        Raises:
            WorkspaceError: the database cannot be written.
        """
        with self._transaction() as database:
            self._add(database, reserved, -1, -reserved.read, -reserved.written)

    def _add(self, database: sqlite3.Connection, one: Reserved, requests: int, read: int, written: int) -> None:
        cost = self._settings.cost(read, written)
        database.execute(_ADD, (one.day, self._settings.name, one.purpose, requests, read, written, cost))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            database = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)
            try:
                database.execute("PRAGMA synchronous = FULL")
                database.execute("BEGIN IMMEDIATE")
                database.execute(_SCHEMA)
                try:
                    yield database
                except BaseException:
                    if database.in_transaction:
                        database.execute("ROLLBACK")
                    raise
                database.execute("COMMIT")
            finally:
                database.close()
        except sqlite3.Error as error:
            raise WorkspaceError(
                f"{self.path}, where what the remote model costs is counted, cannot be used ({first_line(error)})"
            ) from error


def _total(database: sqlite3.Connection) -> Spent:
    sums = "SELECT coalesce(sum(requests), 0), coalesce(sum(read + written), 0), coalesce(sum(cost), 0.0) FROM spent"
    return Spent(*database.execute(sums).fetchone())
