"""From what a person liked and asked for to a bounded number of query vectors."""

from dataclasses import dataclass, field

import numpy as np
from scipy.cluster.hierarchy import fcluster, ward

from retrieval.ranking import Floats

MAX_QUERIES = 16
SHARPNESS = 20.0


@dataclass(frozen=True)
class Profile:
    """What to look for in one request.

    queries: (q, d) float32 of length 1, at most 16, to search the index with. anchors: (n, d) float32 of length 1, to
    score what was found. weights: (n,) float32 that sum to 1. ``exclude`` holds ids that must not be retrieved.
    """

    queries: Floats
    anchors: Floats
    weights: Floats
    exclude: frozenset[str] = field(default_factory=frozenset)

    def score(self, vectors: Floats) -> Floats:
        """Score items (n, d): a soft maximum of their cosines to the anchors, (n,) float32.

        ``log Σ_j w_j exp(β cos(a_j, v)) / β`` with β = 20. With one anchor it is the cosine; with many it lets the
        few nearest ones decide, which ranks unseen items better than the mean (DECISIONS.md, 2026-11-22).
        """
        cosines = vectors @ self.anchors.T  # (n items, n anchors)
        top = cosines.max(axis=1, keepdims=True)
        soft = np.exp(SHARPNESS * (cosines - top)) @ self.weights
        return np.asarray(top[:, 0] + np.log(soft) / SHARPNESS, dtype=np.float32)


def build_profile(vectors: Floats, weights: Floats, exclude: frozenset[str] = frozenset()) -> Profile:
    """Make a profile of liked items' vectors (n, d) and positive weights (n,).

    Up to 16 items are queries themselves; more are put into 16 groups (Ward linkage), each asked for by its medoid,
    the member with the highest weighted cosine to its group (PinnerSage, Pal et al. 2020, section 4.2).
    """
    if len(vectors) == 0:
        raise ValueError("a profile needs at least one vector")
    shares = (weights / weights.sum()).astype(np.float32)
    return Profile(_medoids(vectors, shares), vectors, shares, exclude)


def merge_profiles(first: Profile, second: Profile, share: float) -> Profile:
    """Both profiles' queries and anchors; ``first`` gets ``share`` of the weight (0 to 1)."""
    return Profile(
        np.concatenate([first.queries, second.queries]),
        np.concatenate([first.anchors, second.anchors]),
        np.concatenate([first.weights * share, second.weights * (1 - share)]).astype(np.float32),
        first.exclude | second.exclude,
    )


def _medoids(vectors: Floats, shares: Floats) -> Floats:
    if len(vectors) <= MAX_QUERIES:
        return vectors
    groups = fcluster(ward(vectors.astype(np.float64)), MAX_QUERIES, criterion="maxclust")
    medoids = []
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        closeness = vectors[members] @ (shares[members] @ vectors[members])
        medoids.append(vectors[members[int(closeness.argmax())]])
    return np.stack(medoids)
