"""Rating prediction from biases and neighbours."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from retrieval.cf.config import Config, searched
from retrieval.cf.neighbours import similarities
from retrieval.cf.scorer import Arrays, Scorer, TrainingData
from retrieval.data.histories import Histories
from retrieval.errors import InputError
from retrieval.ranking import Floats


@dataclass(frozen=True)
class BiasKnnConfig(Config):
    """neighbours, shrink: as for item-knn. damping: events of the value 0 that each bias is averaged with.

    positive_from is not used: it learns from the values themselves.
    """

    neighbours: int = searched(100, 5, 1000, log=True)
    shrink: float = searched(25.0, 0, 200)
    damping: float = searched(5.0, 0, 50)


class BiasKnn(Scorer):
    """``r̂_ui = b_ui + Σ_j s_ij (r_uj − b_uj) / Σ_j |s_ij|``, j the neighbours of i that u rated (Koren 2010, eq. 2).

    ``b_ui = μ + b_u + b_i`` with damped means; similarity is the shrunk cosine between the items' residuals
    ``r − b``. A new user's b_u comes from the history, so nobody has to be known. The score is the predicted value.
    """

    name = "bias-knn"
    config_type = BiasKnnConfig
    predicts_values = True

    def __init__(self, config: BiasKnnConfig, mean: float, item_bias: NDArray[Any], similar: csr_array):
        super().__init__(config, len(item_bias))
        self._mean = mean
        self._item_bias = item_bias
        self._similar = similar

    @classmethod
    def fit(cls, data: TrainingData, config: BiasKnnConfig) -> Self:
        """Find the biases, then the neighbours by what the biases leave.

        Raises:
            InputError: all values are the same, so there is nothing to predict.
        """
        values = data.histories.values
        if values.nnz == 0 or values.data.min() == values.data.max():
            raise InputError(f"{cls.name} predicts ratings, and these events all have the same value")
        mean = float(values.data.mean(dtype=np.float64))
        counts = np.bincount(values.indices, minlength=values.shape[1])
        sums = np.bincount(values.indices, values.data - mean, minlength=values.shape[1])
        item_bias = _damped(sums, counts, config.damping)
        scorer = cls(config, mean, item_bias, csr_array((0, 0)))
        residuals, _ = scorer._residuals(values)
        counted = csr_array((np.ones_like(values.data), values.indices, values.indptr), shape=values.shape)
        scorer._similar = similarities(residuals, counted, config.neighbours, config.shrink)
        return scorer

    def _residuals(self, values: csr_array) -> tuple[csr_array, NDArray[Any]]:
        """What the biases leave of each value, and each user's bias."""
        left = values.data - self._mean - self._item_bias[values.indices]
        counts = np.diff(values.indptr)
        owner = np.repeat(np.arange(len(counts)), counts)
        user_bias = _damped(np.bincount(owner, left, minlength=len(counts)), counts, self.config.damping)
        return csr_array(
            ((left - user_bias[owner]).astype(np.float32), values.indices, values.indptr), shape=values.shape
        ), user_bias

    def _score(self, histories: Histories) -> Floats:
        residuals, user_bias = self._residuals(histories.values)
        rated = csr_array((np.ones_like(residuals.data), residuals.indices, residuals.indptr), shape=residuals.shape)
        above = np.asarray((residuals @ self._similar).toarray(), dtype=np.float32)
        below = np.asarray((rated @ self._similar).toarray(), dtype=np.float32)
        above = np.divide(above, below, out=above, where=below > 0)  # where no neighbour was rated it is 0 already
        bias = self._mean + user_bias[:, None] + self._item_bias[None, :]
        return np.asarray(above + bias, dtype=np.float32)

    def arrays(self) -> Arrays:
        """mean: (1,); item_bias: (m,); data, indices, indptr: the similarities (scipy's CSR)."""
        similar = {name: getattr(self._similar, name) for name in ("data", "indices", "indptr")}
        return {"mean": np.array([self._mean]), "item_bias": self._item_bias, **similar}

    @classmethod
    def from_arrays(cls, config: BiasKnnConfig, items: int, arrays: Arrays) -> Self:
        """From `arrays`."""
        similar = csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=(items, items))
        return cls(config, float(arrays["mean"][0]), arrays["item_bias"], similar)


def _damped(sums: NDArray[Any], counts: NDArray[Any], damping: float) -> NDArray[np.float64]:
    """``sums / (counts + damping)``, 0 where nothing was counted."""
    return np.asarray(np.divide(sums, counts + damping, out=np.zeros(len(sums)), where=counts > 0))
