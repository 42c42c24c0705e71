"""Which events something was made of, and which have come since."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import polars as pl

from retrieval.data.workspace import FOOTER, Workspace
from retrieval.errors import ModelError

PART = "part"  # the column that `events_by_part` adds


@dataclass(frozen=True)
class Seen:
    """The events of a workspace at one time. parts: a fingerprint of each file, by name. latest: the last timestamp.

    events: how many.
    """

    parts: Mapping[str, str]
    events: int
    latest: int | None

    @classmethod
    def of(cls, workspace: Workspace) -> Self:
        """Those of a workspace now."""
        bounds = pl.len().alias("events"), pl.col("timestamp").max().alias("latest")
        events, latest = workspace.events().select(*bounds).collect(engine="streaming").row(0)
        return cls(_parts(workspace), events, latest)

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """From `to_json`.

        Raises:
            ModelError: it is something else.
        """
        try:
            return cls(**values)
        except TypeError as error:
            raise ModelError(f"the account of the events that were seen cannot be read ({error})") from error

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    def is_whole(self, workspace: Workspace) -> bool:
        """Whether all these events are there as they were: not imported anew, and nobody was forgotten."""
        return self.parts.items() <= _parts(workspace).items()

    def is_new(self, workspace: Workspace) -> pl.Expr:
        """Which of `events_by_part` have come since: those in other files, or later ones where it is not whole."""
        if self.is_whole(workspace):
            return ~pl.col(PART).is_in(list(self.parts))
        return pl.lit(True) if self.latest is None else pl.col("timestamp") > self.latest


def events_by_part(workspace: Workspace) -> pl.DataFrame:
    """All events, with the name of the file that each is in."""
    frames = [pl.scan_parquet(path).with_columns(pl.lit(path.name).alias(PART)) for path in _paths(workspace)]
    return (pl.concat(frames) if frames else workspace.events().with_columns(pl.lit("").alias(PART))).collect(
        engine="streaming"
    )


def _paths(workspace: Workspace) -> list[Path]:
    return sorted(workspace.events_path.glob("part-*.parquet"))


def _parts(workspace: Workspace) -> dict[str, str]:
    """By name, 16 hexadecimal digits of the size and the last bytes of each file (`Workspace.events_fingerprint`)."""
    return {path.name: _fingerprint(path) for path in _paths(workspace)}


def _fingerprint(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - FOOTER))
        return hashlib.sha256(f"{size} ".encode() + file.read()).hexdigest()[:16]
