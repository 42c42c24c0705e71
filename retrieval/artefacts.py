"""Writing to disk so that a crash, a full disk or Ctrl-C never leaves half a file behind."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


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
    try:
        yield work
        for path in sorted(work.rglob("*"), reverse=True):
            _sync(path)
        _refuse_existing(final, replace)
        old = work.with_name(work.name + ".old")
        if final.exists():
            final.rename(old)
        work.rename(final)
        _sync(final.parent)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _refuse_existing(final: Path, replace: bool) -> None:
    """An empty folder may be filled; anything else only when it is to be replaced."""
    if final.exists() and not replace and (not final.is_dir() or any(final.iterdir())):
        raise FileExistsError(str(final))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_fingerprint(paths: list[Path]) -> str:
    """16 hexadecimal digits that change when the name or content of any of these files changes."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
