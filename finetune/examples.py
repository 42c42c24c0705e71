"""What a ranker learns from: lists of candidates like those it will be asked about, made of training events alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from retrieval.cf.scorer import System
from retrieval.data.histories import Histories
from retrieval.errors import InputError
from retrieval.ranking import Columns, Floats
from retrieval.text.profile import TOLD, telling

COLD_FROM = 5  # events that an item needs to be treated as unseen
FOLDS = 5
HIDDEN = 0.2  # of a user's events, where warm items are to be found
POOL = 100  # candidates of a user
SHOWN = 40  # of them are looked at when the history is chosen, as many as are ranked later
SKIPPED = 5  # best candidates that no hard negative comes from: what a person did not choose there, they may yet like
HARD = 0.75  # of the negatives are candidates of the retriever
POPULAR = 0.5  # of the lists draw their other negatives by popularity
SHORTENED, SHORTEST = 0.5, 3  # share of the histories that are cut, and to how many items at least
FORGOTTEN = 0.1  # of a history, by chance

Fit = Callable[[Histories], System]


@dataclass(frozen=True)
class Pool:
    """What one user could be shown, in one of the worlds in which some events are treated as unseen.

    liked: columns of the history that speak for an item. candidates: (c,) columns that the retriever found, best first.
    scores: (c,) its scores. positives: hidden columns that the user liked. others: columns that could be shown at all,
    the same array for all pools of a world.
    """

    user: int
    liked: NDArray[np.int64]
    candidates: Columns
    scores: Floats
    positives: NDArray[np.int64]
    others: NDArray[np.int64]


@dataclass(frozen=True)
class RankingList:
    """One training list: columns of the history, the most telling last; of the candidates, the positive one first."""

    history: tuple[int, ...]
    candidates: tuple[int, ...]


def cold_pools(train: Histories, liked_from: float, fit: Fit, seed: int, folds: int = FOLDS) -> list[Pool]:
    """Worlds in which a share of the items has no event: each item with five events or more is cold in one of them.

    ``fit`` makes the retriever from the events that are left; candidates are the cold items alone.

    Raises:
        InputError: fewer items than folds have five events.
    """
    counts = np.bincount(train.values.indices, minlength=train.values.shape[1])
    known = np.flatnonzero(counts >= COLD_FROM)
    if len(known) < folds:
        raise InputError(f"a ranker learns from items with {COLD_FROM} events or more, and these events have none")
    drawn = np.random.default_rng(seed).permutation(known)
    pools: list[Pool] = []
    for cold in np.array_split(drawn, folds):
        unseen = np.zeros(train.values.shape[1], dtype=np.bool_)
        unseen[cold] = True
        hidden = unseen[train.values.indices]
        pools += _world(train, hidden, fit, liked_from, None, unseen)
    return pools


def warm_pools(train: Histories, liked_from: float, fit: Fit, seed: int, folds: int = FOLDS) -> list[Pool]:
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
            pools += _world(train, draws & asked[rows], fit, liked_from, asked, None)
    return pools


def _world(
    train: Histories,
    hidden: NDArray[np.bool_],
    fit: Fit,
    liked_from: float,
    asked: NDArray[np.bool_] | None,
    among: NDArray[np.bool_] | None,
) -> list[Pool]:
    """Pools of the users who like something hidden; ``asked`` (n,) are not learnt from, ``among`` (m,) is to be found.

    ``hidden`` marks stored events.
    """
    known = Histories(train.users, train.items, _kept(train.values, ~hidden))
    liked_hidden = _kept(train.values, hidden & (train.values.data >= liked_from))
    learnt = known if asked is None else known.take(np.flatnonzero(~asked))
    rows = np.flatnonzero((np.diff(liked_hidden.indptr) > 0) & (known.counts > 0))
    if len(rows) == 0:
        return []
    told = known.take(rows)
    found = fit(learnt).top(told, POOL, candidates=among)
    speaks = told.positives(liked_from)
    others = np.flatnonzero(
        np.bincount(train.values.indices, minlength=train.values.shape[1]) if among is None else among
    )
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
                others,
            )
        )
    return pools


def _kept(values: csr_array, keep: NDArray[np.bool_]) -> csr_array:
    """The entries to keep, with their values."""
    before = np.concatenate([[0], np.cumsum(keep)])
    return csr_array((values.data[keep], values.indices[keep], before[values.indptr]), shape=values.shape)


def _row(values: csr_array, row: int) -> NDArray[np.int64]:
    return np.asarray(values.indices[values.indptr[row] : values.indptr[row + 1]], dtype=np.int64)


class ListSampler:
    """Draws training lists; a list depends on the seed and its number alone, so training can go on anywhere.

    Each user counts the same. Of the negatives most come from the retriever's candidates, some are popular and some are
    drawn from all: what the ranker is asked to order later are candidates of this very retriever.
    """

    def __init__(self, pools: Sequence[Pool], popularity: NDArray[np.int64], vectors: Floats, size: int, seed: int):
        """``popularity``: (m,) events in training; ``vectors`` (m, d) of the items' texts; ``size``: of a list.

        Raises:
            InputError: nobody likes anything that could be hidden.
        """
        if not pools:
            raise InputError("a ranker learns from what people like, and nobody here likes enough to hide some of it")
        self._of_user: dict[int, list[Pool]] = {}
        for pool in pools:
            self._of_user.setdefault(pool.user, []).append(pool)
        self._users = sorted(self._of_user)
        self._popularity = popularity
        self._vectors = vectors
        self._size = size
        self._seed = seed

    def draw(self, number: int) -> RankingList:
        """The list of this number."""
        rng = np.random.default_rng([self._seed, number])
        pools = self._of_user[self._users[rng.integers(len(self._users))]]
        pool = pools[rng.integers(len(pools))]
        within = np.intersect1d(pool.positives, pool.candidates)
        positive = int(rng.choice(within if len(within) else pool.positives))
        negatives = self._negatives(pool, rng)
        return RankingList(self._history(pool, rng), (positive, *negatives))

    def _negatives(self, pool: Pool, rng: np.random.Generator) -> list[int]:
        wanted = self._size - 1
        no = {*pool.positives.tolist(), *pool.liked.tolist()}
        hard = [column for column in pool.candidates[SKIPPED:].tolist() if column not in no]
        chosen = rng.permutation(hard)[: round(HARD * wanted)].tolist()
        others = np.array([column for column in pool.others.tolist() if column not in no and column not in chosen])
        if len(others) and len(chosen) < wanted:
            popular = rng.random() < POPULAR
            weights = 1.0 + (self._popularity[others] if popular else np.zeros(len(others)))
            size = min(wanted - len(chosen), len(others))
            chosen += rng.choice(others, size, replace=False, p=weights / weights.sum()).tolist()
        return [int(column) for column in chosen]

    def _history(self, pool: Pool, rng: np.random.Generator) -> tuple[int, ...]:
        kept = pool.liked[rng.random(len(pool.liked)) >= FORGOTTEN]
        kept = kept if len(kept) else pool.liked
        most = int(rng.integers(SHORTEST, TOLD + 1)) if rng.random() < SHORTENED else TOLD
        rows = telling(self._vectors[kept], self._vectors[pool.candidates[:SHOWN]], most)
        return tuple(kept[rows].tolist())
