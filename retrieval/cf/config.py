"""Parameters of scorers: what they are, what they may be, and where to search for good ones."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from retrieval.errors import InputError


@dataclasses.dataclass(frozen=True)
class Range:
    """Where a number is searched, ends included; ``log`` searches its logarithm."""

    low: float
    high: float
    log: bool = False


def searched(default: float, low: float, high: float, *, log: bool = False) -> Any:
    """A field that tuning searches between ``low`` and ``high``; whole numbers when the default is one."""
    return dataclasses.field(default=default, metadata={"range": Range(low, high, log)})


@dataclasses.dataclass(frozen=True)
class Config:
    """Base of all parameters; numbers that are searched must be at least 0.

    positive_from: an event counts as positive from this value up; None: every event does. It is searched among None
    and what counts as liked in the workspace. Of users with no such event, see `Histories.positives`.
    """

    positive_from: float | None = None

    def __post_init__(self) -> None:
        for name in self.ranges():
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} must be at least 0, not {getattr(self, name)}")

    @classmethod
    def ranges(cls) -> dict[str, Range]:
        """The fields that tuning searches."""
        return {f.name: f.metadata["range"] for f in dataclasses.fields(cls) if "range" in f.metadata}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The parameters from plain data, as `to_json` gives them.

        Raises:
            InputError: a parameter that does not exist.
        """
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise InputError(f"{cls.__name__} has no parameter {unknown[0]!r}")
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """The parameters as plain data."""
        return dataclasses.asdict(self)
