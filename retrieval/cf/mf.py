"""Matrix factorisation: users and items as points in one small space."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.sparse import csr_array

from retrieval.cf.config import Config, searched
from retrieval.cf.scorer import Arrays, Scorer, TrainingData
from retrieval.data.histories import Histories
from retrieval.ranking import Floats

ROUNDING = 1e-5  # of the greatest score, where single precision ends


@dataclass(frozen=True)
class MatrixFactorisationConfig(Config):
    """factors: dimensions of the space. popularity: power of an item's length that stays in it.

    1 is plain SVD; less takes weight from popular items before the space is found.
    """

    factors: int = searched(64, 4, 512, log=True)
    popularity: float = searched(0.7, 0, 1)


class MatrixFactorisation(Scorer):
    """``⟨p_u, q_i⟩`` with q from a truncated SVD of what users chose, and ``p_u = Σ_j q_j`` over the history.

    PureSVD (Cremonesi et al. 2010, section 3.2) with the item scaling of EigenRec (Nikolakopoulos et al. 2019, eq. 3).
    A new user needs no training: p_u is the projection of the history.
    """

    name = "mf"
    config_type = MatrixFactorisationConfig

    def __init__(self, config: MatrixFactorisationConfig, factors: Floats):
        super().__init__(config, len(factors))
        self._factors = factors  # (m, d), orthonormal columns

    @classmethod
    def fit(cls, data: TrainingData, config: MatrixFactorisationConfig) -> Self:
        """Find the space; at most as many dimensions as there are users or items."""
        from sklearn.utils.extmath import randomized_svd  # takes seconds to import, and serving needs none of it

        positives = data.histories.positives(config.positive_from)
        lengths = np.sqrt(np.asarray(positives.sum(axis=0)).ravel())
        warm = np.flatnonzero(lengths)  # of the others an SVD would only give rounding noise
        scaled = csr_array(positives[:, warm].multiply(lengths[warm][None, :] ** (config.popularity - 1)))
        wanted = min(config.factors, *scaled.shape)
        factors = np.zeros((positives.shape[1], wanted), dtype=np.float32)
        if wanted > 0:
            _, _, right = randomized_svd(scaled.astype(np.float32), wanted, n_iter=4, random_state=data.seed)
            factors[warm] = right.T
        return cls(config, factors)

    def _score(self, histories: Histories) -> Floats:
        users = histories.positives(self.config.positive_from) @ self._factors  # (n, d)
        scores = np.asarray(users @ self._factors.T, dtype=np.float32)
        # With about as many factors as items the history is given back, and all else is rounding: nothing to rank by.
        scores[np.abs(scores) < ROUNDING * np.abs(scores).max(axis=1, initial=0, keepdims=True)] = 0
        return scores

    def arrays(self) -> Arrays:
        """factors: (m, d)."""
        return {"factors": self._factors}

    @classmethod
    def from_arrays(cls, config: MatrixFactorisationConfig, items: int, arrays: Arrays) -> Self:  # noqa: ARG003
        """From `arrays`."""
        return cls(config, arrays["factors"])
