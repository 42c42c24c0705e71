"""Put the scores of several scorers together: the strategies, on candidate lists.

All take ``scores`` (s, …, c): what each of s scorers gives the c candidates of a list, and ``present`` (…, c): where
there is a candidate at all. They give (…, c) float32, ``-inf`` where there is none.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.ranking import Floats

Present = NDArray[np.bool_]
RRF_CONSTANT = 60  # Cormack et al. 2009, section 2


def standardise(scores: NDArray[Any], present: Present | None = None) -> Floats:
    """z-scores over each list (the last axis): mean 0, standard deviation 1; all 0 where the scores do not differ."""
    values = np.asarray(scores, dtype=np.float64)
    there = np.broadcast_to(np.ones(values.shape[-1:], dtype=np.bool_) if present is None else present, values.shape)
    if values.size == 0:
        return values.astype(np.float32)
    filled = np.where(there, values, 0.0)
    count = np.maximum(there.sum(axis=-1, keepdims=True), 1)
    centred = np.where(there, filled - filled.sum(axis=-1, keepdims=True) / count, 0.0)
    spread = np.sqrt((centred**2).sum(axis=-1, keepdims=True) / count)
    # Spread that rounding alone can make is none.
    differs = spread > np.finfo(np.float32).eps * np.abs(filled).max(axis=-1, keepdims=True)
    return np.asarray(np.divide(centred, spread, out=np.zeros_like(centred), where=differs), dtype=np.float32)


def weighted(scores: NDArray[Any], weights: Sequence[float], present: Present | None = None) -> Floats:
    """``Σ_s w_s z(s)``, a convex combination; weights are at least 0 and are scaled to a sum of 1.

    A weight of 1 beside zeros keeps that scorer's order.
    """
    if len(scores) != len(weights):
        raise ValueError(f"{len(weights)} weights for the scores of {len(scores)}")
    given = np.asarray(weights, dtype=np.float64)
    if not np.isfinite(given).all() or (given < 0).any() or not (given > 0).any():
        raise ValueError(f"weights must be finite, at least 0 and not all 0: {tuple(weights)}")
    share = given / given.max()
    share = (share / share.sum()).astype(np.float32)
    return _only(np.tensordot(share, standardise(scores, present), axes=1), present)


def borda(scores: NDArray[Any], present: Present | None = None) -> Floats:
    """Votes by rank: for each scorer, the number of candidates below; ties count half (Aslam & Montague 2001)."""
    there = np.ones(np.shape(scores)[1:], dtype=np.bool_) if present is None else present
    return _only((there.sum(axis=-1, keepdims=True) - ranks(scores, present)).sum(axis=0), present)


def rrf(scores: NDArray[Any], present: Present | None = None) -> Floats:
    """Reciprocal rank fusion, ``Σ_s 1 / (60 + rank_s)`` (Cormack et al. 2009, equation 1)."""
    return _only((1 / (RRF_CONSTANT + ranks(scores, present))).sum(axis=0), present)


def cascade(cheap: NDArray[Any], dear: NDArray[Any], cut: int, present: Present | None = None) -> Floats:
    """``dear`` orders what ``cheap`` (both (…, c)) ranks among its first ``cut``; the others follow in its own order.

    What ties with the last place is kept, too. The scores are minus the places in the list that comes of it.
    """
    there = np.ones(np.shape(cheap), dtype=np.bool_) if present is None else present
    by_cheap = ranks(cheap, there)
    kept = there & (ranks(cheap, there, lowest=True) <= cut)
    return _only(-np.where(kept, ranks(dear, kept), by_cheap), there)


def ranks(scores: NDArray[Any], present: Present | None = None, *, lowest: bool = False) -> NDArray[np.float64]:
    """The rank of each candidate in its list, 1 is the best; equal scores share their mean rank, or the lowest."""
    from scipy.stats import rankdata  # takes most of a second to import, and not every fusion needs ranks

    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0:
        return values
    if present is not None:
        values = np.where(present, values, -np.inf)
    return np.asarray(rankdata(-values, axis=-1, method="min" if lowest else "average"), dtype=np.float64)


def _only(fused: NDArray[Any], present: Present | None) -> Floats:
    values = np.asarray(fused, dtype=np.float32)
    return values if present is None else np.where(present, values, np.float32(-np.inf))
