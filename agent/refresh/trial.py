"""Workspaces on trial: everything is trained there, and what holds good is moved to the real one at last."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from retrieval.data.workspace import Workspace

TRIAL = ".refresh"  # in a workspace, while it is refreshed
_DATA = ("data/items.parquet", "data/users.parquet", "data/import.json", "whyrec.toml", "index.name")
_SHARED = ("index", "lexical", "features")  # which are read, and by content written


@contextmanager
def trials(workspace: Workspace) -> Iterator[Path]:
    """A folder for trials in the workspace, empty; it is gone when the block ends, however it does. Hold the lock."""
    folder = workspace.root / TRIAL
    shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def trial_of(workspace: Workspace, folder: Path, part: Path | None) -> Workspace:
    """A workspace in ``folder`` with the same items and events, and a further ``part`` of events; without models."""
    _lay_out(workspace, folder)
    for path in workspace.events_path.glob("part-*.parquet"):
        os.link(path, folder / "data" / "events" / path.name)
    if part is not None:
        os.link(part, folder / "data" / "events" / part.name)
    return Workspace(folder)


def trial_with(workspace: Workspace, folder: Path, events: pl.DataFrame) -> Workspace:
    """A workspace in ``folder`` with the same items and other events; without models."""
    _lay_out(workspace, folder)
    events.write_parquet(folder / "data" / "events" / "part-00000.parquet")
    return Workspace(folder)


def lend(workspace: Workspace, trial: Workspace, name: Path) -> None:
    """Let a trial read a folder of the workspace, such as ``models/fusion``, unless it has one of its own."""
    own, lent = trial.root / name, (workspace.root / name).resolve()
    if lent.is_dir() and not own.exists():
        own.parent.mkdir(parents=True, exist_ok=True)
        own.symlink_to(lent, target_is_directory=True)


def take_back(trial: Workspace, name: Path) -> None:
    """Leave a trial without the folder that it has itself."""
    shutil.rmtree(trial.root / name, ignore_errors=True)


def _lay_out(workspace: Workspace, folder: Path) -> None:
    (folder / "data" / "events").mkdir(parents=True)
    for name in _DATA:
        if (workspace.root / name).is_file():
            os.link(workspace.root / name, folder / name)
    for name in _SHARED:
        if (workspace.root / name).is_dir():
            (folder / name).symlink_to((workspace.root / name).resolve(), target_is_directory=True)
