"""Vectors of texts that were encoded before, kept on disk by content."""

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from retrieval.contracts import Encoder
from retrieval.errors import WorkspaceError, first_line
from retrieval.ranking import Floats


class CachedEncoder:
    """An `Encoder` that remembers: each text is encoded once, whatever is rebuilt afterwards.

    Vectors stand as float16 in ``folder/part-<n>.safetensors``; what comes out is rounded to that, the first time as
    every other, so that a vector never depends on what was encoded before. ``load`` gives the encoder itself; it is
    called when a text is new.
    """

    def __init__(self, folder: Path, fingerprint: str, load: Callable[[], Encoder]):
        self.fingerprint = fingerprint
        self._folder = folder
        self._load = load

    @cached_property
    def dimension(self) -> int:
        """The length of a vector."""
        return int(self._parts[0].shape[1]) if self._row_of else self._load().dimension

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, d) float32, each row of length 1 up to float16's rounding.

        Raises:
            ModelError: the encoder is needed and cannot be loaded.
            WorkspaceError: what was kept cannot be read.
        """
        keys = [_key(text) for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._row_of}
        if new:
            self._append(list(new), self._load().encode(list(new.values())).astype(np.float16))
        found = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, key in enumerate(keys):
            part, place = self._row_of[key]
            found[row] = self._parts[part][place]
        return found

    @cached_property
    def _parts(self) -> list[NDArray[np.float16]]:
        return []

    @cached_property
    def _row_of(self) -> dict[int, tuple[int, int]]:
        """Where the vector of each text is: part and row."""
        rows: dict[int, tuple[int, int]] = {}
        for path in sorted(self._folder.glob("part-*.safetensors")):
            try:
                arrays = load_file(path)
                keys, vectors = arrays["keys"], arrays["vectors"]
                self._check(keys, vectors)
            except (OSError, KeyError, ValueError, SafetensorError) as error:
                raise WorkspaceError(
                    f"{path} cannot be read ({first_line(error)}); delete it, and its texts are encoded again"
                ) from error
            rows |= {key: (len(self._parts), row) for row, key in enumerate(keys.tolist())}
            self._parts.append(vectors)
        return rows

    def _check(self, keys: NDArray[np.uint64], vectors: NDArray[np.float16]) -> None:
        width = self._parts[0].shape[1] if self._parts else vectors.shape[-1]
        if vectors.shape != (keys.size, width) or keys.ndim != 1 or not np.isfinite(vectors).all():
            raise ValueError("it holds something else")

    def _append(self, keys: list[int], vectors: NDArray[np.float16]) -> None:
        rows = self._row_of
        if self._parts and self._parts[0].shape[1] != vectors.shape[1]:
            first = min(self._folder.glob("part-*.safetensors"))
            raise WorkspaceError(f"{first} cannot be read (it is of another encoder); delete it")
        self._folder.mkdir(parents=True, exist_ok=True)
        work = self._folder / f".part.{os.getpid()}"
        try:
            save_file({"keys": np.array(keys, dtype=np.uint64), "vectors": np.ascontiguousarray(vectors)}, work)
            self._publish(work)
        except SafetensorError as error:  # which hides that the disk is full
            raise WorkspaceError(f"{self._folder} cannot be written ({first_line(error)}); make room") from error
        finally:
            work.unlink(missing_ok=True)
        rows |= {key: (len(self._parts), row) for row, key in enumerate(keys)}
        self._parts.append(vectors)

    def _publish(self, work: Path) -> None:
        """Give a file the first free name; another process may take names at the same time."""
        number = len(self._parts)
        while True:
            try:
                (self._folder / f"part-{number:06}.safetensors").hardlink_to(work)
            except FileExistsError:
                number += 1
            else:
                return


def _key(text: str) -> int:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "little")
