"""What the tables of a workspace hold about one user, and taking it out of them."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from retrieval.artefacts import sync, write_parquet
from retrieval.data.workspace import Workspace
from retrieval.errors import WorkspaceError, first_line

# Every Parquet file with a column user_id, the events last: as long as a user has any, forgetting can be given again.
TABLES = ("labels/part-*.parquet", "models/*/*/labelled.parquet", "data/users.parquet", "data/events/part-*.parquet")


def rows_of(workspace: Workspace, user_id: str) -> dict[str, pl.DataFrame]:
    """The rows about a user by file, relative to the workspace; files without any are left out.

    Raises:
        WorkspaceError: a file cannot be read.
    """
    return dict(_rows_of(workspace, user_id))


def _rows_of(workspace: Workspace, user_id: str) -> Iterator[tuple[str, pl.DataFrame]]:
    for pattern in TABLES:
        for path in sorted(workspace.root.glob(pattern)):
            try:
                found = pl.scan_parquet(path).filter(pl.col("user_id") == user_id).collect(engine="streaming")
            except (OSError, pl.exceptions.PolarsError) as error:
                raise WorkspaceError(f"{path} cannot be read ({first_line(error)}); delete or restore it") from error
            if len(found):
                yield str(path.relative_to(workspace.root)), found


def splits_of(workspace: Workspace, user_id: str) -> list[Path]:
    """The folders of splits with events of a user; whatever needs them makes them anew."""
    found = sorted(workspace.root.glob("splits/*/events.parquet"))
    return [path.parent for path in found if _has(path, user_id)]


def _has(path: Path, user_id: str) -> bool:
    count = pl.scan_parquet(path).filter(pl.col("user_id") == user_id).select(pl.len())
    return bool(count.collect(engine="streaming").item())


def take_out(path: Path, user_id: str) -> None:
    """Write a Parquet file again without the rows about a user; killed meanwhile, it is as before or done.

    Raises:
        OSError: the disk is full.
    """
    work = path.with_name(f".{path.stem}.unfinished")
    write_parquet(pl.scan_parquet(path).filter(pl.col("user_id") != user_id), work)
    sync(work)
    work.replace(path)
    sync(path.parent)
