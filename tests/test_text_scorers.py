"""Scorers of text alone, parameters, and the files of scorers."""

import dataclasses
import json

import numpy as np
import pytest
from scorer_worlds import fitted, random_histories, some_histories

from retrieval.cf.config import Range
from retrieval.cf.ease import EaseConfig
from retrieval.cf.item_knn import ItemKnnConfig
from retrieval.cf.scorer import TrainingData
from retrieval.cf.scorers import SCORERS, load_scorer, save_scorer
from retrieval.data.events import History
from retrieval.data.histories import Histories
from retrieval.errors import InputError, ModelError
from retrieval.text.profile import interest_in
from retrieval.text.scorers import BLOCK, Cosine, CosineConfig, SoftKnn, SoftKnnConfig
from retrieval.text.spread import Spread

every_scorer = pytest.mark.parametrize("name", SCORERS)


def unit_vectors(items, common=0.0, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(items, 16)) + common
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def liked_rows(histories, positive_from):
    positives = histories.positives(positive_from)
    return np.split(positives.indices, positives.indptr[1:-1])


@pytest.mark.parametrize("positive_from", [None, 4.0])
def test_cosine_is_that_to_the_mean_of_the_history(positive_from):
    histories, vectors = random_histories(30, 50, seed=6), unit_vectors(50)
    found = Cosine.fit(TrainingData(histories, vectors), CosineConfig(positive_from)).score(histories)
    for row, liked in zip(found, liked_rows(histories, positive_from), strict=True):
        mean = vectors[liked].mean(axis=0)
        np.testing.assert_allclose(row, vectors @ (mean / np.linalg.norm(mean)), atol=1e-5)


@pytest.mark.parametrize(("sharpness", "common"), [(2.0, 0.0), (20.0, 0.0), (60.0, 1.0)])
@pytest.mark.parametrize("each", [1, 30])
def test_soft_knn_is_the_score_of_an_interest(sharpness, common, each):
    histories = random_histories(20, BLOCK + 300, seed=7, each=each)
    vectors = unit_vectors(BLOCK + 300, common)
    config = SoftKnnConfig(4.0, sharpness=sharpness)
    found = SoftKnn.fit(TrainingData(histories, vectors), config).score(histories)
    every = histories.values
    for row, liked, start, end in zip(
        found, liked_rows(histories, 4.0), every.indptr[:-1], every.indptr[1:], strict=True
    ):
        had = every.indices[start:end]
        lean = config.direction(Spread.of_catalog(vectors), vectors[had], np.isin(had, liked))
        assert lean is not None
        np.testing.assert_allclose(row, interest_in(vectors[liked], sharpness, lean).score(vectors), atol=1e-5)


def test_the_sharpest_soft_knn_scores_what_is_opposite_to_the_history():
    vectors = np.array([[1, 0], [-1, 0], [0.6, 0.8]], dtype=np.float32)
    scorer = SoftKnn.fit(TrainingData(Histories.of([], "abc"), vectors), SoftKnnConfig(sharpness=60.0))
    near, opposite, between = scorer.score(Histories.of([History(("a",), (1.0,))], "abc"))[0]
    assert (near, between) == pytest.approx((1, 0.6), abs=1e-5)
    assert -1 <= opposite < 0


@pytest.mark.parametrize("name", ["cosine", "soft-knn"])
def test_an_empty_history_says_nothing_about_texts(name):
    assert not fitted(name).score(some_histories())[-1].any()


@pytest.mark.parametrize("kind", [Cosine, SoftKnn])
def test_text_scorers_need_the_texts(kind):
    with pytest.raises(InputError, match=rf"{kind.name} reads the items' text.*whyrec index"):
        kind.fit(TrainingData(some_histories()), kind.config_type())


@every_scorer
def test_parameters_survive_json(name):
    kind = SCORERS[name].config_type
    for config in (kind(), kind(positive_from=3.5)):
        assert kind.from_json(json.loads(json.dumps(config.to_json()))) == config


@every_scorer
def test_an_unknown_parameter_is_named(name):
    kind = SCORERS[name].config_type
    with pytest.raises(InputError, match=f"{kind.__name__} has no parameter 'colour'"):
        kind.from_json({"positive_from": 3.0, "colour": 1})


@every_scorer
def test_no_searched_parameter_may_be_negative_or_nan(name):
    kind = SCORERS[name].config_type
    for parameter in kind.ranges():
        for value in (-1, float("nan")):
            with pytest.raises(InputError, match=f"{parameter} must be at least 0, not {value}"):
                kind.from_json({parameter: value})


@every_scorer
def test_the_default_lies_in_the_range_that_is_searched(name):
    kind = SCORERS[name].config_type
    for parameter, found in kind.ranges().items():
        assert found.low <= getattr(kind(), parameter) <= found.high
        assert found.low > 0 or not found.log


def test_ranges_are_those_of_the_fields():
    assert EaseConfig.ranges() == {"strength": Range(1, 10_000, log=True)}
    assert CosineConfig.ranges() == {}


def test_parameters_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ItemKnnConfig().shrink = 3


@every_scorer
def test_files_are_named_after_the_scorer(name, tmp_path):
    save_scorer(fitted(name), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{name}.json", f"{name}.safetensors"]


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "other"])
def test_missing_and_damaged_files_are_named(suffix, damage, tmp_path):
    save_scorer(fitted("ease"), tmp_path)
    path = tmp_path / f"ease{suffix}"
    content = {"empty": b"", "cut": path.read_bytes()[:-9], "other": b"\xff\x00 something else"}
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[damage])
    with pytest.raises(ModelError, match=r"the scorer ease in .* cannot be read"):
        load_scorer("ease", tmp_path)


@pytest.mark.parametrize(
    "description",
    [
        {"name": "oracle", "items": 24, "parameters": {}},
        {"name": "ease", "parameters": {}},
        {"name": "ease", "items": 24, "parameters": {"colour": 1}},
        {"name": "ease", "items": 24, "parameters": {"strength": -1}},
        {"name": "ease", "items": 24, "parameters": {"strength": "high"}},
        {"name": "ease", "items": 24, "parameters": None},
        ["ease", 24],
        {"name": "item-knn", "items": 24, "parameters": {}},
    ],
    ids=["scorer", "items", "parameter", "negative", "text", "none", "list", "arrays of another"],
)
def test_a_description_that_cannot_be_used_is_a_damaged_file(description, tmp_path):
    save_scorer(fitted("ease"), tmp_path)
    (tmp_path / "ease.json").write_text(json.dumps(description), encoding="utf-8")
    with pytest.raises(ModelError, match=r"the scorer ease in .* cannot be read"):
        load_scorer("ease", tmp_path)
