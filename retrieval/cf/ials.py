"""Matrix factorisation of implicit feedback, through the library `implicit`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from retrieval.cf.config import Config, searched
from retrieval.cf.scorer import Arrays, Scorer, TrainingData
from retrieval.data.histories import Histories
from retrieval.ranking import Floats

if TYPE_CHECKING:
    from implicit.cpu.als import AlternatingLeastSquares


@dataclass(frozen=True)
class IalsConfig(Config):
    """factors: dimensions. regularisation: λ. alpha: weight of a positive event beside the 1 of all others.

    iterations: sweeps over users and items; more change little, so it is not searched.
    """

    factors: int = searched(32, 8, 256, log=True)
    regularisation: float = searched(10.0, 0.1, 100, log=True)
    alpha: float = searched(5.0, 1, 50, log=True)
    iterations: int = 15


class Ials(Scorer):
    """``⟨p_u, q_i⟩`` from alternating least squares over all pairs (Hu, Koren & Volinsky 2008).

    The least-squares problem of one user is solved for every history that comes, so nobody has to be known.
    """

    name = "ials"
    config_type = IalsConfig

    def __init__(self, config: IalsConfig, factors: Floats):
        super().__init__(config, len(factors))
        self._model = _model(config, None)
        self._model.item_factors = factors

    @classmethod
    def fit(cls, data: TrainingData, config: IalsConfig) -> Self:
        """Alternate between users and items, from seeded random factors."""
        positives = data.histories.positives(config.positive_from)
        model = _model(config, data.seed)
        with threadpool_limits(1, "blas"):
            model.fit(csr_matrix(positives), show_progress=False)
        return cls(config, model.item_factors)

    def _score(self, histories: Histories) -> Floats:
        positives = csr_matrix(histories.positives(self.config.positive_from))
        with threadpool_limits(1, "blas"):
            users = self._model.recalculate_user(np.arange(len(histories)), positives)
        return np.asarray(users @ self._model.item_factors.T, dtype=np.float32)

    def arrays(self) -> Arrays:
        """factors: (m, d)."""
        return {"factors": self._model.item_factors}

    @classmethod
    def from_arrays(cls, config: IalsConfig, items: int, arrays: Arrays) -> Self:  # noqa: ARG003
        """From `arrays`."""
        return cls(config, np.array(arrays["factors"]))


def _model(config: IalsConfig, seed: int | None) -> "AlternatingLeastSquares":
    from implicit.cpu.als import AlternatingLeastSquares  # half a second that other scorers need not wait for

    with threadpool_limits(1, "blas"):  # implicit has threads of its own and warns of others
        return AlternatingLeastSquares(
            config.factors, config.regularisation, config.alpha, iterations=config.iterations, random_state=seed
        )
