"""What an interrupted tuning leaves on disk, and whether it may go on from there."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from retrieval.artefacts import write_text
from retrieval.errors import InputError

UNFINISHED = ".unfinished"


def check_resumable(folder: Path) -> None:
    """Make sure that an interrupted tuning is there, before anything that takes long.

    Raises:
        InputError: there is nothing to resume.
    """
    if not _key(folder).is_file():
        raise InputError("there is no interrupted tuning to resume; tune without --resume")


def _key(folder: Path) -> Path:
    return folder / "key"


def begin(folder: Path, made_of: Sequence[object], *, resume: bool) -> None:
    """Begin anew in ``folder``, or make sure that what is there was ``made_of`` the same.

    Raises:
        InputError: there is nothing to resume, or it was made of something else.
    """
    key = hashlib.sha256(repr(tuple(made_of)).encode()).hexdigest()[:16]
    path = _key(folder)
    if resume:
        check_resumable(folder)
        if path.read_text(encoding="utf-8") != key:
            raise InputError("items, events or settings have changed since; tune again without --resume")
        return
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    write_text(path, key)
