"""Two towers in closed form: what of an item's text the people who liked some items like in others."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from retrieval.cf.config import Config, searched
from retrieval.cf.scorer import Arrays, Scorer, TrainingData
from retrieval.data.histories import Histories
from retrieval.ranking import Floats
from retrieval.text.profile import Direction

ROUNDING = 1e-5  # of sums of float32 products


@dataclass(frozen=True)
class TowerConfig(Config):
    """taste, text: ridge λ₁ on the users' side and λ₂ on the items', by the mean eigenvalue.

    activity: p, a user with c items counts c⁻ᵖ. popular: how much it counts that an item reads like popular ones.
    """

    taste: float = searched(3.0, 0.3, 30, log=True)
    text: float = searched(0.5, 0.03, 10, log=True)
    activity: float = searched(0.5, 0.0, 1.0)
    popular: float = searched(0.3, 0.0, 1.0)


class Tower(Scorer):
    """``(u + γ b) · f_i``, u the direction of ``W Σ_j f_j``, f the whitened text vectors: knows items by text alone.

    W (d, d) is the ridge regression of what users had on the text of what else they had,
    ``W = (FᵀXᵀAXF + λ₁)⁻¹ (FᵀXᵀAXF − Fᵀ diag(XᵀA1) F) (FᵀF + λ₂)⁻¹``, with X (n, m) the histories, F (m, d) the
    texts, A the users' weights; the subtrahend keeps an item from predicting itself, as the zero diagonal does in EASE
    (Steck 2019; with texts as side information: Jeunen, Van Balen & Goethals 2020). b (d,) is the direction of the
    ridge regression of an item's logarithmic popularity on its text. An item that nobody has had is scored like any
    other; without a history b alone decides.
    """

    name = "tower"
    reads_text = True
    config_type: ClassVar[type[Config]] = TowerConfig

    def __init__(self, config: Any, weights: Floats, popular: Floats, vectors: Floats):
        super().__init__(config, len(vectors))
        self.weights = weights
        self.popular = popular
        self._vectors = vectors

    @classmethod
    def fit(cls, data: TrainingData, config: Any) -> Self:
        """Solve for W and b; n·d² operations."""
        vectors = data.text(cls.name)
        positives = data.histories.positives(config.positive_from)
        counts = np.diff(positives.indptr)
        share = np.where(counts > 0, np.maximum(counts, 1) ** -float(config.activity), 0).astype(np.float32)
        users = positives @ vectors  # (n, d)
        together = (users.T @ (share[:, None] * users)).astype(np.float64)
        own = (vectors.T @ ((positives.T @ share)[:, None] * vectors)).astype(np.float64)
        known = np.unique(data.histories.values.indices)
        texts = vectors[known]
        ridged = _ridged((texts.T @ texts).astype(np.float64), config.text)
        solved = np.linalg.solve(_ridged(together, config.taste), together - own)
        weights = np.linalg.solve(ridged, solved.T).T
        popularity = np.log1p(np.bincount(positives.indices, minlength=len(vectors))[known])
        centred = popularity - popularity.mean() if len(known) else popularity
        popular = np.linalg.solve(ridged, texts.T @ centred)
        if np.abs(together - own).max() <= ROUNDING * np.abs(together).max():
            weights = np.zeros_like(weights)  # nobody had two items: what is left is rounding
        if len(known) == 0 or np.ptp(popularity) == 0:
            popular = np.zeros_like(popular)
        return cls(config, np.ascontiguousarray(weights, dtype=np.float32), _unit(popular[None, :])[0], vectors)

    def direction(self, liked: Floats) -> Direction:
        """Where in the index the items are that somebody would like who liked items with these vectors (k, d)."""
        return Direction(self._directions(liked.sum(axis=0, keepdims=True))[0])

    def _directions(self, sums: Floats) -> Floats:
        """(n, d) from the sums of the vectors of n histories."""
        return np.asarray(_unit(sums @ self.weights) + self.config.popular * self.popular, dtype=np.float32)

    def _score(self, histories: Histories) -> Floats:
        sums = histories.positives(self.config.positive_from) @ self._vectors
        return np.asarray(self._directions(sums) @ self._vectors.T, dtype=np.float32)

    def arrays(self) -> Arrays:
        """weights: (d, d). popular: (d,). vectors: (m, d)."""
        return {**self.learnt(), "vectors": self._vectors}

    def learnt(self) -> Arrays:
        """What `arrays` has beside the items' vectors."""
        return {"weights": self.weights, "popular": self.popular}

    @classmethod
    def from_arrays(cls, config: Any, items: int, arrays: Arrays) -> Self:  # noqa: ARG003
        """From `arrays`."""
        return cls(config, arrays["weights"], arrays["popular"], arrays["vectors"])


def _ridged(matrix: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    """The matrix with ``strength`` times its mean eigenvalue on the diagonal, and enough that it can be inverted."""
    mean = max(float(np.trace(matrix)) / len(matrix), 1e-30)
    return np.asarray(matrix + max(strength, ROUNDING) * mean * np.eye(len(matrix)))


def _unit(vectors: NDArray[Any]) -> Floats:
    """(n, d) each of length 1, or 0 as it was."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0), dtype=np.float32)
