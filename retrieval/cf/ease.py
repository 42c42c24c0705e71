"""A linear model between all items, in closed form."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve, lapack
from scipy.sparse import csr_array

from retrieval.cf.config import Config, searched
from retrieval.cf.scorer import Arrays, Scorer, TrainingData
from retrieval.data.histories import Histories
from retrieval.errors import InputError
from retrieval.ranking import Floats

MOST_ITEMS = 40_000  # 6.4 GB of weights
BLOCK = 1_024
SINGULAR = "the items' Gram matrix cannot be inverted; choose a greater strength"


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
        """Solve for the weights in closed form.

        Raises:
            InputError: more than 40,000 items have events.
        """
        positives = data.histories.positives(config.positive_from)
        warm = np.unique(positives.indices).astype(np.int64)
        if len(warm) > MOST_ITEMS:
            raise InputError(f"{cls.name} would need {4e-9 * len(warm) ** 2:.0f} GB for {len(warm):,} items; use ials")
        if len(warm) == 0:
            return cls(config, positives.shape[1], warm, np.zeros((0, 0), dtype=np.float32))
        return cls(config, positives.shape[1], warm, ease_weights(positives[:, warm], config.strength))

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


def ease_weights(users: csr_array, strength: float) -> Floats:
    """B (w, w) from what users (n, w) had: by the Gram matrix of the items or, where they are few, of the users.

    Raises:
        InputError: it cannot be inverted.
    """
    if 2 * users.shape[0] < users.shape[1]:
        return _by_users(users, strength)
    gram = np.asarray((users.T @ users).toarray(order="F"), dtype=np.float32)
    gram[np.diag_indices_from(gram)] += np.float32(strength)
    return weights_of_gram(gram)


def weights_of_gram(gram: NDArray[np.float32]) -> Floats:
    """B (w, w) from the items' Gram matrix with λ on its diagonal, which is overwritten; Fortran order saves a copy.

    Raises:
        InputError: it cannot be inverted.
    """
    factor, problem = lapack.spotrf(gram, lower=True, overwrite_a=True)
    inverse, problem = (factor, problem) if problem else lapack.spotri(factor, lower=True, overwrite_c=True)
    if problem:
        raise InputError(SINGULAR)
    for column in range(len(inverse)):  # only the lower half is filled; a mirrored copy would double the memory
        inverse[column, column:] = inverse[column:, column]
    rows = inverse.T  # symmetric, and this way round a row lies in one piece
    rows /= -np.diag(rows).copy()[None, :]
    np.fill_diagonal(rows, 0)
    return np.asarray(rows)


def _by_users(users: csr_array, strength: float) -> Floats:
    """``P = (I − H) / λ`` with ``H = Xᵀ(XXᵀ + λI)⁻¹X`` (Woodbury), so ``B = H / (1 − diag(H))`` off the diagonal."""
    exact = users.astype(np.float64)
    gram = (exact @ exact.T).toarray()
    gram[np.diag_indices_from(gram)] += strength
    try:
        factor = cho_factor(gram, lower=True)
    except LinAlgError as error:
        raise InputError(SINGULAR) from error
    solved = cho_solve(factor, exact.toarray())  # (n, w)
    weights = np.empty((users.shape[1],) * 2, dtype=np.float32)
    for start in range(0, users.shape[1], BLOCK):
        block = slice(start, start + BLOCK)
        hat = exact.T @ solved[:, block]
        weights[:, block] = hat / (1 - np.diagonal(hat, -start))
    np.fill_diagonal(weights, 0)
    return weights
