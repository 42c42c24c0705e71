"""Metrics are those of libraries that others trust: ranx for lists, scikit-learn for AUC, scipy for KL."""

import numba
import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import entropy
from sklearn.metrics import roc_auc_score

from retrieval.metrics import (
    RANKING_METRICS,
    accuracy_threshold,
    auc,
    find_hits,
    gini,
    miscalibration,
    ranking_metrics,
)

USERS, ITEMS, LONGEST = 400, 60, 20
NAMES = dict(zip(RANKING_METRICS, ("ndcg", "recall", "precision", "f1", "hit_rate", "mrr", "map"), strict=True))


@pytest.fixture(scope="module")
def world():
    """Lists of 0 to 20 of 60 items; 0 to 30 relevant items a user, so that some have more than k."""
    rng = np.random.default_rng(7)
    columns = np.full((USERS, LONGEST), -1)
    relevant = np.zeros((USERS, ITEMS))
    for user, (length, count) in enumerate(zip(rng.integers(0, 21, USERS), rng.integers(0, 31, USERS), strict=True)):
        columns[user, :length] = rng.permutation(ITEMS)[:length]
        relevant[user, rng.permutation(ITEMS)[:count]] = 1
    return columns, csr_array(relevant)


@pytest.fixture(scope="module")
def library(world):
    """ranx's figures for each user, {"ndcg@5": (n,), …}, of its own code run as plain Python.

    Compiling it would take 40 seconds on a machine that has not done so yet.
    """
    columns, relevant = world
    judged = {f"{user:03d}": {str(item): int(relevant[user, item]) for item in range(ITEMS)} for user in range(USERS)}
    listed = {
        f"{user:03d}": {str(item): -float(place) for place, item in enumerate(row) if item >= 0}
        for user, row in enumerate(columns.tolist())
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba.config, "DISABLE_JIT", True)
        from ranx import Qrels, Run, evaluate

        wanted = [f"{name}@{k}" for name in NAMES.values() for k in (5, 10, 20, 50)]
        return evaluate(Qrels(judged), Run(listed), wanted, return_mean=False)


def test_the_world_has_every_kind_of_user(world):
    columns, relevant = world
    lengths, counts = (columns >= 0).sum(axis=1), np.diff(relevant.indptr)
    assert {0, 1, LONGEST} <= set(lengths.tolist())
    assert {0, 1, 30} <= set(counts.tolist())
    assert (counts > 20).sum() > 50
    assert (lengths < 5).sum() > 50


@pytest.mark.parametrize("k", [5, 10, 20, 50])
@pytest.mark.parametrize("name", RANKING_METRICS)
def test_ranking_metrics_are_those_of_ranx(world, library, name, k):
    columns, relevant = world
    counts = np.diff(relevant.indptr)
    found = ranking_metrics(find_hits(columns, relevant), counts, k)[name]
    expected = library[f"{NAMES[name]}@{k}"]
    np.testing.assert_allclose(found[counts > 0], expected[counts > 0], rtol=0, atol=1e-9)
    assert 0 < expected[counts > 0].mean() < 1


@pytest.mark.parametrize("name", RANKING_METRICS)
def test_users_without_relevant_items_are_left_out_where_ranx_counts_them_as_0(world, library, name):
    columns, relevant = world
    counts = np.diff(relevant.indptr)
    found = ranking_metrics(find_hits(columns, relevant), counts, 10)[name]
    assert np.isnan(found[counts == 0]).all()
    assert (library[f"{NAMES[name]}@10"][counts == 0] == 0).all()
    assert (counts == 0).sum() > 3


@pytest.mark.parametrize("distinct", [3, 20, 10**6])
def test_auc_is_that_of_scikit_learn(distinct):
    rng = np.random.default_rng(distinct)
    held_out = csr_array((rng.random((USERS, ITEMS)) < 0.2).astype(float))
    scores = (rng.integers(0, distinct, held_out.nnz) / distinct).astype(np.float32)
    is_liked = rng.random(held_out.nnz) < 0.5
    owner = np.repeat(np.arange(USERS), np.diff(held_out.indptr))
    liked = csr_array((np.ones(is_liked.sum()), (owner[is_liked], held_out.indices[is_liked])), shape=(USERS, ITEMS))
    found = auc(scores, held_out, liked)
    known = np.flatnonzero(~np.isnan(found))
    both = [user for user in range(USERS) if len(set(is_liked[owner == user])) == 2]
    assert known.tolist() == both
    expected = [roc_auc_score(is_liked[owner == user], scores[owner == user]) for user in both]
    np.testing.assert_allclose(found[known], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", range(40))
def test_no_threshold_gives_more_right_answers(seed):
    rng = np.random.default_rng(seed)
    count = rng.integers(1, 30)
    scores = (rng.integers(0, rng.integers(1, 20) + 1, count) / 7).astype(np.float32)
    liked = rng.random(count) < rng.random()
    right = [((scores >= threshold) == liked).sum() for threshold in (*scores, np.inf)]
    assert ((scores >= accuracy_threshold(scores, liked)) == liked).sum() == max(right)


@pytest.mark.parametrize("smoothing", [0.01, 0.3])
def test_miscalibration_is_the_relative_entropy_of_scipy(smoothing):
    rng = np.random.default_rng(11)
    shares = rng.dirichlet(np.full(7, 0.3), ITEMS) * (rng.random((ITEMS, 1)) < 0.9)
    shares[rng.random(shares.shape) < 0.3] = 0
    genres = np.divide(shares, shares.sum(1, keepdims=True), out=np.zeros_like(shares), where=shares.any(1)[:, None])
    histories = (rng.random((USERS, ITEMS)) < 0.1) * rng.integers(1, 6, (USERS, ITEMS))
    columns = np.array([rng.permutation(ITEMS)[:5] for _ in range(USERS)])
    columns[rng.random(columns.shape) < 0.2] = -1
    found = miscalibration(columns, csr_array(histories.astype(np.float32)), csr_array(genres), smoothing)
    for user, listed in enumerate(columns):
        p, q = genres[histories[user] > 0].sum(axis=0), genres[listed[listed >= 0]].sum(axis=0)
        if p.sum() == 0 or q.sum() == 0:
            assert np.isnan(found[user])
        else:
            smoothed = (1 - smoothing) * q / q.sum() + smoothing * p / p.sum()
            assert found[user] == pytest.approx(entropy(p, smoothed), rel=0, abs=1e-9)
    assert 300 < np.isfinite(found).sum() < USERS


@pytest.mark.parametrize("items", [1, 2, 7, 60])
def test_gini_is_the_mean_difference_of_all_pairs(items):
    columns = np.random.default_rng(items).integers(-1, max(1, items // 2), (25, 4))
    counts = [int((columns == item).sum()) for item in range(items)]
    differences = sum(abs(one - other) for one in counts for other in counts)
    assert gini(columns, items) == pytest.approx(differences / (2 * items * sum(counts)), rel=0, abs=1e-12)
