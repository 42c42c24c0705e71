"""Writing to disk so that a crash, a full disk or Ctrl-C never leaves half a file behind."""

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl


@contextlib.contextmanager
def atomic_folder(final: Path, *, replace: bool = False) -> Iterator[Path]:
    """Give a new folder beside ``final`` to write into, and rename it to ``final`` when the block ends well.

    On any exception, Ctrl-C included, the new folder is removed and ``final`` stays as it was.

    Raises:
        FileExistsError: ``final`` is there already and ``replace`` is false.
    """
    final = final.resolve()
    _refuse_existing(final, replace)
    final.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{final.name}.part-", dir=final.parent))
    work.chmod(0o755)
    old = work.with_name(work.name + ".old")
    try:
        yield work
        for path in sorted(work.rglob("*"), reverse=True):
            if path.is_file():
                path.chmod(0o644)  # some libraries write files that nobody else may read
            sync(path)
        _refuse_existing(final, replace)
        if final.exists():
            final.rename(old)
        work.rename(final)
        sync(final.parent)
    except BaseException:
        if old.exists() and not final.exists():
            old.rename(final)
        shutil.rmtree(work, ignore_errors=True)
        raise
    finally:
        if final.exists():
            shutil.rmtree(old, ignore_errors=True)


def _refuse_existing(final: Path, replace: bool) -> None:
    """An empty folder may be filled; anything else only when it is to be replaced."""
    if final.exists() and not replace and (not final.is_dir() or any(final.iterdir())):
        raise FileExistsError(str(final))


def sync(path: Path) -> None:
    """Wait until a file or a folder is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it is there whole or not at all."""
    work = path.with_name(f".{path.name}.part")
    try:
        work.write_text(text, encoding="utf-8")
        sync(work)
        work.rename(path)
    finally:
        work.unlink(missing_ok=True)


def file_fingerprint(paths: list[Path]) -> str:
    """16 hexadecimal digits that change when the name or content of any of these files changes."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def write_parquet(frame: pl.LazyFrame, path: Path) -> None:
    """Write a query's rows to ``path`` in bounded memory.

    Raises:
        OSError: the disk is full or the file cannot be written; polars alone would not say which file.
    """
    try:
        frame.sink_parquet(path)
    except pl.exceptions.PolarsError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
