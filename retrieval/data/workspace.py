"""The folder that holds everything: settings, items, events, users, index and models."""

import hashlib
import json
import os
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import polars as pl
from filelock import FileLock, Timeout

from retrieval.artefacts import atomic_folder, file_fingerprint
from retrieval.data.catalog import Catalog
from retrieval.data.events import History, events_of, history_of
from retrieval.data.feedback import FEEDBACK, Feedback
from retrieval.data.import_tables import Imported, check_overrides, import_tables
from retrieval.data.reacted import reacted
from retrieval.data.readers import Table
from retrieval.errors import UnknownUserError, WorkspaceError, command, first_line

FORMAT_VERSION = 1
EVENT_COLUMNS = ("user_id", "item_id", "value", "timestamp")
FOOTER = 65_536  # bytes at the end of a file of events

_SETTINGS = """\
# Settings of this workspace; `whyrec doctor` lists all that can be set. Environment variables (WHYREC_...) and
# options on the command line go before these.
format_version = {format_version}

[items]
noun = {noun}          # what an item is called in explanations

[events]
liked_from = {liked_from}        # an event of at least this value counts as liked (at first found from the data)
verb = {verb}        # what such an event says in explanations: liked, or chose where the events have no rating
"""


class Workspace:
    """An existing workspace folder. Opening it reads the format version and nothing else."""

    def __init__(self, root: Path):
        """Open the workspace at ``root``.

        Raises:
            WorkspaceError: there is none, or its format is newer than this whyrec knows.
        """
        self.root = root
        self.settings_path = root / "whyrec.toml"
        if not self.settings_path.is_file():
            raise WorkspaceError(f"{root} is not a workspace; make one with: {command('init --demo movielens', root)}")
        version = self._settings().get("format_version")
        if type(version) is not int or version < 1:
            raise WorkspaceError(f"{self.settings_path} has no usable format_version; restore it from a backup")
        if version > FORMAT_VERSION:
            raise WorkspaceError(
                f"{root} has workspace format {version}, this whyrec knows up to {FORMAT_VERSION}; "
                "update it: pip install --upgrade whyrec"
            )
        self.index_path = root / "index"
        self.items_path = root / "data" / "items.parquet"
        self.events_path = root / "data" / "events"
        self.users_path = root / "data" / "users.parquet"
        self.feedback = Feedback(root / FEEDBACK, self.events_path)

    @property
    def name(self) -> str:
        """What the data are called where nothing else is said: the folder, or for a hidden one that around it."""
        path = self.root.resolve()
        return path.parent.name if path.name.startswith(".") else path.name

    def _settings(self) -> dict[str, object]:
        try:
            return tomllib.loads(self.settings_path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise WorkspaceError(f"{self.settings_path} is not valid TOML: {error}") from error

    @cached_property
    def catalog(self) -> Catalog:
        """The items.

        Raises:
            WorkspaceError: the file is missing or damaged.
        """
        try:
            return Catalog.read(self.items_path)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise _unreadable(self.items_path, error) from error

    @cached_property
    def catalog_fingerprint(self) -> str:
        """16 hexadecimal digits that change with the items."""
        return file_fingerprint([self.items_path])

    @cached_property
    def events_fingerprint(self) -> str:
        """16 hexadecimal digits that change with the events: names, sizes and last bytes of their files.

        A Parquet file ends with the statistics of all its columns; reading everything would take seconds where there
        are many events.
        """
        digest = hashlib.sha256()
        for path in sorted(self.events_path.glob("part-*.parquet")):
            size = path.stat().st_size
            digest.update(f"{path.name} {size} ".encode())
            with path.open("rb") as file:
                file.seek(max(0, size - FOOTER))
                digest.update(file.read())
        return digest.hexdigest()[:16]

    @cached_property
    def all_events(self) -> str:
        """16 hexadecimal digits of what the events say, whatever files and order they are in; reads them all."""
        text = pl.format("{}\t{}\t{}\t{}", *(pl.col(n).cast(pl.String).fill_null("") for n in EVENT_COLUMNS))
        lines = self.events().select(text.alias("line")).collect(engine="streaming")["line"].sort()
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def events(self) -> pl.LazyFrame:
        """All events: user_id, item_id, value, timestamp."""
        parts = sorted(self.events_path.glob("part-*.parquet"))
        if not parts:
            return pl.LazyFrame(
                schema={"user_id": pl.String, "item_id": pl.String, "value": pl.Float64, "timestamp": pl.Int64}
            )
        return pl.scan_parquet(parts)

    @cached_property
    def times(self) -> str:
        """What the events' timestamps are (`Timestamps.kind`).

        Raises:
            WorkspaceError: the account of the import is missing or damaged.
        """
        path = self.root / "data" / "import.json"
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["times"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _unreadable(path, error) from error

    def users(self) -> pl.DataFrame | None:
        """What is known of users beside their events: ``user_id`` and any further fields; None where nothing is.

        A user may have events and no row here, or a row and no events.

        Raises:
            WorkspaceError: the file is damaged.
        """
        if not self.users_path.exists():
            return None
        try:
            return pl.read_parquet(self.users_path).select("user_id", pl.exclude("user_id"))
        except (OSError, pl.exceptions.PolarsError) as error:
            raise _unreadable(self.users_path, error) from error

    @property
    def timed(self) -> bool:
        """Whether timestamps are milliseconds since 1970, and not positions (`times`)."""
        return self.times not in ("order", "none")

    def history(self, user_id: str) -> History:
        """What one user did and said, oldest first; what they said of items that are gone is left out.

        Raises:
            UnknownUserError: no event and no reaction of this user.
            WorkspaceError: the events or the reactions cannot be read.
        """
        # Reactions first: one that becomes an event in between is read twice, which does no harm, and never missed.
        reactions = [one for one in self.feedback.of(user_id) if one.item_id in self.catalog]
        try:
            events = events_of(self.events(), user_id)
            if events.is_empty() and not reactions:
                raise UnknownUserError(self._unknown_user(user_id))
        except (OSError, pl.exceptions.PolarsError) as error:
            raise _unreadable(self.events_path, error) from error
        return reacted(events, reactions, timed=self.timed) if reactions else history_of(events)

    def _unknown_user(self, user_id: str) -> str:
        some = (
            self.events()
            .select("user_id")
            .head(1000)
            .unique(maintain_order=True)
            .head(3)
            .collect()["user_id"]
            .to_list()
        )
        if not some:
            return f"no user {user_id!r}: this workspace has no events; name items a person likes with --like"
        return (
            f"no user {user_id!r}; there are, for instance, {', '.join(some)}; for a new person use --like or --query"
        )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the workspace's lock while the index or the models change.

        Raises:
            WorkspaceError: another process holds it.
        """
        try:
            with FileLock(self.root / ".lock", timeout=1):
                yield
        except Timeout:
            raise WorkspaceError(f"{self.root} is being written by another whyrec; wait for it to end") from None


def _unreadable(path: Path, error: Exception) -> WorkspaceError:
    return WorkspaceError(f"{path} cannot be read ({first_line(error)}); import it again: whyrec init --replace")


def create_workspace(
    root: Path,
    items: Table,
    events: Table | None,
    users: Table | None = None,
    *,
    overrides: dict[str, str] | None = None,
    noun: str = "item",
    skip_invalid: bool = False,
    replace: bool = False,
) -> Imported:
    """Import the tables into a new workspace at ``root``; on any error nothing is left there.

    With ``replace`` the data are imported anew and settings, index and models stay.

    Raises:
        InputError: the tables cannot be used (`import_tables`).
        WorkspaceError: something is at ``root`` already and ``replace`` is false, or it is no workspace that can be
            opened, or another process is writing it.
    """
    if root.exists() and not root.is_dir():
        raise WorkspaceError(f"{root} is a file; choose another place for the workspace")
    occupied = root.exists() and any(root.iterdir())
    if occupied and not (root / "whyrec.toml").is_file():
        raise WorkspaceError(f"{root} holds other files; choose another place for the workspace")
    if occupied and not replace:
        raise WorkspaceError(
            f"{root} is a workspace already; add --replace to import the data anew (settings and index stay)"
        )
    overrides = overrides or {}
    tables = {name: table for name, table in (("items", items), ("events", events), ("users", users)) if table}
    check_overrides(tables, overrides)
    # A workspace of a newer format is not opened, and one that is being written is waited for.
    lock = Workspace(root).writing() if occupied else nullcontext()
    with lock, ExitStack() as until_replaced, atomic_folder(root, replace=replace) as folder:
        imported = import_tables(folder / "data", tables, overrides, skip_invalid=skip_invalid)
        if occupied:
            _keep(root, folder)
            until_replaced.enter_context(Workspace(root).feedback.carried_to(folder))
        else:
            (folder / "whyrec.toml").write_text(_settings_text(imported, noun), encoding="utf-8")
        (folder / "data" / "import.json").write_text(json.dumps(asdict(imported), indent=1), encoding="utf-8")
    return imported


def _settings_text(imported: Imported, noun: str) -> str:
    return _SETTINGS.format(
        format_version=FORMAT_VERSION,
        noun=json.dumps(noun, ensure_ascii=False),
        liked_from=round(imported.liked_from, 6),
        verb=json.dumps(imported.verb),
    )


def _keep(old: Path, new: Path) -> None:
    """Take everything but the data along, as hard links: nothing is lost if the process ends half-way."""
    for path in old.iterdir():
        if path.name == "data" or path.name.startswith((".", FEEDBACK)):
            continue
        if path.is_dir():
            shutil.copytree(path, new / path.name, copy_function=os.link)
        else:
            (new / path.name).hardlink_to(path)
