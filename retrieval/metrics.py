"""How good lists and scores are; every function works on all users of a batch at once.

A metric gives one number for each user, NaN where it says nothing about them (a user without a relevant item);
averages leave these out and count them. Lists are columns as in `retrieval.ranking.Top`, -1 beyond their end.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from retrieval.ranking import Columns, Floats

Figures = NDArray[np.float64]
RANKING_METRICS = ("ndcg", "recall", "precision", "f1", "hit-rate", "mrr", "map")


def find_hits(columns: Columns, relevant: csr_array) -> NDArray[np.bool_]:
    """(n, k) True where the listed item is relevant; ``relevant`` (n, m) has an entry for each such item."""
    users, items = relevant.shape
    owner = np.repeat(np.arange(users, dtype=np.int64), np.diff(relevant.indptr))
    known = np.sort(owner * items + relevant.indices)
    asked = np.arange(users, dtype=np.int64)[:, None] * items + columns
    if len(known) == 0:
        return np.zeros(columns.shape, dtype=np.bool_)
    found = known[np.searchsorted(known, asked).clip(max=len(known) - 1)] == asked
    return np.asarray(found & (columns >= 0))


def ranking_metrics(hits: NDArray[np.bool_], relevant: NDArray[np.int64], k: int) -> dict[str, Figures]:
    """NDCG, Recall, Precision, F1, HitRate, MRR and MAP of the first k places, (n,) each.

    hits: (n, k or another number of places) from `find_hits`. relevant: (n,) how many relevant items each user has;
    those with none get NaN. Gains are binary, the discount is ``1/log2(place + 1)``; the ideal list has
    ``min(k, relevant)`` hits.
    Precision divides by k, Recall and MAP by the number of relevant items (as in trec_eval), so lists that end early
    are not favoured. k may exceed the catalog: the missing places hold nothing.
    """
    hits = hits[:, :k]
    places = np.arange(1, hits.shape[1] + 1)
    with np.errstate(invalid="ignore"):
        total = np.where(relevant > 0, relevant, np.nan)
    found = hits.sum(axis=1) / np.where(relevant > 0, 1, np.nan)
    ideal = np.concatenate([[np.nan], np.cumsum(1 / np.log2(np.arange(2, k + 2)))])[np.minimum(relevant, k)]
    recall, precision = found / total, found / k
    first = np.where(hits.any(axis=1), 1 / (hits.argmax(axis=1) + 1), 0.0) if hits.size else np.zeros(len(hits))
    return {
        "ndcg": hits @ (1 / np.log2(places + 1)) / ideal,
        "recall": recall,
        "precision": precision,
        "f1": 2 * found / (k + total),
        "hit-rate": np.minimum(found, 1.0),
        "mrr": np.where(np.isnan(total), np.nan, first),
        "map": (hits * np.cumsum(hits, axis=1) / places).sum(axis=1) / total,
    }


def auc(scores: Floats, held_out: csr_array, liked: csr_array) -> Figures:
    """(n,) the share of pairs (liked, disliked) of held-out items in which the liked one scores higher; ties half.

    scores: one for each stored entry of ``held_out``, in its order. liked: the entries that count as liked. NaN for
    users without both. Averaged over users this is GAUC (Zhou et al. 2018).
    """
    users = held_out.shape[0]
    owner = np.repeat(np.arange(users, dtype=np.int64), np.diff(held_out.indptr))
    positive = is_liked(held_out, liked)
    ranks = _ranks_within(owner, scores.astype(np.float64))
    positives = np.bincount(owner, positive, minlength=users)
    negatives = np.bincount(owner, ~positive, minlength=users)
    above = np.bincount(owner, ranks * positive, minlength=users) - positives * (positives + 1) / 2
    pairs = positives * negatives
    return _divide(above, pairs)


def is_liked(held_out: csr_array, liked: csr_array) -> NDArray[np.bool_]:
    """For each stored entry of ``held_out``, whether ``liked`` has it too."""
    users, items = held_out.shape
    owner = np.repeat(np.arange(users, dtype=np.int64), np.diff(held_out.indptr))
    known = np.repeat(np.arange(users, dtype=np.int64), np.diff(liked.indptr)) * items + liked.indices
    return np.isin(owner * items + held_out.indices, known)


def _ranks_within(owner: NDArray[np.int64], values: Figures) -> Figures:
    """The rank of each value among those of its owner, from 1, lowest first; equal values share their mean rank."""
    if len(values) == 0:
        return np.zeros(0)
    by = np.lexsort((values, owner))
    owners, ordered = owner[by], values[by]
    starts = np.flatnonzero(np.concatenate([[True], owners[1:] != owners[:-1]]))
    place = np.arange(len(by)) - np.repeat(starts, np.diff([*starts, len(by)])) + 1
    new = np.concatenate([[True], (owners[1:] != owners[:-1]) | (ordered[1:] != ordered[:-1])])
    group = np.cumsum(new) - 1
    shared = np.bincount(group, place) / np.bincount(group)
    ranks = np.empty(len(by))
    ranks[by] = shared[group]
    return ranks


def accuracy_threshold(scores: Floats, liked: NDArray[np.bool_]) -> float:
    """The score from which "liked" is the best guess: it gives the most right answers on these entries."""
    order = np.argsort(-scores, kind="stable")
    ordered, right = scores[order], np.cumsum(np.where(liked[order], 1, -1))
    ends = np.concatenate([ordered[1:] != ordered[:-1], [True]])  # equal scores are on one side
    best = np.argmax(np.where(ends, right, -len(right) - 1))
    return float(ordered[best]) if right[best] > 0 else float("inf")


def coverage(columns: Columns, items: int) -> float:
    """The share of ``items`` that stand in at least one list."""
    return len(np.unique(columns[columns >= 0])) / items


def gini(columns: Columns, items: int) -> float:
    """How unequally the places of all lists fall on ``items``: 0 each as often, ``1 - 1/items`` all on one."""
    counts = np.sort(np.bincount(columns[columns >= 0], minlength=items)).astype(np.float64)
    if counts.sum() == 0:
        return float("nan")
    weights = 2 * np.arange(1, items + 1) - items - 1
    return float(weights @ counts / (items * counts.sum()))


def novelty(columns: Columns, popularity: NDArray[np.int64], users: int) -> Figures:
    """(n,) mean self-information of the list, ``-log2((c_i + 1) / (users + 1))`` bits (Zhou et al. 2010).

    popularity: (m,) how many of the ``users`` in training had each item; one is added for items that nobody had.
    """
    information = -np.log2((popularity + 1) / (users + 1))
    return _mean_over_list(columns, information)


def popularity_percentile(columns: Columns, popularity: NDArray[np.int64]) -> Figures:
    """(n,) mean percentile of the listed items' popularity in the catalog, 0 to 1; equal ones share theirs."""
    ranks = _ranks_within(np.zeros(len(popularity), dtype=np.int64), popularity.astype(np.float64))
    return _mean_over_list(columns, (ranks - 1) / max(1, len(popularity) - 1))


def intra_list_diversity(columns: Columns, vectors: Floats) -> Figures:
    """(n,) mean of ``1 - cosine`` over the pairs of a list (Ziegler et al. 2005); NaN for fewer than two items.

    vectors: (m, d) of length 1, the items' text.
    """
    listed = columns >= 0
    length = listed.sum(axis=1)
    sums = np.zeros((len(columns), vectors.shape[1]))
    for place in range(columns.shape[1]):
        sums += np.where(listed[:, [place]], vectors[columns[:, place]], 0.0)
    pairs = length * (length - 1.0)
    # |sum of unit vectors|² = length + sum of the cosines of all ordered pairs
    cosines = (sums**2).sum(axis=1) - length
    return 1 - _divide(cosines, pairs)


def miscalibration(columns: Columns, histories: csr_array, genres: csr_array, smoothing: float = 0.01) -> Figures:
    """(n,) KL divergence in nats of the list's mix of genres from the history's (Steck 2018, equation 6).

    genres: (m, g) a distribution over genres for each item, empty for items without. NaN where a history or a list
    has no genre. 0 means that the list has the history's mix; the list's mix is smoothed with 1 % of the history's.
    """
    rows = np.repeat(np.arange(len(columns)), columns.shape[1])[columns.ravel() >= 0]
    listed = csr_array(
        (np.ones(len(rows)), (rows, columns[columns >= 0])), shape=(len(columns), genres.shape[0]), dtype=np.float64
    )
    had = csr_array((np.ones_like(histories.data), histories.indices, histories.indptr), shape=histories.shape)
    wanted, given = (np.asarray((part @ genres).toarray(), dtype=np.float64) for part in (had, listed))
    sums = [part.sum(axis=1, keepdims=True) for part in (wanted, given)]
    known = ((sums[0] > 0) & (sums[1] > 0)).ravel()
    p, q = (
        np.divide(part, total, out=np.zeros_like(part), where=total > 0)
        for part, total in zip((wanted, given), sums, strict=True)
    )
    q = (1 - smoothing) * q + smoothing * p
    terms = np.where(p > 0, p * np.log(np.divide(p, q, out=np.ones_like(p), where=p > 0)), 0.0)
    return np.where(known, terms.sum(axis=1), np.nan)


def _mean_over_list(columns: Columns, of_item: Figures) -> Figures:
    """(n,) the mean of a number of the listed items; NaN for an empty list."""
    listed = columns >= 0
    length = listed.sum(axis=1)
    total = np.where(listed, of_item[columns], 0.0).sum(axis=1)
    return _divide(total, length)


def _divide(numbers: Figures, by: NDArray[Any]) -> Figures:
    """``numbers / by``, NaN where ``by`` is 0."""
    return np.asarray(np.divide(numbers, by, out=np.full(len(numbers), np.nan), where=by > 0))
