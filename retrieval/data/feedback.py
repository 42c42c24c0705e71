"""What people say of items while a workspace serves: reactions in SQLite, from the moment they are given."""

import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from retrieval.artefacts import sync
from retrieval.errors import WorkspaceError, first_line

Kind = Literal["like", "dislike", "rating", "seen", "hide"]
FEEDBACK = "feedback.sqlite"  # in a workspace
FOLDED = "part-feedback"  # how the names of parts begin that reactions were folded into
FORMAT_VERSION = 1
PATIENCE = 30.0  # seconds that a reaction waits while others are written

_SCHEMA = f"""
CREATE TABLE origin (id TEXT NOT NULL);
CREATE TABLE reactions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id TEXT NOT NULL,
    item_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    value REAL,
    timestamp INTEGER NOT NULL
);
CREATE INDEX reactions_of_user ON reactions (user_id, item_id);
PRAGMA user_version = {FORMAT_VERSION};
"""
# What events say by now: likes and ratings that were folded, and what had been said of the same item before.
_SETTLE = """
DELETE FROM reactions WHERE id IN (
    SELECT before.id FROM reactions AS before JOIN reactions AS folded USING (user_id, item_id)
    WHERE folded.kind IN ('like', 'rating') AND folded.id <= :folded AND before.id <= folded.id
)
"""


@dataclass(frozen=True)
class Reaction:
    """What one user said of one item. id: higher than those given before. timestamp: milliseconds since 1970.

    value: what it is worth as an event; None for ``seen`` and ``hide``, which never become one.
    """

    id: int
    user_id: str
    item_id: str
    kind: Kind
    value: float | None
    timestamp: int


class Feedback:
    """The reactions of a workspace, for any number of processes that read and write at once.

    Whatever the events hold already is known by the names of their parts: ``part-feedback-<origin>-<id>.parquet`` has
    all that could be folded up to this id. Ids are never given twice, and ``origin`` tells one database from another.
    """

    def __init__(self, path: Path, events: Path):
        """``path``: the database, which need not exist; ``events``: the folder with the parts."""
        self.path = path
        self._events = events

    def of(self, user_id: str) -> list[Reaction]:
        """What one user said, oldest first; some of it may stand in the events, too.

        Raises:
            WorkspaceError: the database cannot be read.
        """
        if not self.path.is_file() or not is_text(user_id):
            return []
        with self._opened() as database:
            return select(database, user_id)

    def kept(self, user_id: str | None = None) -> tuple[list[Reaction], int]:
        """What one user or everybody said and this database must keep; and up to which id the events say it, too.

        Raises:
            WorkspaceError: the database cannot be read.
        """
        if not self.path.is_file():
            return [], 0
        with self._opened() as database:
            folded = self.folded_up_to(database)
            found = select(database, user_id)
        return [one for one in found if one.kind not in ("like", "rating") or not is_folded(one, folded)], folded

    def add(self, user_id: str, item_id: str, kind: Kind, value: float | None) -> Reaction:
        """Keep a reaction; it is on disk when this returns.

        Raises:
            WorkspaceError: the database cannot be written.
        """
        now = time.time_ns() // 1_000_000
        with self.writing() as database:
            return insert(database, user_id, item_id, kind, value, now)

    def undo(self, user_id: str | None) -> Reaction | None:
        """Take back the last reaction, of this user where one is given, that is not in the events; None without one.

        Raises:
            WorkspaceError: the database cannot be written.
        """
        if not self.path.is_file():
            return None
        with self.writing() as database:
            folded = self.folded_up_to(database)
            found = [one for one in select(database, user_id) if not is_folded(one, folded)]
            if found:
                database.execute("DELETE FROM reactions WHERE id = ?", (found[-1].id,))
        return found[-1] if found else None

    def forget(self, user_id: str) -> int:
        """Remove all that a user said, from the file's free pages too; how many reactions these were.

        Raises:
            WorkspaceError: the database cannot be written.
        """
        if not self.path.is_file():
            return 0
        with self.writing() as database:
            count = database.execute("DELETE FROM reactions WHERE user_id = ?", (user_id,)).rowcount
        with self._opened() as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return count

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The database in one transaction, which everybody else waits for; on an exception nothing of it stays.

        What an interrupted `whyrec compact` has folded but not removed is removed first.

        Raises:
            WorkspaceError: it cannot be written.
        """
        if not self.path.is_file():
            self._create()
        opened = self.path.stat().st_ino
        with self._opened() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                folded = self.folded_up_to(database)
                database.execute(_SETTLE, {"folded": folded})
                # A database that was restored from a backup must not give ids again.
                database.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'reactions'", (folded,))
                yield database
            except BaseException:
                if database.in_transaction:  # SQLite itself ends it where the disk is full
                    database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")
            if not self.path.is_file() or self.path.stat().st_ino != opened:
                raise WorkspaceError("the workspace was replaced in this very moment; give the command again")

    @contextmanager
    def carried_to(self, folder: Path) -> Iterator[None]:
        """Copy the database into ``folder``, and let nobody write it while the block lasts.

        Raises:
            WorkspaceError: it cannot be read, or the copy not be written.
        """
        if not self.path.is_file():
            yield
            return
        with self._opened() as database, self._opened() as reader:
            database.execute("BEGIN IMMEDIATE")
            copy = sqlite3.connect(folder / self.path.name)
            try:
                reader.backup(copy)
            finally:
                copy.close()
            yield

    def folded_up_to(self, database: sqlite3.Connection) -> int:
        """The highest id whose reaction stands in the events, 0 where nothing was folded."""
        parts = self._events.glob(f"{FOLDED}-{self._origin(database)}-*.parquet")
        return max((int(path.stem.rpartition("-")[2]) for path in parts), default=0)

    def part(self, database: sqlite3.Connection, last: int) -> Path:
        """The part of the events that says that everything up to ``last`` is in them."""
        return self._events / f"{FOLDED}-{self._origin(database)}-{last:012}.parquet"

    def _origin(self, database: sqlite3.Connection) -> str:
        found = database.execute("SELECT id FROM origin").fetchone()
        if found is None:
            raise sqlite3.DatabaseError("its origin is missing")
        return str(found[0])

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            database = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=rw", uri=True, timeout=PATIENCE, isolation_level=None
            )
            try:
                database.execute("PRAGMA synchronous = FULL")
                database.execute("PRAGMA secure_delete = ON")
                version = database.execute("PRAGMA user_version").fetchone()[0]
                if version > FORMAT_VERSION:
                    raise WorkspaceError(f"{self.path} is of a newer whyrec; update it: pip install --upgrade whyrec")
                yield database
            finally:
                database.close()
        except sqlite3.Error as error:
            raise WorkspaceError(
                f"{self.path} cannot be used ({first_line(error)}); make room or restore it from a backup"
            ) from error

    def _create(self) -> None:
        """Make the database, whole or not at all; another process may do so at the same time."""
        work = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        try:
            database = sqlite3.connect(work, isolation_level=None)
            try:
                database.execute("PRAGMA journal_mode = WAL")
                database.executescript(_SCHEMA)
                database.execute("INSERT INTO origin VALUES (?)", (secrets.token_hex(4),))
            finally:
                database.close()
            self.path.hardlink_to(work)
            sync(self.path.parent)
        except FileExistsError:
            pass
        except sqlite3.Error as error:
            raise WorkspaceError(f"{self.path} cannot be made ({first_line(error)}); make room for it") from error
        finally:
            for path in self.path.parent.glob(f"{work.name}*"):
                path.unlink(missing_ok=True)


def is_text(name: str) -> bool:
    """Whether a name can be kept: what a terminal could not decode has no UTF-8."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def is_folded(one: Reaction, folded: int) -> bool:
    """Whether a reaction stands in the events, which hold all up to the id ``folded``."""
    return one.value is not None and one.id <= folded


def insert(
    database: sqlite3.Connection, user_id: str, item_id: str, kind: Kind, value: float | None, timestamp: int
) -> Reaction:
    """Add a reaction as the newest."""
    values = (user_id, item_id, kind, value, timestamp)
    row = database.execute(
        "INSERT INTO reactions (user_id, item_id, kind, value, timestamp) VALUES (?, ?, ?, ?, ?)", values
    )
    return Reaction(int(row.lastrowid or 0), *values)


def select(database: sqlite3.Connection, user_id: str | None = None) -> list[Reaction]:
    """Reactions of one user or of everybody, oldest first."""
    columns = "SELECT id, user_id, item_id, kind, value, timestamp FROM reactions"
    if user_id is None:
        rows = database.execute(f"{columns} ORDER BY id")
    else:
        rows = database.execute(f"{columns} WHERE user_id = ? ORDER BY id", (user_id,))
    return [Reaction(*row) for row in rows]
