"""Put the scores of two stages together."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.ranking import Floats


def standardise(scores: NDArray[Any]) -> Floats:
    """z-scores over one candidate list: mean 0, standard deviation 1; all 0 where the scores do not differ."""
    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0:
        return values.astype(np.float32)
    spread = values.std()
    if spread <= np.finfo(np.float32).eps * float(np.abs(values).max()):
        return np.zeros(len(values), dtype=np.float32)
    return np.asarray((values - values.mean()) / spread, dtype=np.float32)


def weighted(first: NDArray[Any], second: NDArray[Any], alpha: float) -> Floats:
    """``z(first)·(1−α) + z(second)·α`` over one candidate list; α in [0, 1], 0 keeps the order of ``first``."""
    if len(first) != len(second):
        raise ValueError(f"{len(first)} scores cannot be put together with {len(second)}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be between 0 and 1, not {alpha}")
    return ((1 - alpha) * standardise(first) + alpha * standardise(second)).astype(np.float32)
