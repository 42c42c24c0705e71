"""What a ranker learns from: lists of candidates like those it will be asked about, made of training events alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_array
from scipy.special import logsumexp

from finetune.augmentation import Compose, Crop, Mask, Sight
from retrieval.cf.scorer import System
from retrieval.data.histories import Histories
from retrieval.errors import InputError
from retrieval.fusion import standardise
from retrieval.ranking import Columns, Floats
from retrieval.text.profile import TOLD, telling

COLD_FROM = 5  # events that an item needs to be treated as unseen
FOLDS = 5
ASKED = 2_000  # users of a world at most, drawn at random
HIDDEN = 0.2  # of a user's events, where warm items are to be found
FORGETTING = Mask(0.1)
SHORTENING = Crop(3, TOLD, share=0.5, latest=True)
SHARPEST = 5.0  # how much a standard deviation of the retriever's scores can say
SAMPLED = 2_000  # lists that say how much it does

Fit = Callable[[Histories], System]


@dataclass(frozen=True)
class Pool:
    """What one user could be shown, in one of the worlds in which some events are treated as unseen.

    liked: columns of the history that speak for an item. candidates: (c,) columns that the retriever found, best first.
    scores: (c,) its scores. positives: hidden columns that the user liked.
    """

    user: int
    liked: NDArray[np.int64]
    candidates: Columns
    scores: Floats
    positives: NDArray[np.int64]


@dataclass(frozen=True)
class RankingList:
    """One training list: columns of the history, the most telling last; of the candidates, the positive one first.

    prior: for each candidate, the log-odds by which the retriever prefers it.
    """

    history: tuple[int, ...]
    candidates: tuple[int, ...]
    prior: tuple[float, ...]


def cold_pools(train: Histories, liked_from: float, fit: Fit, size: int, seed: int, folds: int = FOLDS) -> list[Pool]:
    """Worlds in which a share of the items has no event: each item with five events or more is cold in one of them.

    ``fit`` makes the retriever from the events that are left; candidates are its best ``size`` cold items.

    Raises:
        InputError: fewer items than folds have five events.
    """
    counts = np.bincount(train.values.indices, minlength=train.values.shape[1])
    known = np.flatnonzero(counts >= COLD_FROM)
    if len(known) < folds:
        raise InputError(f"a ranker learns from items with {COLD_FROM} events or more, and these events have none")
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(known)
    pools: list[Pool] = []
    for cold in np.array_split(drawn, folds):
        unseen = np.zeros(train.values.shape[1], dtype=np.bool_)
        unseen[cold] = True
        hidden = unseen[train.values.indices]
        pools += _world(train, hidden, fit, liked_from, size, rng, among=unseen)
    return pools


def warm_pools(train: Histories, liked_from: float, fit: Fit, size: int, seed: int, folds: int = FOLDS) -> list[Pool]:
    """Worlds in which a fifth of some users' events is unseen, and these users' events are not learnt from at all.

    A retriever that has seen what it is asked for would be surer of it than it can be later.
    """
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.arange(len(train)) % folds)
    draws = rng.random(train.values.nnz) < HIDDEN
    rows = np.repeat(np.arange(len(train)), train.counts)
    pools: list[Pool] = []
    for number in range(folds):
        asked = group == number
        if asked.any() and not asked.all():
            pools += _world(train, draws & asked[rows], fit, liked_from, size, rng, asked=asked)
    return pools


def _world(
    train: Histories,
    hidden: NDArray[np.bool_],
    fit: Fit,
    liked_from: float,
    size: int,
    rng: np.random.Generator,
    asked: NDArray[np.bool_] | None = None,
    among: NDArray[np.bool_] | None = None,
) -> list[Pool]:
    """Pools of the users who like something hidden; ``asked`` (n,) are not learnt from, ``among`` (m,) is to be found.

    ``hidden`` marks stored events.
    """
    known = train.keeping(~hidden)
    liked_hidden = train.keeping(hidden & (train.values.data >= liked_from)).values
    learnt = known if asked is None else known.take(np.flatnonzero(~asked))
    rows = np.flatnonzero((np.diff(liked_hidden.indptr) > 0) & (known.counts > 0))
    if len(rows) == 0:
        return []
    rows = np.sort(rng.choice(rows, min(ASKED, len(rows)), replace=False))
    told = known.take(rows)
    found = fit(learnt).top(told, size, candidates=among)
    speaks = told.positives(liked_from)
    pools = []
    for place, row in enumerate(rows):
        there = found.columns[place] >= 0
        pools.append(
            Pool(
                int(row),
                _row(speaks, place),
                found.columns[place][there],
                found.scores[place][there],
                _row(liked_hidden, int(row)),
            )
        )
    return pools


def _row(values: csr_array, row: int) -> NDArray[np.int64]:
    return np.asarray(values.indices[values.indptr[row] : values.indptr[row + 1]], dtype=np.int64)


class ListSampler:
    """Draws training lists; a list depends on the seed and its number alone, so training can go on anywhere.

    Each user counts the same. A list has one positive and negatives from among the very candidates that the ranker
    would be given, as surely as it meets them later; what the retriever does not find is never ranked.
    """

    def __init__(self, pools: Sequence[Pool], vectors: Floats, size: int, seed: int):
        """``vectors`` (m, d) of the items' texts; ``size``: of a list.

        Raises:
            InputError: the retriever finds nothing that anybody likes.
        """
        self._of_user: dict[int, list[Pool]] = {}
        for pool in pools:
            negatives = len(np.setdiff1d(pool.candidates, pool.positives))
            if 0 < negatives < len(pool.candidates):
                self._of_user.setdefault(pool.user, []).append(pool)
        if not self._of_user:
            raise InputError(
                "a ranker learns from what people like among the candidates, and the candidates found here have none"
            )
        self._users = sorted(self._of_user)
        self._vectors = vectors
        self._size = size
        self._seed = seed
        picked = [self._picked(self._rng(number)) for number in range(SAMPLED)]
        self.sharpness = self._fitted([standardise(pool.scores)[places] for pool, places in picked])

    @staticmethod
    def _fitted(scores: Sequence[Floats]) -> float:
        """c for which ``softmax(c z)``, z the retriever's scores with the positive first, is the likeliest."""

        def surprise(sharpness: float) -> float:
            return sum(float(logsumexp(sharpness * z) - sharpness * z[0]) for z in scores)

        return float(minimize_scalar(surprise, bounds=(0, SHARPEST), method="bounded").x)

    def draw(self, number: int) -> RankingList:
        """The list of this number."""
        rng = self._rng(number)
        pool, places = self._picked(rng)
        prior = self.sharpness * standardise(pool.scores)[places]
        return RankingList(self._history(pool, rng), tuple(pool.candidates[places].tolist()), tuple(prior.tolist()))

    def _rng(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, number])

    def _picked(self, rng: np.random.Generator) -> tuple[Pool, NDArray[np.int64]]:
        """A user's pool, and the places of the candidates in it that make the list, the positive one first."""
        pools = self._of_user[self._users[rng.integers(len(self._users))]]
        pool = pools[rng.integers(len(pools))]
        liked = np.isin(pool.candidates, pool.positives)
        positive = rng.choice(np.flatnonzero(liked))
        others = rng.permutation(np.flatnonzero(~liked))[: self._size - 1]
        return pool, np.concatenate([[positive], others])

    def _history(self, pool: Pool, rng: np.random.Generator) -> tuple[int, ...]:
        def told(sight: Sight, _: np.random.Generator) -> Sight:
            """What says most about the candidates, the most telling last."""
            return sight.take(telling(self._vectors[sight.columns], self._vectors[pool.candidates]))

        history = Compose((FORGETTING, told, SHORTENING))(Sight.of(pool.liked), rng)
        return tuple(history.columns.tolist())
