"""EASE for items that nobody has had: its weights are predicted from text and facts."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigh, solve_triangular

from retrieval.cf.config import Config, searched
from retrieval.cf.ease import ease_weights
from retrieval.cf.scorer import Arrays, Scorer, TrainingData
from retrieval.data.histories import Histories, strengths
from retrieval.ranking import Floats
from retrieval.text.kernel import JITTER, ItemKernel

FEWEST = 2  # events of an item from which its weights say something
MOST = 8_000  # items whose weights are learnt from, those with the most events
LANDMARKS = 2_000  # of these, items that all others are compared with
RANK = 256  # dimensions that are kept


@dataclass(frozen=True)
class TextEaseConfig(Config):
    """strength: λ of EASE. noise: σ², how far an item's weights may be from what its text and facts say.

    sharpness: γ, how fast texts become unlike. facts: how much facts count beside the text. weak: what an event counts
    that is not positive.
    """

    strength: float = searched(30.0, 3, 300, log=True)
    noise: float = searched(0.5, 0.05, 5, log=True)
    sharpness: float = searched(1.5, 0.3, 5, log=True)
    facts: float = searched(0.5, 0.0, 2.0)
    weak: float = searched(0.4, 0.0, 1.0)


class TextEase(Scorer):
    """``x·B·(K + σ²I)⁻¹·k(i)``: Gaussian process regression of EASE's weights on the items' text and facts.

    B (w, w) are the weights of items with events (`Ease`; Steck 2019, equation 8), column i being what speaks for item
    i; ``k(i, j) = exp(−γ |f_i − f_j|²) + c·facts(i, j)``, f the whitened text vectors, `Facts.kernel`; the prediction
    is the posterior mean (Rasmussen & Williams 2006, equation 2.25), by a subset of regressors (section 8.3.1). What is
    kept of it are two vectors for each item: what it is as a candidate, and what it adds to a user who had it (for
    items without weights predicted likewise). Their product is the best approximation of its rank on the users trained
    on. An item that nobody has had is scored like any other, and counts in a history like any other.
    """

    name = "text-ease"
    reads_text = True
    config_type: ClassVar[type[Config]] = TextEaseConfig

    def __init__(self, config: Any, vectors: Floats, parts: Floats):
        super().__init__(config, len(vectors))
        self._vectors = vectors  # (m, q) as candidates
        self._parts = parts  # (m, q) in a history

    @classmethod
    def fit(cls, data: TrainingData, config: Any) -> Self:
        """Learn the weights and how they follow from text and facts; memory for 3 · 8,000² numbers at most."""
        texts = data.text(cls.name)
        counts = np.bincount(data.histories.values.indices, minlength=len(texts))
        by_count = np.argsort(-counts, kind="stable")[:MOST]
        warm = by_count[counts[by_count] >= FEWEST]
        if len(warm) == 0:
            nothing = np.zeros((len(texts), 0), dtype=np.float32)
            return cls(config, nothing, nothing)
        users = strengths(data.histories, config.positive_from, config.weak)[:, warm]
        weights = ease_weights(users, config.strength)  # (w, w)
        kernel = ItemKernel(config, texts, data.facts, warm[:LANDMARKS])
        features = kernel(warm)  # (w, r)
        together = (features.T @ features).astype(np.float64)
        ridged = cho_factor(together + config.noise * np.eye(len(together)), lower=True)
        learnt = cho_solve(ridged, features.T @ weights.T).T  # (w, r): weights ≈ learnt · featuresᵀ
        scale = np.linalg.cholesky(together / len(warm) + JITTER * np.eye(len(together)))
        sums = (users @ learnt.astype(np.float32)) @ scale
        size = len(together)
        _, directions = eigh(sums.T @ sums, subset_by_index=(max(0, size - RANK), size - 1))
        own = learnt @ (scale @ directions)  # (w, q)
        candidates = solve_triangular(scale.T, directions)
        others = cho_solve(ridged, features.T @ own)
        vectors, parts = kernel.projected(candidates, others)
        parts[warm] = own
        return cls(config, vectors, parts)

    def _score(self, histories: Histories) -> Floats:
        users = strengths(histories, self.config.positive_from, self.config.weak) @ self._parts
        return np.asarray(users @ self._vectors.T, dtype=np.float32)

    def arrays(self) -> Arrays:
        """vectors, parts: (m, q)."""
        return {"vectors": self._vectors, "parts": self._parts}

    @classmethod
    def from_arrays(cls, config: Any, items: int, arrays: Arrays) -> Self:  # noqa: ARG003
        """From `arrays`."""
        return cls(config, arrays["vectors"], arrays["parts"])
