"""What is learnt of items, predicted for further ones from text and facts."""

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from retrieval.ranking import Columns, Floats
from retrieval.text.facts import Facts
from retrieval.text.kernel import ItemKernel, KernelConfig

READ = 8_000  # items that are learnt from, at most
LANDMARKS = 2_000  # of these, items that all others are compared with


def predicted(
    config: KernelConfig, noise: float, texts: Floats, facts: Facts, known: Columns, values: Floats, seed: int = 0
) -> Floats:
    """(m, c) ``values`` (n, c) for the ``known`` items (n,), and what text and facts make likely for all others.

    Gaussian process regression by a subset of regressors (Rasmussen & Williams 2006, equation 2.25 and section 8.3.1)
    with the kernel of `ItemKernel` and the variance ``noise``. texts: (m, d) of length 1.
    """
    drawn = np.random.default_rng(seed).permutation(len(known))[:READ]
    kernel = ItemKernel(config, texts, facts, known[drawn[:LANDMARKS]])
    features = kernel(known[drawn])
    together = (features.T @ features).astype(np.float64)
    ridged = cho_factor(together + noise * np.eye(len(together)), lower=True)
    learnt = cho_solve(ridged, features.T @ values[drawn])
    found = np.empty((len(texts), values.shape[1]), dtype=np.float32)
    others = np.setdiff1d(np.arange(len(texts)), known)
    found[others] = kernel(others) @ learnt
    found[known] = values
    return found
