"""How far texts spread, and where someone leans by it."""

import numpy as np
import pytest

from retrieval.errors import ModelError
from retrieval.text.scorers import SoftKnnConfig
from retrieval.text.spread import FEWEST, MOST, Spread


def texts(items=FEWEST, dimension=12, seed=0):
    """Vectors of length 1 that spread further in the first dimensions."""
    vectors = np.random.default_rng(seed).normal(size=(items, dimension)) / np.arange(1, dimension + 1)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_moments_are_those_of_the_texts_along_directions_of_length_1():
    vectors = texts()
    spread = Spread.fit(vectors)
    np.testing.assert_allclose(spread.directions.T @ spread.directions, np.eye(12), atol=1e-5)
    np.testing.assert_allclose(np.square(vectors @ spread.directions).mean(axis=0), spread.moments, rtol=1e-4)
    assert (np.diff(spread.moments) >= 0).all()


def test_at_most_512_directions_are_kept_and_none_that_is_rounding():
    assert Spread.fit(texts(1_300, 600)).directions.shape == (600, MOST)
    flat = np.concatenate([texts(), np.zeros((FEWEST, 3), dtype=np.float32)], axis=1)
    assert Spread.fit(flat).directions.shape == (15, 12)
    assert Spread.fit(np.zeros((5, 4), dtype=np.float32)).directions.shape == (4, 0)
    assert Spread.fit(np.zeros((0, 4), dtype=np.float32)).directions.shape == (4, 0)


def test_at_0_products_are_those_of_the_texts_and_at_a_half_all_directions_count_the_same():
    vectors = texts()
    spread = Spread.fit(vectors)
    plain, whole = spread.flattened(vectors, 0), spread.flattened(vectors, 0.5)
    np.testing.assert_allclose(plain @ plain.T, vectors @ vectors.T, atol=1e-5)
    np.testing.assert_allclose(whole.T @ whole / len(vectors), np.eye(12), atol=1e-3)


@pytest.mark.parametrize("flat", [0.0, 0.3, 0.5])
def test_where_somebody_leans_is_the_sum_of_flattened_products_of_mean_square_1(flat):
    vectors = texts()
    spread, had = Spread.of_catalog(vectors), vectors[[3, 8, 9]].sum(axis=0, keepdims=True)
    lean = (spread.towards(had, flat) @ vectors.T)[0]
    products = (spread.flattened(had, flat) @ spread.flattened(vectors, flat).T)[0]
    assert np.corrcoef(lean, products)[0, 1] == pytest.approx(1, abs=1e-5)
    assert np.square(lean).mean() == pytest.approx(1, rel=1e-3)


def test_of_few_texts_or_of_nothing_nobody_leans_anywhere():
    few, many = Spread.of_catalog(texts(FEWEST - 1)), Spread.of_catalog(texts())
    assert not few.towards(texts(2), 0.3).any()
    assert not many.towards(np.zeros((2, 12), dtype=np.float32), 0.3).any()
    assert SoftKnnConfig().direction(few, texts(2), np.array([True, False])) is None


def test_what_was_not_liked_counts_less():
    vectors = texts()
    spread, config = Spread.of_catalog(vectors), SoftKnnConfig(weak=0.25)
    found = config.direction(spread, vectors[:2], np.array([True, False]))
    expected = config.lean * spread.towards(vectors[:1] + vectors[1:2] / 4, config.flat)[0]
    np.testing.assert_allclose(found.towards, expected, rtol=1e-5)


def test_it_survives_as_text_but_for_half_precision():
    spread = Spread.of_catalog(texts())
    again = Spread.from_text(spread.to_text())
    assert again.items == spread.items == FEWEST
    np.testing.assert_array_equal(again.moments, spread.moments)
    np.testing.assert_allclose(again.directions, spread.directions, atol=1e-3)


@pytest.mark.parametrize("text", ["", "no base64!", Spread.of_catalog(texts(20)).to_text()[:-9]])
def test_a_damaged_text_is_named(text):
    with pytest.raises(ModelError, match="the spread of the index cannot be read"):
        Spread.from_text(text)


def test_another_kind_of_arrays_is_damaged():
    from retrieval.text.whitening import Whitening

    with pytest.raises(ModelError, match=r"the spread of the index cannot be read \(it has other parts"):
        Spread.from_text(Whitening.fit(texts()).to_text())
