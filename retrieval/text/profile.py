"""From what a person liked and asked for to a bounded number of query vectors."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, ward

from retrieval.fusion import standardise
from retrieval.ranking import Floats

MAX_QUERIES = 16
GROUPED = 2_000  # liked items that are put into groups, at most; memory grows with their square
SHARPNESS = 6.0
TOLD = 12  # liked items that a language model is told of


@dataclass(frozen=True)
class Interest:
    """One thing to look for: items like some others, or a text.

    nearest: (q, d) float32 of length 1, at most 16, to search the index with. anchors: (n, d) float32 of length 1, to
    score what was found. sharpness: β of the score. lean: where else the score grows; None: nowhere.
    """

    nearest: Floats
    anchors: Floats
    sharpness: float = SHARPNESS
    lean: "Direction | None" = None

    @property
    def queries(self) -> Floats:
        """(q, d) float32 of length 1, at most 17: what to search the index with."""
        return self.nearest if self.lean is None else np.concatenate([self.nearest, self.lean.queries])

    def score(self, vectors: Floats) -> Floats:
        """Score items (n, d): a soft maximum of their cosines to the anchors, and how far they lean, (n,) float32.

        ``log mean_j exp(β cos(a_j, v)) / β + lean·v`` with β the sharpness. With one anchor the first part is the
        cosine; with many it lets the few nearest ones decide, which ranks unseen items better than the mean of all
        (DECISIONS.md, 2026-11-22).
        """
        cosines = vectors @ self.anchors.T  # (n items, n anchors)
        top = cosines.max(axis=1, keepdims=True)
        soft = np.exp(self.sharpness * (cosines - top)).mean(axis=1)
        found = np.asarray(top[:, 0] + np.log(soft) / self.sharpness, dtype=np.float32)
        return found if self.lean is None else found + self.lean.score(vectors)


@dataclass(frozen=True)
class Direction:
    """One thing to look for: items far in one direction (d,), of any length."""

    towards: Floats

    @property
    def queries(self) -> Floats:
        """(1, d) float32 of length 1, unless it is 0."""
        length = np.linalg.norm(self.towards)
        return np.asarray(self.towards / (length if length > 0 else 1), dtype=np.float32)[None, :]

    def score(self, vectors: Floats) -> Floats:
        """Score items (n, d) of length 1: their product with it, (n,) float32."""
        return np.asarray(vectors @ self.towards, dtype=np.float32)


@dataclass(frozen=True)
class Profile:
    """What one request is for, at least one thing, and the ids that must not be retrieved.

    words: what was asked for in words, to be looked up as they stand; asked: what they mean.
    """

    interests: tuple[Interest | Direction, ...]
    exclude: frozenset[str] = field(default_factory=frozenset)
    words: str = ""
    asked: Interest | None = None

    @property
    def queries(self) -> Floats:
        """(q, d) float32, the queries of all interests."""
        asked = (self.asked,) if self.asked else ()
        return np.concatenate([interest.queries for interest in (*self.interests, *asked)])

    def score(self, vectors: Floats, matches: Floats | None = None) -> Floats:
        """Score a candidate list (n, d), (n,) float32; ``matches`` (n,), 0 to 1, is how well texts match the words.

        A single interest's score, or the mean of the z-scores of several: cosines between texts of one kind are
        higher than those of a query to a text, so that unscaled ones would drown the query. What the words mean and how
        they match count the same, on scales that no list of candidates changes (Bruch, Gai & Ingber 2023, section 4).
        """
        if len(vectors) == 0:
            return np.zeros(0, dtype=np.float32)
        scores = [interest.score(vectors) for interest in self.interests]
        if self.asked:
            meant = self.asked.score(vectors)
            scores.append(meant if matches is None else np.asarray((meant + matches) / 2, dtype=np.float32))
        if len(scores) == 1:
            return scores[0]
        return np.asarray(np.mean([standardise(score) for score in scores], axis=0), dtype=np.float32)


def interest_in(vectors: Floats, sharpness: float = SHARPNESS, lean: Direction | None = None) -> Interest:
    """The interest of someone who liked items with these vectors (n, d), n ≥ 1.

    Up to 16 items are queries themselves; more are put into 16 groups (Ward linkage), each asked for by its medoid,
    the member with the highest mean cosine to its group (PinnerSage, Pal et al. 2020, section 4.2). Of more than 2,000
    items, as many stand for all, spread evenly over the history.
    """
    if len(vectors) == 0:
        raise ValueError("an interest needs at least one vector")
    if len(vectors) <= MAX_QUERIES:
        return Interest(vectors, vectors, sharpness, lean)
    spread = np.linspace(0, len(vectors) - 1, min(GROUPED, len(vectors))).astype(np.int64)
    grouped = vectors[spread]
    groups = fcluster(ward(grouped.astype(np.float64)), MAX_QUERIES, criterion="maxclust")
    medoids = []
    for group in np.unique(groups):
        members = grouped[groups == group]
        medoids.append(members[int((members @ members.mean(axis=0)).argmax())])
    return Interest(np.stack(medoids), vectors, sharpness, lean)


def telling(liked: Floats, candidates: Floats, most: int = TOLD, sharpness: float = 3 * SHARPNESS) -> NDArray[np.int64]:
    """Which liked items (h, d) say most about candidates (c, d): rows of at most ``most``, the most telling one last.

    Each candidate shares one vote among the liked items, ``softmax(β cos)``; items with equal votes keep their order.
    """
    if len(liked) == 0 or len(candidates) == 0:
        return np.arange(len(liked))[:most]
    cosines = candidates @ liked.T
    votes = np.exp(sharpness * (cosines - cosines.max(axis=1, keepdims=True)))
    votes /= votes.sum(axis=1, keepdims=True)
    by_votes = np.argsort(votes.sum(axis=0), kind="stable")
    return np.asarray(by_votes[max(0, len(liked) - most) :], dtype=np.int64)
