"""`whyrec compact`: reactions become events, each of them exactly once, whenever the process is killed.

One file is the truth: the new part of the events, whose name says up to which id reactions are in it. It is written
beside its place and renamed while a transaction lets nobody add or undo. Killed before that, nothing was folded;
killed after it, the name tells the next one who writes to the database what to remove.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from retrieval.artefacts import sync, write_parquet, write_text
from retrieval.data.feedback import FOLDED, Reaction, insert, is_folded, select
from retrieval.data.workspace import EVENT_COLUMNS, Workspace
from retrieval.errors import WorkspaceError, first_line


@dataclass(frozen=True)
class Folded:
    """How many reactions there were, by kind: folded, kept where they are, and waiting since their item is gone."""

    folded: Mapping[str, int]
    kept: Mapping[str, int]
    waiting: Mapping[str, int]


def fold(workspace: Workspace) -> Folded:
    """Append what reactions are worth to the events, as a part of its own. Hold the workspace's lock.

    ``seen`` and ``hide`` are worth nothing and stay; so do dislikes, which bar an item beside being events. Where times
    are positions, each reaction has the next one. An opened `Workspace` still has the events' fingerprint as it was.

    Raises:
        WorkspaceError: the database or the events cannot be read or written.
    """
    if not workspace.feedback.path.is_file():
        return Folded({}, {}, {})
    workspace = Workspace(workspace.root)
    try:
        if not any(workspace.events_path.glob("part-*.parquet")):
            _have_times(workspace)
        with workspace.feedback.writing() as database:
            _put_last(database, workspace)
        return _folded(workspace)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise WorkspaceError(f"{workspace.events_path} cannot be read or written ({first_line(error)})") from error


def _folded(workspace: Workspace) -> Folded:
    feedback = workspace.feedback
    with feedback.writing() as database:
        before = feedback.folded_up_to(database)
        valued = [one for one in select(database) if one.value is not None and not is_folded(one, before)]
        gone = [one for one in valued if one.item_id not in workspace.catalog]
        ready = [one for one in valued if not gone or one.id < gone[0].id]
        if ready:
            final = feedback.part(database, ready[-1].id)
            work = final.with_name(f"{FOLDED}.unfinished")
            write_parquet(_as_events(ready, workspace), work)
            sync(work)
            work.rename(final)
            sync(final.parent)
    with feedback.writing() as database:  # which removes what is in the events now
        left = [one for one in select(database) if one.value is None or one.kind == "dislike"]
    return Folded(_counts(ready), _counts(left), _counts(valued[len(ready) :]))


def _as_events(reactions: Sequence[Reaction], workspace: Workspace) -> pl.LazyFrame:
    times = [one.timestamp for one in reactions]
    if not workspace.timed:
        last = workspace.events().select(pl.col("timestamp").max()).collect(engine="streaming").item() or 0
        times = [last + place for place in range(1, len(reactions) + 1)]
    columns = {
        "user_id": [one.user_id for one in reactions],
        "item_id": [one.item_id for one in reactions],
        "value": [one.value for one in reactions],
        "timestamp": times,
    }
    return pl.LazyFrame(columns, schema=workspace.events().collect_schema()).select(EVENT_COLUMNS)


def _put_last(database: sqlite3.Connection, workspace: Workspace) -> None:
    """Give reactions to items that are gone the highest ids: they wait, and no others behind them."""
    folded = workspace.feedback.folded_up_to(database)
    for one in select(database):
        if one.value is not None and not is_folded(one, folded) and one.item_id not in workspace.catalog:
            database.execute("DELETE FROM reactions WHERE id = ?", (one.id,))
            insert(database, one.user_id, one.item_id, one.kind, one.value, one.timestamp)


def _have_times(workspace: Workspace) -> None:
    """Reactions have real times: where there are no events yet, theirs are those of all events."""
    path = workspace.root / "data" / "import.json"
    account = json.loads(path.read_text(encoding="utf-8"))
    write_text(path, json.dumps(account | {"times": "milliseconds"}, indent=1))


def _counts(reactions: Sequence[Reaction]) -> dict[str, int]:
    return dict(sorted(Counter(one.kind for one in reactions).items()))
