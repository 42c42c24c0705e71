"""How far the texts of a catalog spread in each direction, so that what many of them share can count less."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from retrieval.ranking import Floats
from retrieval.text.kept import arrays_of, text_of
from retrieval.text.whitening import sample

MOST = 512  # directions
NOTHING = 1e-6  # of the largest spread; what is less is rounding
FEWEST = 1_000  # items; of fewer, how far they spread is mostly chance


@dataclass(frozen=True)
class Spread:
    """Principal directions of texts and how far these spread along each, about 0.

    directions: (d, c) of length 1. moments: (c,) the mean of the squared products with each, the largest last. items:
    how many texts there are.
    """

    directions: Floats
    moments: Floats
    items: int

    @classmethod
    def fit(cls, texts: Floats) -> Self:
        """From the vectors (n, d) of texts: at most 512 directions, the largest."""
        moments, directions = np.linalg.eigh((texts.T @ texts).astype(np.float64) / max(1, len(texts)))
        there = moments > NOTHING * max(moments.max(initial=0.0), NOTHING)
        there[:-MOST] = False
        return cls(directions[:, there].astype(np.float32), moments[there].astype(np.float32), len(texts))

    @classmethod
    def of_catalog(cls, texts: Floats) -> Self:
        """From a sample of the vectors (n, d) of a catalog."""
        found = cls.fit(texts[sample(len(texts))])
        return cls(found.directions, found.moments, len(texts))

    def flattened(self, texts: Floats, flat: float) -> Floats:
        """(n, c) along each direction, divided by the moment there to the power of ``flat``.

        At 0 products stay what they are. The higher ``flat``, the less a direction counts for the many texts that share
        it, the more for each that does; at ½ all directions count the same.
        """
        return np.asarray(texts @ (self.directions * np.power(self.moments, -flat)), dtype=np.float32)

    def towards(self, texts: Floats, flat: float) -> Floats:
        """(n, d) whose products with texts say how close these are to the ones given (n, d), in flattened directions.

        Over the texts that this was fitted on, the squares of the products have the mean 1. 0 where all is 0, and where
        there are too few texts to say.
        """
        if self.items < FEWEST:
            return np.zeros_like(texts)
        along = texts @ self.directions
        found = along * np.power(self.moments, -2 * flat)
        sizes = np.sqrt(np.square(found) @ self.moments)[:, None]
        found = np.divide(found, sizes, out=np.zeros_like(found), where=sizes > 0)
        return np.asarray(found @ self.directions.T, dtype=np.float32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it: directions, moments and items (1,)."""
        return {"directions": self.directions, "moments": self.moments, "items": np.array([self.items])}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """From `arrays`."""
        return cls(arrays["directions"].astype(np.float32), arrays["moments"], int(arrays["items"][0]))

    def to_text(self) -> str:
        """The same as text, rounded to half precision; 1 MB for 768 dimensions."""
        return text_of({**self.arrays(), "directions": self.directions.astype(np.float16)})

    @classmethod
    def from_text(cls, text: str) -> Self:
        """What `to_text` gave.

        Raises:
            ModelError: it is damaged.
        """
        return cls.from_arrays(arrays_of(text, {"directions", "moments", "items"}, "the spread of the index"))
