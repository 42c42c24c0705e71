"""Soft labels: what a teacher says of lists of items, as Parquet parts that any interruption leaves whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from retrieval.errors import InputError

SCHEMA = pl.Schema(
    {
        "teacher": pl.String,
        "user_id": pl.String,
        "history": pl.String,
        "item_id": pl.String,
        "retrieved": pl.Float32,
        "ranked": pl.Float32,
        "score": pl.Float32,
    }
)
LABELS = "labels"  # the folder in a workspace
LIST = ("teacher", "user_id", "history")  # what a list is known by


@dataclass(frozen=True)
class Label:
    """One item of one list. score: the teacher's, by which it orders; retrieved, ranked: what it is put together from.

    history: `retrieval.data.histories.history_hash` of what was known of the user. ranked: the language model's, None
    where it was not asked.
    """

    teacher: str
    user_id: str
    history: str
    item_id: str
    retrieved: float
    ranked: float | None
    score: float


class LabelStore:
    """The labels in a folder: ``part-*.parquet``, each written once, of whole lists."""

    def __init__(self, folder: Path):
        self._folder = folder

    def add(self, labels: Sequence[Label]) -> None:
        """Write a further part; a list in it takes the place of what earlier parts have of the same list."""
        self._folder.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(path.stem.partition("-")[2]) for path in self._parts()), default=0)
        path = self._folder / f"part-{number:06}.parquet"
        work = path.with_suffix(".unfinished")
        pl.DataFrame([vars(label) for label in labels], schema=SCHEMA).write_parquet(work)
        work.replace(path)

    def read(self) -> tuple[pl.DataFrame, int]:
        """All labels, of each list the latest; and how many parts cannot be read."""
        frames, damaged = [pl.DataFrame(schema=SCHEMA).with_columns(pl.lit(0, pl.Int32).alias("part"))], 0
        for number, path in enumerate(self._parts()):
            try:
                part = pl.read_parquet(path).select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
            except (OSError, pl.exceptions.PolarsError):
                damaged += 1
                continue
            frames.append(part.with_columns(pl.lit(number, pl.Int32).alias("part")))
        found = pl.concat(frames)
        return found.filter(pl.col("part") == pl.col("part").max().over(LIST)).drop("part"), damaged

    def of(self, teacher: str, again: str) -> tuple[pl.DataFrame, int]:
        """Those of one teacher; and how many parts cannot be read. ``again``: the command that makes some.

        Raises:
            InputError: there are none; names the teachers of those that are there.
        """
        found, damaged = self.read()
        own = found.filter(pl.col("teacher") == teacher)
        if len(own):
            return own, damaged
        others = ", ".join(found["teacher"].unique().sort())
        if others:
            raise InputError(
                f"the labels here are of another teacher ({others}; now it is {teacher}): scorers, ranker, encoder, "
                f"settings or split have changed; label anew: {again}"
            )
        raise InputError(f"there are no labels to learn from; make some with: {again}")

    def _parts(self) -> list[Path]:
        return sorted(self._folder.glob("part-*.parquet"))
