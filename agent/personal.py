"""`whyrec export-user` and `whyrec forget`: all that a workspace holds about one person."""

import html
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.refresh.trial import TRIAL
from agent.sessions import sessions_of
from agent.stored import Stored, stored_models
from agent.unfinished import UNFINISHED
from retrieval.data.personal import rows_of, splits_of, take_out
from retrieval.data.workspace import Workspace
from retrieval.errors import UnknownUserError

NAMEABLE = range(-62_135_596_800_000, 253_402_300_800_000)  # milliseconds since 1970: the years 1 to 9999
EVENTS, LABELS, STUDENTS, USERS = "data/events", "labels", "models", "data/users.parquet"
IMPERSONAL = ("writer", "intent")  # kinds of models that learn from no events


@dataclass(frozen=True)
class Forgotten:
    """removed: what was removed, and how much of it. trained: what may have learnt from the person's events."""

    removed: Mapping[str, int]
    trained: list[Stored]


def exported(workspace: Workspace, user_id: str) -> dict[str, Any]:
    """All data about a person, as plain data.

    Raises:
        UnknownUserError: there are none.
        WorkspaceError: something cannot be read.
    """
    rows, reactions = rows_of(workspace, user_id), workspace.feedback.kept(user_id)[0]
    sessions = sessions_of(workspace, user_id)
    _check_known(workspace, user_id, bool(rows or reactions or sessions))
    tables = {
        kind: [row for path, frame in rows.items() if path.startswith(kind) for row in frame.to_dicts()]
        for kind in (EVENTS, LABELS, USERS)
    }
    attributes = [{name: value for name, value in row.items() if name != "user_id"} for row in tables[USERS]]
    return {
        "user_id": user_id,
        "attributes": attributes[0] if attributes else {},
        "events": [_readable(row, workspace, timed=workspace.timed) for row in tables[EVENTS]],
        "reactions": [_readable(asdict(one), workspace, timed=True) for one in reactions],
        "labels": [_readable(row, workspace, timed=False) for row in tables[LABELS]],
        "students": [str(Path(path).parent) for path in rows if path.startswith(STUDENTS)],
        "sessions": [json.loads(path.read_text(encoding="utf-8")) for path in sessions],
        "splits": [str(path.relative_to(workspace.root)) for path in splits_of(workspace, user_id)],
        "reports": [str(path.relative_to(workspace.root)) for path in _reports_of(workspace, user_id)],
    }


def forget(workspace: Workspace, user_id: str) -> Forgotten:
    """Remove all of it, for good. Hold the workspace's lock; given again after an interruption, it does the rest.

    What was trained stays, as it cannot be told what it has of one person.

    Raises:
        UnknownUserError: there is nothing about this user.
        WorkspaceError: something cannot be read or written.
    """
    rows, splits, reports = rows_of(workspace, user_id), splits_of(workspace, user_id), _reports_of(workspace, user_id)
    reactions, sessions = len(workspace.feedback.of(user_id)), sessions_of(workspace, user_id)
    _check_known(workspace, user_id, bool(rows or splits or reports or reactions or sessions))
    removed = {"reactions": workspace.feedback.forget(user_id)}
    for folder in splits:
        shutil.rmtree(folder)
    for file in [*reports, *sessions]:
        file.unlink()
    learnt = any(path.startswith(EVENTS) for path in rows)
    if learnt:
        for folder in [
            *workspace.root.glob(f"models/*/{UNFINISHED}"),
            workspace.root / "reports" / UNFINISHED,
            workspace.root / TRIAL,
        ]:
            shutil.rmtree(folder, ignore_errors=True)  # of runs that cannot go on with other events
    for path in rows:
        take_out(workspace.root / path, user_id)
    for name, kind in {
        "events": EVENTS,
        "labels": LABELS,
        "attributes": USERS,
        "students that name them": STUDENTS,
    }.items():
        removed[name] = sum(len(frame) for path, frame in rows.items() if path.startswith(kind))
    removed |= {"splits": len(splits), "pages of reports": len(reports), "sessions": len(sessions)}
    trained = [one for one in stored_models(workspace) if not one.packaged and one.kind not in IMPERSONAL]
    return Forgotten({name: count for name, count in removed.items() if count}, trained if learnt else [])


def _check_known(workspace: Workspace, user_id: str, known: bool) -> None:
    if not known:
        raise UnknownUserError(f"there is nothing about a user {user_id!r} in {workspace.root}")


def _readable(row: dict[str, Any], workspace: Workspace, *, timed: bool) -> dict[str, Any]:
    """A row with the item's title and, where it has a real time, that in words; without the user."""
    found = {name: value for name, value in row.items() if name != "user_id"}
    if found["item_id"] in workspace.catalog:
        found["title"] = workspace.catalog.label(found["item_id"])
    if timed and found["timestamp"] in NAMEABLE:
        found["time"] = datetime.fromtimestamp(found["timestamp"] / 1000, UTC).isoformat(timespec="seconds")
    return found


def _reports_of(workspace: Workspace, user_id: str) -> list[Path]:
    """The pages that show explanations to this user (`explained.html.jinja`)."""
    pages = sorted(workspace.root.glob("reports/*/report.html"))
    return [page for page in pages if f"<li>user {user_id}, " in html.unescape(page.read_text(encoding="utf-8"))]
