"""Shape lists: other orders of the best candidates, for more than accuracy.

Each function takes the candidates of n requests as `Rankings` and gives the same ones in another order, with the value
that gave each its place as its score. In all of them a candidate's score counts as its share of the way from the lowest
to the highest score of its list, 0 to 1. A strength of 0 gives the very list; 1 leaves the score no say but between
equals, or for what is explored as much as chance. Equal values keep the order that they came in.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import InputError
from retrieval.ranking import Floats, Rankings

POOL = 100  # candidates that are put in order
EXPLORED = 500  # from which scores are drawn: what few have had hardly reaches the best hundred
SMOOTHING = 0.1  # items with the history's mix that a list has from the start: 1 % of ten, as Steck has it
STEPS = ("explore", "novelty", "calibrated", "diversity")  # in the order in which they are taken
Figures = NDArray[np.float64]


@dataclass(frozen=True)
class Shaping:
    """How lists are shaped: the strength of each step, 0 to 1, and 0 leaves it out.

    seed: of what ``explore`` draws. field: of the catalog, whose mix ``calibrated`` keeps; "" finds the main one.
    """

    explore: float = 0.0
    novelty: float = 0.0
    calibrated: float = 0.0
    diversity: float = 0.0
    seed: int = 0
    field: str = ""

    def __post_init__(self) -> None:
        for name in STEPS:
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"the strength of {name} is 0 to 1, not {getattr(self, name):g}")

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps that are taken, in their order."""
        return tuple(name for name in STEPS if getattr(self, name) > 0)

    def pool(self, k: int) -> int:
        """How many candidates are needed for a list of k; for one that is not shaped k."""
        return max(k, (EXPLORED if self.explore > 0 else POOL) if self.steps else k)

    @classmethod
    def parse(cls, text: str) -> "Shaping":
        """Read ``diversity=0.3+novelty=0.1``.

        Raises:
            InputError: no such step, or a strength that is none.
        """
        strengths = {}
        for part in text.split("+"):
            name, _, value = part.partition("=")
            if name not in STEPS or name in strengths:
                raise InputError(f"lists are not shaped by {part!r}; write {'=0.3, '.join(STEPS)}=0.3, joined by +")
            try:
                strengths[name] = float(value)
            except ValueError:
                raise InputError(f"{part!r} has no strength; write {name}=0.3") from None
        return cls(**strengths)  # type: ignore[arg-type]


PLAIN = Shaping()


def explored(found: Rankings, users: NDArray[np.int64], strength: float, seed: int) -> Rankings:
    """Thompson sampling: each score is drawn from what it may be, ``N(score, strength² / (u + 1))``.

    users: (n, k) how many had each candidate, u: the fewer, the less its score is known. The same seed and candidates
    draw the same.
    """

    def values(row: int, ids: list[str], scores: Figures) -> Figures:
        by_id = sorted(range(len(ids)), key=ids.__getitem__)
        text = "\n".join(ids[place] for place in by_id)
        generator = np.random.default_rng([seed, zlib.crc32(text.encode("utf-8", "surrogatepass"))])
        noise = np.empty(len(ids))
        noise[by_id] = generator.standard_normal(len(ids))
        return np.asarray(scores + strength * noise / np.sqrt(users[row, : len(ids)] + 1.0))

    return _reordered(found, values, strength)


def damped(found: Rankings, users: NDArray[np.int64], strength: float) -> Rankings:
    """Less popular candidates rise: ``(1 − strength) · score + strength · (1 − popularity)``.

    users: (n, k) how many had each candidate. Popularity is ``log(1 + users)``, scaled over the list as the scores are.
    """

    def values(row: int, ids: list[str], scores: Figures) -> Figures:
        popularity = _scaled(np.log1p(users[row, : len(ids)]))
        return (1 - strength) * scores + strength * (1 - popularity)

    return _reordered(found, values, strength)


def calibrated(found: Rankings, mixes: Floats, wanted: Floats, strength: float) -> Rankings:
    """The list has the mix of genres that the history has (Steck 2018), as far as ``strength`` lets it.

    mixes: (n, k, g) a distribution over genres for each candidate, 0 where it has none; wanted: (n, g) the history's;
    where it is 0 throughout, the list stays as it is. Greedily, the next item is the one that adds most to
    ``(1 − strength) · Σ_i score_i + strength · Σ_g p_g log(Σ_i q_ig + .1 p_g)``; but for what is the same for all
    candidates the second sum is Steck's −KL(p, q̃), with q̃ smoothed by a tenth of an item. It is submodular, so that
    what is added never rises and a shorter list is the beginning of a longer one.
    """

    def values(row: int, ids: list[str], scores: Figures) -> Figures:
        of = np.flatnonzero(wanted[row] > 0)
        if len(of) == 0:
            return scores
        shares, given = wanted[row, of].astype(np.float64), mixes[row, : len(ids)][:, of].astype(np.float64)
        return _greedy(
            scores,
            strength,
            SMOOTHING * shares,
            lambda listed: np.log1p(given / listed) @ shares,
            lambda listed, best: listed + given[best],
        )

    return _reordered(found, values, strength)


def diversified(found: Rankings, vectors: Floats, strength: float) -> Rankings:
    """Maximal marginal relevance (Carbonell & Goldstein 1998): unlike items follow each other.

    The next item is the one with the highest ``(1 − strength) · score − strength · max_j cos(i, j)`` over the items j
    that are listed already. vectors: (n, k, d) of length 1; a cosine below 0 counts as 0.
    """

    def values(row: int, ids: list[str], scores: Figures) -> Figures:
        own = vectors[row, : len(ids)]
        alike = np.maximum(own @ own.T, 0).astype(np.float64)
        return _greedy(
            scores,
            strength,
            np.zeros(len(ids)),
            lambda nearest: -nearest,
            lambda nearest, best: np.maximum(nearest, alike[best]),
        )

    return _reordered(found, values, strength)


def _greedy(
    scores: Figures,
    strength: float,
    listed: Figures,
    gain: Callable[[Figures], Figures],
    then: Callable[[Figures, int], Figures],
) -> Figures:
    """What each candidate added when it was the best of those left; of equals the first is taken.

    listed: what is known of the list so far. gain: of it, what each candidate would add (c,), which must not rise as
    the list grows. then: of it and the place of the candidate that is taken, what is known afterwards.
    """
    added, left = np.empty(len(scores)), np.ones(len(scores), dtype=np.bool_)
    for _ in range(len(scores)):
        value = np.where(left, (1 - strength) * scores + strength * gain(listed), -np.inf)
        best = int(value.argmax())
        added[best], left[best] = value[best], False
        listed = then(listed, best)
    return added


def _reordered(found: Rankings, values: Callable[[int, list[str], Figures], Figures], strength: float) -> Rankings:
    """Each list by ``values`` of its row, its ids and their scores from 0 to 1."""
    if strength == 0:
        return found
    ids, scores = found.ids.copy(), found.scores.copy()
    for row, length in enumerate(found.lengths.tolist()):
        if length == 0:
            continue
        part = values(row, found.ids[row, :length].tolist(), _scaled(found.scores[row, :length])).astype(np.float32)
        order = np.argsort(-part, kind="stable")
        ids[row, :length], scores[row, :length] = found.ids[row, order], part[order]
    return Rankings(ids, scores, found.lengths)


def _scaled(values: NDArray[Any]) -> Figures:
    """From 0, the lowest, to 1, the highest; all 0 where they do not differ."""
    low, high = float(values.min()), float(values.max())
    return (values.astype(np.float64) - low) / (high - low) if high > low else np.zeros(len(values))
