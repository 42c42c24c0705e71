"""What catalog fields make of two items: alike or not."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.data.catalog import Catalog
from retrieval.text.facts import WIDTH, Facts

KINDS = {"item_id": pl.String, "title": pl.String, "year": pl.Int64, "genres": pl.List(pl.String), "by": pl.String}
LABELS = st.lists(st.sampled_from(["Drama", "Comedy", "War", "Noir"]), max_size=3, unique=True)


def facts(rows, kinds=KINDS):
    frame = pl.DataFrame([(f"{n}", f"title {n}", *row) for n, row in enumerate(rows)], schema=kinds, orient="row")
    return Facts.of(Catalog(frame), frame["item_id"].to_list())


def alike(rows, kinds=KINDS):
    found = facts(rows, kinds)
    return found.kernel(found)


def test_the_kernel_is_the_formula():
    """Three dramas of which one is a war film, too: cosines of idf weights, times the Gaussian of the years."""
    rows = [(1990, ["Drama"], None), (2000, ["Drama", "War"], None), (2010, ["War"], None), (2000, ["Drama"], None)]
    years = np.array([1990.0, 2000.0, 2010.0, 2000.0])
    drama, war = np.log(4 / 3), np.log(4 / 2)
    cosine = drama / np.hypot(drama, war)
    near = np.exp(-0.5 * (10 / years.std() / WIDTH) ** 2)
    found = alike(rows)
    assert found[0, 1] == pytest.approx(cosine * near, rel=1e-5)
    assert found[1, 3] == pytest.approx(cosine, rel=1e-5)
    assert found[0, 2] == 0
    np.testing.assert_allclose(np.diag(found), 1, rtol=1e-5)


def test_a_value_that_one_item_has_alone_tells_nothing():
    """It is left out of the labels and makes its item no less alike to others."""
    with_own = alike([(None, ["Drama"], "Ana"), (None, ["Drama"], "Bo"), (None, ["War"], "Bo")])
    without = alike([(None, ["Drama"], None), (None, ["Drama"], "Bo"), (None, ["War"], "Bo")])
    np.testing.assert_allclose(with_own, without)


def test_the_same_word_in_two_fields_is_two_labels():
    """A film about War by an author called War is no war film of his."""
    found = alike([(None, ["War"], None), (None, ["War"], None), (None, [], "War"), (None, [], "War")])
    assert found[0, 1] == pytest.approx(1)
    assert found[2, 3] == pytest.approx(1)
    assert found[0, 2] == 0


def test_unknown_numbers_are_like_each_other_alone():
    """A missing year is no year in the middle."""
    found = alike([(None, ["Drama"], None), (None, ["Drama"], None), (2000, ["Drama"], None), (1999, ["War"], None)])
    assert found[0, 1] == pytest.approx(1)
    assert found[0, 2] == 0


def test_fields_of_one_kind_are_enough():
    """Without labels the numbers decide, and the other way round; with neither there is nothing to go by."""
    numbers = alike([(1,), (2,), (1,)], {"item_id": pl.String, "title": pl.String, "price": pl.Int64})
    assert numbers[0, 2] == pytest.approx(1)
    assert 0 < numbers[0, 1] < 1
    labels = alike([("x",), ("y",), ("x",), ("y",)], {"item_id": pl.String, "title": pl.String, "by": pl.String})
    assert labels[0, 2] == pytest.approx(1)
    assert labels[0, 1] == 0
    nothing = facts([(), ()], {"item_id": pl.String, "title": pl.String})
    assert not nothing
    assert facts([(1,), (2,)], {"item_id": pl.String, "title": pl.String, "price": pl.Int64})


def test_a_number_that_never_changes_changes_nothing():
    """No division by a spread of 0."""
    kinds = {"item_id": pl.String, "title": pl.String, "price": pl.Int64}
    np.testing.assert_allclose(alike([(3,), (3,)], kinds), 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.none(), st.integers(-3000, 3000)), LABELS, st.none()), min_size=1, max_size=12))
def test_it_is_a_kernel(rows):
    """Symmetric, positive semidefinite, within [0, 1]; part of the items gives part of it."""
    found = facts(rows)
    kernel = found.kernel(found)
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-6)
    assert np.linalg.eigvalsh(kernel.astype(float)).min() > -1e-4
    assert kernel.min() >= 0
    assert kernel.max() <= 1 + 1e-5
    some = np.arange(0, len(rows), 2)
    np.testing.assert_allclose(found.take(some).kernel(found), kernel[some], atol=1e-6)
