"""Saved sessions of `whyrec chat`: what was understood in a conversation, to go on from later."""

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from agent.wishes import Wish
from retrieval.artefacts import write_text
from retrieval.data.workspace import Workspace
from retrieval.errors import InputError, WorkspaceError, first_line

FOLDER = "sessions"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Session:
    """Whose it is, if anybody's, and what held: the items of a list, the wishes, and the items that were disliked."""

    user_id: str | None
    k: int
    wishes: tuple[Wish, ...] = ()
    disliked: tuple[str, ...] = ()


_FORM = TypeAdapter(Session)


def save_session(workspace: Workspace, name: str, session: Session) -> Path:
    """Write it, over an earlier one of the same name and person.

    Raises:
        InputError: the name is none for a file, or is that of another person's session.
        WorkspaceError: there is a file of this name that cannot be read.
    """
    path = _path(workspace, name)
    if path.is_file():
        _check_owner(name, _read(path), session.user_id)
    path.parent.mkdir(exist_ok=True)
    write_text(path, _FORM.dump_json(session, indent=1).decode() + "\n")
    return path


def load_session(workspace: Workspace, name: str, user_id: str | None) -> tuple[Session, list[str]]:
    """The session, and which of its wishes hold no more, as they are about items that are gone.

    Raises:
        InputError: there is none of this name, or it is another person's.
        WorkspaceError: it cannot be read.
    """
    path = _path(workspace, name)
    if not path.is_file():
        there = ", ".join(sorted(one.stem for one in _paths(workspace))) or "none"
        raise InputError(f"there is no session {name!r}; saved are: {there}")
    session = _read(path)
    _check_owner(name, session, user_id)
    kept = tuple(wish for wish in session.wishes if not wish.item_id or wish.item_id in workspace.catalog)
    gone = [str(wish) for wish in session.wishes if wish not in kept]
    disliked = tuple(item_id for item_id in session.disliked if item_id in workspace.catalog)
    return Session(session.user_id, session.k, kept, disliked), gone


def sessions_of(workspace: Workspace, user_id: str) -> list[Path]:
    """The files of a person's sessions.

    Raises:
        WorkspaceError: one cannot be read.
    """
    return [path for path in _paths(workspace) if _read(path).user_id == user_id]


def _paths(workspace: Workspace) -> list[Path]:
    return sorted((workspace.root / FOLDER).glob("*.json"))


def _path(workspace: Workspace, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} is no name of a session: up to 64 letters, digits, - and _")
    return workspace.root / FOLDER / f"{name}.json"


def _read(path: Path) -> Session:
    try:
        return _FORM.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise WorkspaceError(f"the session in {path} cannot be read ({first_line(error)}); delete it") from error


def _check_owner(name: str, session: Session, user_id: str | None) -> None:
    if session.user_id != user_id:
        raise InputError(f"the session {name!r} is {_owner(session.user_id)}, not {_owner(user_id)}")


def _owner(user_id: str | None) -> str:
    return "nobody's" if user_id is None else f"that of {user_id}"
