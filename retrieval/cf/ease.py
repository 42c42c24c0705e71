"""A linear model between all items, in closed form."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from retrieval.cf.config import Config, searched
from retrieval.cf.scorer import Arrays, Scorer, TrainingData
from retrieval.data.histories import Histories
from retrieval.errors import InputError
from retrieval.ranking import Floats

MOST_ITEMS = 40_000  # 6.4 GB of weights


@dataclass(frozen=True)
class EaseConfig(Config):
    """strength: λ, how strongly weights are held down."""

    strength: float = searched(300.0, 1, 10_000, log=True)


class Ease(Scorer):
    """``x·B`` with ``P = (XᵀX + λI)⁻¹``, ``B = −P / diag(P)``, ``diag(B) = 0`` (Steck 2019, equation 8).

    Items without a positive event have no weights and score 0. Weights take 4 bytes for each pair of the others.
    """

    name = "ease"
    config_type = EaseConfig

    def __init__(self, config: EaseConfig, items: int, warm: NDArray[np.int64], weights: Floats):
        super().__init__(config, items)
        self._warm = warm  # (w,) columns of the items that have weights
        self._weights = weights  # (w, w)

    @classmethod
    def fit(cls, data: TrainingData, config: EaseConfig) -> Self:
        """Invert the Gram matrix in place (Cholesky, float32).

        Raises:
            InputError: more than 40,000 items have events.
        """
        positives = data.histories.positives(config.positive_from)
        warm = np.unique(positives.indices).astype(np.int64)
        if len(warm) > MOST_ITEMS:
            raise InputError(f"{cls.name} would need {4e-9 * len(warm) ** 2:.0f} GB for {len(warm):,} items; use ials")
        if len(warm) == 0:
            return cls(config, positives.shape[1], warm, np.zeros((0, 0), dtype=np.float32))
        chosen = positives[:, warm]
        gram = np.asarray((chosen.T @ chosen).toarray(order="F"), dtype=np.float32)
        gram[np.diag_indices_from(gram)] += np.float32(config.strength)
        return cls(config, positives.shape[1], warm, ease_weights(gram))

    def _score(self, histories: Histories) -> Floats:
        scores = np.zeros((len(histories), self.items), dtype=np.float32)
        found = histories.positives(self.config.positive_from)[:, self._warm] @ self._weights
        if len(self._warm) == self.items:
            return np.asarray(found, dtype=np.float32)
        scores[:, self._warm] = found
        return scores

    def arrays(self) -> Arrays:
        """warm: (w,) columns; weights: (w, w)."""
        return {"warm": self._warm, "weights": self._weights}

    @classmethod
    def from_arrays(cls, config: EaseConfig, items: int, arrays: Arrays) -> Self:
        """From `arrays`."""
        return cls(config, items, arrays["warm"], arrays["weights"])


def ease_weights(gram: NDArray[np.float32]) -> Floats:
    """B (w, w) from the regularised Gram matrix (w, w), which is overwritten; Fortran order saves a copy.

    Raises:
        InputError: it cannot be inverted.
    """
    factor, problem = lapack.spotrf(gram, lower=True, overwrite_a=True)
    inverse, problem = (factor, problem) if problem else lapack.spotri(factor, lower=True, overwrite_c=True)
    if problem:
        raise InputError("the items' Gram matrix cannot be inverted; choose a greater strength")
    for column in range(len(inverse)):  # only the lower half is filled; a mirrored copy would double the memory
        inverse[column, column:] = inverse[column:, column]
    rows = inverse.T  # symmetric, and this way round a row lies in one piece
    rows /= -np.diag(rows).copy()[None, :]
    np.fill_diagonal(rows, 0)
    return np.asarray(rows)
