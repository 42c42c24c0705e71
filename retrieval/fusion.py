"""Put the scores of several scorers together: the strategies, on candidate lists.

All take ``scores`` (s, …, c): what each of s scorers gives the c candidates of a list, and ``present`` (…, c): where
there is a candidate at all. They give (…, c) float32, ``-inf`` where there is none or where a strategy drops it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

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
    if min(weights) < 0 or sum(weights) <= 0:
        raise ValueError(f"weights must be at least 0 and not all 0: {tuple(weights)}")
    share = np.asarray(weights, dtype=np.float32) / np.float32(sum(weights))
    return _only(np.tensordot(share, standardise(scores, present), axes=1), present)


def borda(scores: NDArray[Any], present: Present | None = None) -> Floats:
    """Votes by rank: for each scorer, the number of candidates below; ties count half (Aslam & Montague 2001)."""
    return _only((-ranks(scores, present)).sum(axis=0), present)


def rrf(scores: NDArray[Any], present: Present | None = None) -> Floats:
    """Reciprocal rank fusion, ``Σ_s 1 / (60 + rank_s)`` (Cormack et al. 2009, equation 1)."""
    return _only((1 / (RRF_CONSTANT + ranks(scores, present))).sum(axis=0), present)


def cascade(cheap: NDArray[Any], dear: NDArray[Any], cut: int, present: Present | None = None) -> Floats:
    """``dear`` orders what ``cheap`` (both (…, c)) ranks among its first ``cut``; the others are dropped."""
    kept = ranks(cheap, present) <= cut
    if present is not None:
        kept &= present
    return np.where(kept, np.asarray(dear, dtype=np.float32), np.float32(-np.inf))


def ranks(scores: NDArray[Any], present: Present | None = None) -> NDArray[np.float64]:
    """The rank of each candidate in its list, 1 is the best; equal scores share their mean rank."""
    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0:
        return values
    if present is not None:
        values = np.where(present, values, -np.inf)
    return np.asarray(rankdata(-values, axis=-1))


def _only(fused: NDArray[Any], present: Present | None) -> Floats:
    values = np.asarray(fused, dtype=np.float32)
    return values if present is None else np.where(present, values, np.float32(-np.inf))
