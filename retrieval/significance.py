"""How sure a figure is: bootstrap over users, the same resamples for everything that is compared."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Figures = NDArray[np.float64]
RESAMPLES = 10_000
CHUNK = 250


@dataclass(frozen=True)
class Difference:
    """What a system gains over another on the same users.

    delta: mean difference; low, high: its 95 % interval; effect: mean difference by the standard deviation of the
    users' differences (Cohen's d for pairs); p: two-sided bootstrap p-value; users: how many both say something about.
    """

    delta: float
    low: float
    high: float
    effect: float
    p: float
    users: int


def bootstrap_means(values: Figures, seed: int, resamples: int = RESAMPLES) -> Figures:
    """(resamples, c) means of resampled users, for each column of ``values`` (n, c); NaN entries are left out.

    Users are drawn with replacement, n of them, the same ones for all columns, so that differences between columns
    are paired (Efron & Tibshirani 1993, section 8.3). The same seed and n give the same draws. A resample in which a
    column has no number at all gives NaN.
    """
    users, columns = values.shape
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    masks, mask_of = np.unique(known, axis=1, return_inverse=True)  # few different ones
    sums, counts = np.empty((resamples, columns)), np.empty((resamples, masks.shape[1]))
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, CHUNK):
        size = min(CHUNK, resamples - start)
        drawn = rng.integers(0, users, (size, users)) + np.arange(size)[:, None] * users
        weights = np.bincount(drawn.ravel(), minlength=size * users).reshape(size, users).astype(np.float64)
        sums[start : start + size] = weights @ filled
        counts[start : start + size] = weights @ masks
    counts = counts[:, np.ravel(mask_of)]
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def interval(resampled: Figures) -> tuple[float, float]:
    """The 95 % percentile interval of resampled figures (resamples,); NaN when there are none."""
    known = resampled[~np.isnan(resampled)]
    if len(known) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def compare(ours: Figures, others: Sequence[Figures], seed: int, resamples: int = RESAMPLES) -> list[Difference]:
    """What ``ours`` (n,) gains over each of ``others``, user by user.

    p is twice the smaller tail of the resampled mean differences at 0, at least 1/resamples.
    """
    deltas = np.stack([ours - other for other in others], axis=1)
    resampled = bootstrap_means(deltas, seed, resamples)
    found, nan = [], float("nan")
    for column in range(deltas.shape[1]):
        delta = deltas[:, column][~np.isnan(deltas[:, column])]
        if len(delta) == 0:
            found.append(Difference(nan, nan, nan, nan, nan, 0))
            continue
        low, high = interval(resampled[:, column])
        known = resampled[~np.isnan(resampled[:, column]), column]
        tails = np.mean(known <= 0), np.mean(known >= 0)
        p = float(np.clip(2 * min(tails), 1 / resamples, 1))
        spread = float(delta.std(ddof=1)) if len(delta) > 1 else 0.0
        differs = spread > 1e-9 * np.abs(delta).max()  # less is what rounding makes of a constant
        effect = float(delta.mean() / spread) if differs else 0.0
        found.append(Difference(float(delta.mean()), low, high, effect, p, len(delta)))
    return found


def reality_check(gains: Figures, seed: int, resamples: int = RESAMPLES) -> float:
    """The p-value of the best of several systems that are alike: that none of them gains anything over a benchmark.

    ``gains`` (n, s): each user's gain by each system, without NaN. It is the share of resamples in which the highest
    mean, each around its own, reaches the highest mean found (White 2000), at least 1/resamples; systems that move
    together count almost as one, which a correction for their number would not allow for.
    """
    means = gains.mean(axis=0)
    around = bootstrap_means(gains, seed, resamples) - means
    return float(max(np.mean(around.max(axis=1) >= means.max()), 1 / resamples))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for being several (Holm 1979), in the order given; NaN is no comparison and stays NaN."""
    known = [index for index, p in enumerate(p_values) if not np.isnan(p)]
    corrected, highest = [float("nan")] * len(p_values), 0.0
    for place, index in enumerate(sorted(known, key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(known) - place) * p_values[index]))
        corrected[index] = highest
    return corrected
