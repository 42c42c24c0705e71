"""Artefacts that are made again and again: a folder for each version, and a file that names the current one."""

import json
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from retrieval.artefacts import atomic_folder, sync, write_text

CURRENT = "current"


def save_version(
    folder: Path, write: Callable[[Path], None], config: Mapping[str, Any], card: str, *, keep: bool = False
) -> str:
    """Write a new version below ``folder`` and make it the current one; its name.

    ``write`` is given the folder to fill; ``config`` becomes config.json and ``card`` README.md. The one that was
    current stays, for whoever has just opened it; others are removed unless they are to ``keep``.
    """
    version = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    with atomic_folder(folder / version) as work:
        write(work)
        (work / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        (work / "README.md").write_text(card, encoding="utf-8")
    _make_current(folder, version, keep=keep)
    return version


def adopt_version(folder: Path, made: Path, *, live: bool, keep: bool = False) -> None:
    """Move a version that was made elsewhere in the same file system below ``folder``.

    If it is to be ``live`` it becomes the current one, as by `save_version`; else nothing else changes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made.rename(folder / made.name)
    sync(folder)
    if live:
        _make_current(folder, made.name, keep=keep)


def _make_current(folder: Path, version: str, *, keep: bool) -> None:
    stays = {version, current_version(folder)}
    write_text(folder / CURRENT, version + "\n")
    for old in [] if keep else [name for name in version_names(folder) if name not in stays]:
        shutil.rmtree(folder / old)


def version_names(folder: Path) -> list[str]:
    """All versions below ``folder``, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def current_version(folder: Path) -> str | None:
    """The name of the current version, None where none was made."""
    path = folder / CURRENT
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else None
