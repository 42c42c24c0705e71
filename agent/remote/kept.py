"""What a remote model has answered while a run is unfinished, on disk: nothing is paid twice."""

import hashlib
import json
import threading
from contextlib import suppress
from pathlib import Path


class KeptScores:
    """The score of each prompt, a line of a file each, written as soon as it is known; threads may share it."""

    def __init__(self, file: Path):
        """``file`` need not exist."""
        self._file = file
        self._lock = threading.Lock()
        self._known = {key: score for line in self._lines() for key, score in _read(line)}

    def find(self, prompt: str) -> float | None:
        """What was answered; None where nothing was."""
        return self._known.get(_key(prompt))

    def keep(self, prompt: str, score: float) -> None:
        """Keep an answer."""
        line = json.dumps({"key": _key(prompt), "score": score})
        with self._lock:
            self._known[_key(prompt)] = score
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as kept:
                kept.write(f"\n{line}\n")  # after a torn line, too

    def drop(self) -> None:
        """Remove the file, and its folder if nothing else is in it."""
        self._file.unlink(missing_ok=True)
        with suppress(OSError):
            self._file.parent.rmdir()

    def _lines(self) -> list[str]:
        return self._file.read_text(encoding="utf-8", errors="replace").splitlines() if self._file.is_file() else []


def _key(prompt: str) -> str:
    return hashlib.sha256(prompt.encode("utf-8", "replace")).hexdigest()


def _read(line: str) -> list[tuple[str, float]]:
    """What a line holds; nothing where the process ended while it was written."""
    try:
        found = json.loads(line)
        return [(str(found["key"]), float(found["score"]))]
    except (ValueError, KeyError, TypeError):
        return []
