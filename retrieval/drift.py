"""How far new events have moved from those that something was made of: the population stability index (PSI)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from retrieval.metrics import Figures
from retrieval.ranking import Columns, Floats

MODERATE, LARGE = 0.1, 0.25
FLOOR = 1e-4  # of the events: what a bucket without any counts for, or one new item would make the index endless
DECILES = np.arange(1, 10) / 10
CLUSTERS = 10
SAMPLE = 20_000  # items that clusters are found on, at most
SURE = 0.95

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Drift:
    """psi: the index. chance: what it stays below with 95 % confidence where nothing has changed."""

    psi: float
    chance: float

    @classmethod
    def of(cls, before: Counts, after: Counts) -> "Drift":
        """Of the number of events in each bucket, before and after; at least one event each."""
        return cls(psi(before, after), by_chance(before, after))

    @property
    def reading(self) -> str:
        """The usual one: less than .1 none, up to .25 moderate, above large (Lewis 1994; Siddiqi 2017).

        What chance may make is none, however large: few events differ much (Yurdakul & Naranjo 2020).
        """
        if self.psi < MODERATE or self.psi <= self.chance:
            return "none"
        return "moderate" if self.psi <= LARGE else "large"

    def passes(self, threshold: float) -> bool:
        """Whether it is above the threshold, and above what chance may make."""
        return self.psi > threshold and self.psi > self.chance


def psi(before: Counts, after: Counts) -> float:
    """``Σ (a − b) ln(a / b)`` over the shares of the buckets, each at least `FLOOR`.

    Never negative, 0 where the shares are the same, and the same both ways.
    """
    b, a = _shares(before), _shares(after)
    return float(np.sum((a - b) * np.log(a / b)))


def by_chance(before: Counts, after: Counts) -> float:
    """The 95 % quantile of the index where both are drawn from the same distribution: ``χ²(B − 1) · (1/n + 1/m)``.

    B: buckets that have any event; n, m: events (Yurdakul & Naranjo 2020). Events count as independent, which those of
    one user are not quite.
    """
    used = int(((before + after) > 0).sum())
    return float(chi2.ppf(SURE, max(used - 1, 1)) * (1 / before.sum() + 1 / after.sum()))


def _shares(counts: Counts) -> Figures:
    return np.asarray(np.maximum(counts / counts.sum(), FLOOR), dtype=np.float64)


def popularity_drift(before: Columns, after: Columns, items: int) -> Drift:
    """Of the items' popularity; ``before`` (n,), ``after`` (m,): the item of each event, by column.

    Buckets: items that nobody had before, and the deciles of all others by the number of events they had; those with
    the same number are in one bucket. An event from before does not count itself, so that what was had once stands for
    what nobody had: the share that is new by chance (Good 1953). Without that, events that have not changed at all
    would seem to have moved to what is unknown and rare.
    """
    counts = np.bincount(before, minlength=items)
    edges = np.unique(np.quantile(counts[counts > 0], DECILES, method="lower"))

    def buckets(known: NDArray[Any]) -> Counts:
        places = np.where(known > 0, 1 + np.searchsorted(edges, known), 0)
        return np.bincount(places, minlength=len(edges) + 2)

    return Drift.of(buckets(counts[before] - 1), buckets(counts[after]))


def profile_drift(before: Columns, after: Columns, clusters: Columns) -> Drift:
    """Of what profiles are about: the events' share in each cluster of items; clusters: (m,) of `find_clusters`."""
    number = int(clusters.max()) + 1
    return Drift.of(*(np.bincount(clusters[columns], minlength=number) for columns in (before, after)))


def find_clusters(vectors: Floats, seed: int) -> Columns:
    """(m,) the cluster of each item by its text: k-means, ten of them where there are enough different texts."""
    from sklearn.cluster import KMeans

    drawn = vectors
    if len(vectors) > SAMPLE:
        drawn = vectors[np.random.default_rng(seed).permutation(len(vectors))[:SAMPLE]]
    number = min(CLUSTERS, len(np.unique(drawn, axis=0)))
    found = KMeans(number, n_init=4, random_state=seed).fit(drawn)
    return np.asarray(found.predict(vectors), dtype=np.int64)
