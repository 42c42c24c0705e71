"""Scorers that read nothing but the items' text: they know an item before anybody has touched it."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from retrieval.cf.config import Config, searched
from retrieval.cf.scorer import Arrays, Scorer, TrainingData
from retrieval.data.histories import Histories, strengths
from retrieval.ranking import Floats
from retrieval.text.profile import SHARPNESS, Direction
from retrieval.text.spread import Spread

BLOCK = 1024


@dataclass(frozen=True)
class CosineConfig(Config):
    """Cosine has no parameter but what counts as positive."""


class Cosine(Scorer):
    """The cosine between an item's text and the mean text of the history; 0 for an empty history."""

    name = "cosine"
    reads_text = True
    config_type: ClassVar[type[Config]] = CosineConfig

    def __init__(self, config: Config, vectors: Floats):
        super().__init__(config, len(vectors))
        self._vectors = vectors

    @classmethod
    def fit(cls, data: TrainingData, config: Any) -> Self:
        """Take the vectors; nothing is learnt from events."""
        return cls(config, data.text(cls.name))

    def _score(self, histories: Histories) -> Floats:
        means = histories.positives(self.config.positive_from) @ self._vectors  # (n, d)
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        means = np.divide(means, lengths, out=np.zeros_like(means), where=lengths > 0)
        return np.asarray(means @ self._vectors.T, dtype=np.float32)

    def arrays(self) -> Arrays:
        """vectors: (m, d)."""
        return {"vectors": self._vectors}

    @classmethod
    def from_arrays(cls, config: Any, items: int, arrays: Arrays) -> Self:  # noqa: ARG003
        """From `arrays`."""
        return cls(config, arrays["vectors"])


@dataclass(frozen=True)
class SoftKnnConfig(Config):
    """sharpness: β; the higher, the more the nearest items of the history decide.

    lean: c, what the direction of the whole history counts beside them, in which events that are not positive have the
    weight ``weak``. flat: how far what many texts share is kept from making that direction (`Spread.towards`).
    """

    sharpness: float = searched(SHARPNESS, 2, 60, log=True)
    lean: float = searched(0.07, 0.01, 0.3, log=True)
    flat: float = 0.3
    weak: float = 0.4

    def direction(self, spread: Spread, items: Floats, positive: NDArray[np.bool_]) -> Direction | None:
        """Where someone leans whose history has items with these vectors (n, d), of which (n,) are positive.

        None where the catalog is too small to say.
        """
        weights = np.where(positive, 1, self.weak).astype(np.float32)
        towards = spread.towards(weights[None, :] @ items, self.flat)[0]
        return Direction(np.float32(self.lean) * towards) if towards.any() else None


class SoftKnn(Cosine):
    """``log mean_j exp(β cos(v_j, v_i)) / β + lean·v_i`` over the history, the score of `Interest`, for many users."""

    name = "soft-knn"
    config_type = SoftKnnConfig

    def __init__(self, config: Config, vectors: Floats, spread: Spread):
        super().__init__(config, vectors)
        self._spread = spread

    @classmethod
    def fit(cls, data: TrainingData, config: Any) -> Self:
        """Take the vectors and how far they spread; nothing is learnt from events."""
        vectors = data.text(cls.name)
        return cls(config, vectors, data.spread or Spread.of_catalog(vectors))

    def arrays(self) -> Arrays:
        """vectors: (m, d). Of the spread: directions: (d, c); moments: (c,); items: (1,)."""
        return {"vectors": self._vectors, **self._spread.arrays()}

    @classmethod
    def from_arrays(cls, config: Any, items: int, arrays: Arrays) -> Self:  # noqa: ARG003
        """From `arrays`."""
        return cls(config, arrays["vectors"], Spread.from_arrays(arrays))

    def _score(self, histories: Histories) -> Floats:
        scores = self._nearness(histories)
        sums = strengths(histories, self.config.positive_from, self.config.weak) @ self._vectors
        towards = self._spread.towards(np.asarray(sums, dtype=np.float32), self.config.flat)
        scores += (np.float32(self.config.lean) * towards) @ self._vectors.T
        return scores

    def _nearness(self, histories: Histories) -> Floats:
        """(n, m) the soft maximum."""
        positives = histories.positives(self.config.positive_from)
        liked, columns = np.unique(positives.indices, return_inverse=True)
        counts = np.diff(positives.indptr)
        narrow = csr_array((positives.data, columns, positives.indptr), shape=(len(histories), len(liked)))
        beta, anchors = np.float32(self.config.sharpness), self._vectors[liked]
        scores = np.empty((len(histories), self.items), dtype=np.float32)
        for start in range(0, self.items, BLOCK):
            block = slice(start, start + BLOCK)
            # At most 1, and above 1e-38 as long as β ≤ 60 and cosines ≥ -.4; the smallest float guards the rest.
            near = np.exp(beta * (anchors @ self._vectors[block].T - 1))
            scores[:, block] = narrow @ np.maximum(near, np.finfo(np.float32).tiny)
        np.divide(scores, np.maximum(counts, 1)[:, None], out=scores)
        np.log(scores, out=scores, where=(counts > 0)[:, None])
        scores /= beta
        scores += (counts > 0)[:, None]
        return scores
