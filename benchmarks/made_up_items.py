"""Items made up from real ones, as many as one likes, and an encoder that knows them (`benchmarks.scale`)."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from retrieval.ranking import Floats

NEAR, NOISE = 20, 0.6
FINGERPRINT = "made-up"


@dataclass
class Table:
    """An `Encoder` that knows the vectors of all texts already."""

    rows: dict[str, int]
    vectors: Floats
    fingerprint: str = FINGERPRINT

    @property
    def dimension(self) -> int:
        return self.vectors.shape[1]

    def encode(self, texts) -> Floats:
        return self.vectors[[self.rows[text] for text in texts]]


def make_up(films: Floats, near: np.ndarray, n: int, generator: np.random.Generator) -> tuple[Floats, np.ndarray]:
    """(n, d) vectors of length 1 and the row of the film that each is mostly of."""
    first = generator.integers(0, len(films), n)
    second = near[first, generator.integers(0, NEAR, n)]
    share = generator.uniform(0.5, 1, (n, 1)).astype(np.float32)
    vectors = share * films[first] + (1 - share) * films[second]
    vectors += NOISE * films.std(axis=0) * generator.standard_normal(vectors.shape, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), first


def varied(films: pl.DataFrame, rows: np.ndarray) -> pl.DataFrame:
    """Items with the fields of these films, ids of their own, and a number in the title so that no two texts agree."""
    numbers = pl.Series(range(len(rows)))
    return films[rows].with_columns(
        item_id=numbers.cast(pl.String), title=pl.col("title") + " " + numbers.cast(pl.String)
    )


def neighbours(queries: Floats, items: Floats, *, itself: bool = False) -> dict[str, float]:
    """Mean cosine to the nearest, tenth and fiftieth item; ``itself``: the queries are the items."""
    sorted_ = np.sort(np.partition(queries @ items.T, -52, axis=1)[:, -52:], axis=1)[:, ::-1]
    return {
        name: round(float(sorted_[:, place - 1 + itself].mean()), 2)
        for name, place in (("1", 1), ("10", 10), ("50", 50))
    }
