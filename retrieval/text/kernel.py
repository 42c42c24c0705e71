"""How alike items are by text and facts: a kernel, and features whose products are it."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from retrieval.ranking import Columns, Floats
from retrieval.text.facts import Facts

JITTER = 1e-4
BLOCK = 4_096


class KernelConfig(Protocol):
    """sharpness: γ, how fast texts become unlike. facts: c, how much facts count beside the text."""

    @property
    def sharpness(self) -> float: ...  # noqa: D102

    @property
    def facts(self) -> float: ...  # noqa: D102


class ItemKernel:
    """``k(i, j) = exp(−γ |f_i − f_j|²) + c·facts(i, j)``, f the whitened text vectors, as far as landmarks show it.

    Calling it gives features (n, r) of items, whose products are the kernel (Nyström; Williams & Seeger 2001).
    """

    def __init__(self, config: KernelConfig, texts: Floats, facts: Facts | None, landmarks: Columns):
        """``texts`` (m, d) of length 1; ``landmarks`` (r,): the items that all others are compared with."""
        self._config = config
        self._texts = texts
        self._facts = facts
        self._landmarks = landmarks
        among = self._between(landmarks).astype(np.float64)
        self._root = np.linalg.cholesky(among + JITTER * np.eye(len(landmarks)))

    def __call__(self, items: Columns) -> Floats:
        """(n, r) the features of these items."""
        between = self._between(items).astype(np.float64)
        return np.asarray(solve_triangular(self._root, between.T, lower=True).T, dtype=np.float32)

    def projected(self, *matrices: NDArray[np.float64]) -> list[Floats]:
        """The features of all items times each matrix (r, q), (m, q) each, in blocks."""
        maps = [solve_triangular(self._root.T, matrix).astype(np.float32) for matrix in matrices]
        starts = range(0, len(self._texts), BLOCK)
        blocks = [self._between(np.arange(start, min(start + BLOCK, len(self._texts)))) for start in starts]
        return [np.concatenate([block @ one for block in blocks]) for one in maps]

    def _between(self, items: Columns) -> Floats:
        """(n, r) the kernel between items and landmarks."""
        cosines = self._texts[items] @ self._texts[self._landmarks].T
        found = np.exp(np.float32(-2 * self._config.sharpness) * (1 - cosines))
        if self._facts is not None and self._facts and self._config.facts > 0:
            found += np.float32(self._config.facts) * self._facts.take(items).kernel(self._facts.take(self._landmarks))
        return np.asarray(found, dtype=np.float32)
