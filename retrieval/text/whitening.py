"""Take away what all items of a catalog have in common, so that cosines tell them apart."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from retrieval.ranking import Columns, Floats
from retrieval.text.kept import arrays_of, text_of

FEWEST_TO_SCALE = 100  # items; of fewer, spread is mostly chance
FEWEST_TO_STRIP = 1_000  # items; of fewer, the largest common direction may be a topic
DEAD = 1e-6  # a dimension whose spread is less than this share of the median spread says nothing
SAMPLE = 4_000  # items that stand for a catalog
ROUNDING = 1e-5  # of a vector's length
DRIFTED = 0.25  # standard deviations


def sample(items: int) -> Columns:
    """The rows of at most 4,000 of so many items, always the same ones: they stand for the catalog."""
    if items <= SAMPLE:
        return np.arange(items)
    return np.random.default_rng(0).choice(items, SAMPLE, replace=False)


@dataclass(frozen=True)
class Whitening:
    """Standardises each dimension over a catalog, removes the largest common direction, scales to length 1.

    mean: (d,) and scale: (d,), one over the standard deviation, 0 for dimensions without any. common: (c, d) directions
    of length 1 that are removed after scaling ("all-but-the-top", Mu & Viswanath 2018, section 2). items: how many it
    was fitted on.
    """

    mean: Floats
    scale: Floats
    common: Floats
    items: int

    @classmethod
    def fit(cls, vectors: Floats) -> Self:
        """From the raw vectors (n, d) of a catalog or of a sample; fewer items allow less (the constants say when)."""
        n, d = vectors.shape
        none = np.zeros((0, d), dtype=np.float32)
        if cls.grade(n) == 0:
            return cls(np.zeros(d, dtype=np.float32), np.ones(d, dtype=np.float32), none, n)
        mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        spread = vectors.std(axis=0, dtype=np.float64)
        alive = spread > DEAD * np.median(spread)
        scale = np.divide(1.0, spread, out=np.zeros(d), where=alive).astype(np.float32)
        if cls.grade(n) == 1:
            return cls(mean, scale, none, n)
        standard = (vectors - mean) * scale
        _, directions = np.linalg.eigh(standard.T @ standard)
        return cls(mean, scale, np.ascontiguousarray(directions[:, -1:].T), n)

    @staticmethod
    def grade(items: int) -> int:
        """What so many items allow: 0 nothing, 1 scaling, 2 removing a common direction as well."""
        return sum(items >= fewest for fewest in (FEWEST_TO_SCALE, FEWEST_TO_STRIP))

    def __call__(self, vectors: Floats) -> Floats:
        """(n, d) float32 of length 1; a vector that is nothing but common becomes 0.

        Of vectors with fewer dimensions the others are taken to be the mean: nothing is known of them.
        """
        known = vectors.shape[1]
        standard = np.zeros((len(vectors), len(self.mean)), dtype=np.float32)
        standard[:, :known] = (vectors - self.mean[:known]) * self.scale[:known]
        whole = np.linalg.norm(standard, axis=1, keepdims=True)
        standard -= (standard @ self.common.T) @ self.common
        lengths = np.linalg.norm(standard, axis=1, keepdims=True)
        unit = np.divide(standard, lengths, out=np.zeros_like(standard), where=lengths > ROUNDING * whole)
        return np.asarray(unit, dtype=np.float32)

    def drift(self, vectors: Floats) -> float:
        """How far the mean of these raw vectors (n, d) is from the one it was fitted on, in standard deviations."""
        if self.grade(self.items) == 0:
            return 0.0
        shift = (vectors.mean(axis=0, dtype=np.float64) - self.mean) * self.scale
        return float(np.sqrt(np.mean(shift**2)))

    def to_text(self) -> str:
        """The same as base64, to be kept in the metadata of a collection; 20 kB for 960 dimensions."""
        parts = {"mean": self.mean, "scale": self.scale, "common": self.common}
        return text_of({**parts, "items": np.array([self.items])})

    @classmethod
    def from_text(cls, text: str) -> Self:
        """What `to_text` gave.

        Raises:
            ModelError: it is damaged.
        """
        arrays = arrays_of(text, {"mean", "scale", "common", "items"}, "the whitening of the index")
        return cls(arrays["mean"], arrays["scale"], arrays["common"], int(arrays["items"][0]))
