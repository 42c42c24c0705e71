"""Constants of fusions are found on validation, and a fusion serves only where its gain is proven."""

import numpy as np
import polars as pl
import pytest
from evaluation_world import events, make_world, quickly, study_of

from agent.evaluation.fusing import FUSED, find_fusions, proven
from agent.evaluation.tuning import tuned
from retrieval.cf.fused import SINGLE, STRATEGIES
from retrieval.errors import WhyrecError
from retrieval.significance import reality_check


@pytest.fixture(autouse=True, scope="module")
def _quick():
    with quickly():
        yield


def test_fusions_have_valid_constants_and_the_best_is_the_best(tmp_path):
    study = study_of(make_world(tmp_path / "world"))
    winners = [tuned(study, name, 1) for name in FUSED]
    steps = []
    found = find_fusions(study, winners, lambda: steps.append(1))
    assert len(steps) == len(FUSED) + 2 + len(STRATEGIES)
    assert set(found.values) == set(found.strategies) == {SINGLE, *STRATEGIES}
    assert all(0 <= value <= 1 for value in (*found.values.values(), *found.singles.values()))
    assert found.best == SINGLE or found.values[found.best] == max(found.values[name] for name in STRATEGIES)
    weights = found.strategies["weighted"].weights
    assert min(weights) >= 0
    assert sum(weights) == pytest.approx(1, abs=1e-3)
    assert all(weight == 0 or weight >= 0.05 for weight in weights)
    cascade = found.strategies["cascade"]
    assert set(cascade.pair) <= set(FUSED)
    assert 10 <= cascade.cut <= 100
    assert found.singles == pytest.approx({winner.scorer: winner.value for winner in winners})
    assert found.likes.fusion.scorers == ("soft-knn", "tower", "text-ease")
    assert 0 <= found.likes.by_text <= 1


@pytest.mark.parametrize(("people", "serves"), [(46, "soft-knn"), (54, "item-knn")])
def test_the_text_serves_where_no_other_scorer_is_proven_better(tmp_path, people, serves):
    """The best of eight on few people is the best by chance."""
    few = events().filter(pl.col("user_id").is_in([f"user-{n:02}" for n in range(people)]))
    study = study_of(make_world(tmp_path / "few", few), "temporal", relevant="any")
    found = find_fusions(study, [tuned(study, name, 1) for name in FUSED])
    assert found.singles["item-knn"] == max(found.singles.values())
    assert found.singles["soft-knn"] < 0.8 * found.singles["item-knn"]
    assert found.strategies[SINGLE].used == (serves,)


@pytest.mark.parametrize("people", [1, 3])
def test_few_people_are_enough_or_refused_in_one_sentence(tmp_path, people):
    few = events().filter(pl.col("user_id").is_in([f"user-{n:02}" for n in range(people)]))
    study = study_of(make_world(tmp_path / "few", few), "leave-last", relevant="any")
    try:
        found = find_fusions(study, [tuned(study, name, 1) for name in FUSED])
    except WhyrecError as error:
        refused, values = "--split" in str(error), []
    else:
        refused, values = False, list(found.values.values())
    assert refused or np.isfinite(values).all()
    assert refused or len(values) == 1 + len(STRATEGIES)


@pytest.mark.parametrize(("gains", "best"), [([0.2, 0.1, 0.3, 0.2] * 5, "rrf"), ([0.9, -0.3, -0.2, -0.2] * 5, SINGLE)])
def test_a_fusion_serves_only_where_its_gain_over_the_best_scorer_is_proven(gains, best):
    alone = np.full(20, 0.4)
    figures = dict.fromkeys((SINGLE, *STRATEGIES), alone) | {"rrf": alone + np.array(gains)}
    assert proven(figures, seed=0) == best


def test_the_best_of_several_fusions_has_more_to_prove_than_one_alone():
    rng = np.random.default_rng(0)
    alone, noise = np.full(100, 0.4), rng.normal(0, 0.1, (100, len(STRATEGIES)))
    noise -= noise.mean(axis=0)
    figures = {SINGLE: alone} | {name: alone + noise[:, place] for place, name in enumerate(STRATEGIES)}
    figures["rrf"] = figures["rrf"] + 0.021
    assert reality_check((figures["rrf"] - alone)[:, None], seed=0) < 0.05
    assert proven(figures, seed=0) == SINGLE
