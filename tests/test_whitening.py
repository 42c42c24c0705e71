"""What all items have in common is gone, what tells them apart is on one scale, and nothing is divided by zero."""

import base64

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.errors import ModelError
from retrieval.text.whitening import DRIFTED, FEWEST_TO_SCALE, FEWEST_TO_STRIP, Whitening

SIZES = (0, 1, 2, 99, 100, 101, 999, 1000, 1001)
KINDS = ("lively", "constant", "zero", "tiny", "huge", "rounded")


def unit(vectors):
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def alike(items, dimension=24, seed=0):
    """Vectors like those of encoders: much in common, and dimensions whose sizes differ by orders of magnitude."""
    drawn = np.random.default_rng(seed)
    sizes = np.logspace(0, -2.5, dimension)
    return unit((1 + 0.3 * drawn.normal(size=(items, dimension)) + 0.2 * drawn.normal(size=(items, 1))) * sizes)


def written_out(vectors, strip):
    """The same in float64: z-scores, without the part along their first singular vector, of length 1."""
    raw = vectors.astype(np.float64)
    scores = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    if strip:
        first = np.linalg.svd(scores, full_matrices=False)[2][0]
        scores -= np.outer(scores @ first, first)
    return scores / np.linalg.norm(scores, axis=1, keepdims=True)


def mean_cosine(vectors):
    cosines = vectors @ vectors.T
    return float(cosines[np.triu_indices(len(vectors), 1)].mean())


@pytest.mark.parametrize("items", [100, 999, 1000, 1500])
def test_it_follows_its_formula(items):
    vectors = alike(items)
    found = Whitening.fit(vectors)(vectors)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, written_out(vectors, strip=items >= FEWEST_TO_STRIP), atol=2e-4)


@pytest.mark.parametrize(("items", "grade"), [(0, 0), (99, 0), (100, 1), (999, 1), (1000, 2), (9000, 2)])
def test_fewer_items_allow_less(items, grade):
    assert Whitening.grade(items) == grade
    fitted = Whitening.fit(alike(items))
    assert fitted.items == items
    assert bool(fitted.mean.any()) == (grade > 0)
    assert len(fitted.common) == (grade > 1)


@pytest.mark.parametrize("items", [1, 2, 99])
def test_too_few_items_leave_the_vectors_as_they_are(items):
    vectors = alike(items)
    np.testing.assert_allclose(Whitening.fit(vectors)(vectors), vectors, atol=1e-6)


def test_what_items_have_in_common_no_longer_makes_them_alike():
    vectors = alike(1200)
    assert mean_cosine(vectors) > 0.8
    assert abs(mean_cosine(Whitening.fit(vectors)(vectors))) < 0.01


def test_topics_stand_out_once_what_is_common_is_gone():
    rng = np.random.default_rng(3)
    topics = rng.normal(size=(6, 32))
    rows = np.arange(1200) % 6
    vectors = unit(20 * rng.normal(size=32) + topics[rows] + rng.normal(size=(1200, 32)))
    whitened = Whitening.fit(vectors)(vectors)
    for shown, least in ((vectors, None), (whitened, 0.3)):
        cosines = shown[:60] @ shown[:60].T
        same = rows[:60, None] == rows[None, :60]
        margin = cosines[same & ~np.eye(60, dtype=bool)].mean() - cosines[~same].mean()
        assert margin < 0.01 if least is None else margin > least


def test_the_common_direction_is_in_no_vector():
    vectors = alike(1500)
    fitted = Whitening.fit(vectors)
    np.testing.assert_allclose(np.linalg.norm(fitted.common, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(fitted(alike(200, seed=9)) @ fitted.common.T, 0, atol=1e-5)


@st.composite
def catalogs(draw):
    """Vectors with dimensions of every kind, some rows of which are the same or nothing at all."""
    items, seed = draw(st.sampled_from(SIZES)), draw(st.integers(0, 2**32 - 1))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=12))
    rng = np.random.default_rng(seed)
    columns = {
        "lively": rng.normal(size=items),
        "constant": np.full(items, rng.normal()),
        "zero": np.zeros(items),
        "tiny": 1e-4 * rng.normal(size=items),
        "huge": 1e3 + rng.normal(size=items),
        "rounded": (0.1 + 1e-4 * rng.normal(size=items)).astype(np.float16),
    }
    vectors = np.stack([columns[kind] for kind in kinds], axis=1)
    if items and draw(st.booleans()):
        vectors[rng.random(items) < 0.5] = vectors[0]
    if items and draw(st.booleans()):
        vectors[-1] = 0
    return unit(vectors)


@settings(max_examples=150, deadline=None)
@given(catalogs())
def test_every_catalog_gives_finite_vectors_of_length_one_or_none(vectors):
    fitted = Whitening.fit(vectors)
    found = fitted(np.concatenate([vectors, alike(3, vectors.shape[1])]))
    assert found.dtype == np.float32
    lengths = np.linalg.norm(found, axis=1)
    assert np.isfinite(found).all()
    assert ((np.abs(lengths - 1) < 1e-4) | (lengths == 0)).all()
    assert Whitening.from_text(fitted.to_text())(vectors).tobytes() == fitted(vectors).tobytes()


@pytest.mark.parametrize("dead", [1, 23, 24])
@pytest.mark.parametrize("items", [100, 1000])
def test_dimensions_that_never_differ_say_nothing(items, dead):
    vectors = alike(items)
    vectors[:, :dead] = vectors[0, :dead]
    fitted = Whitening.fit(vectors)
    assert not fitted.scale[:dead].any()
    assert fitted.scale[dead:].all()
    assert not fitted(vectors)[:, :dead].any()
    other = vectors.copy()
    other[:, :dead] += 0.01
    np.testing.assert_array_equal(fitted(other), fitted(vectors))


@pytest.mark.parametrize("items", [100, 4000])
def test_items_that_all_have_the_same_text_become_nothing(items):
    vectors = np.repeat(alike(1), items, axis=0)
    fitted = Whitening.fit(vectors)
    assert not fitted(vectors).any()
    assert fitted.drift(vectors) == 0


def test_a_vector_that_is_nothing_but_common_becomes_nothing():
    fitted = Whitening.fit(alike(1500))
    alive = np.where(fitted.scale > 0, fitted.scale, 1)
    assert not fitted((fitted.mean + 3 * fitted.common[0] / alive)[None, :]).any()


def test_a_vector_does_not_depend_on_the_others_of_its_batch():
    fitted, others = Whitening.fit(alike(1200)), alike(40, seed=5)
    together = fitted(others)
    for row, vector in enumerate(others):
        np.testing.assert_allclose(fitted(vector[None, :])[0], together[row], atol=1e-6)
    np.testing.assert_allclose(fitted(others[::-1])[::-1], together, atol=1e-6)
    assert fitted(others[:0]).shape == (0, 24)


@pytest.mark.parametrize("items", [3, 100, 1200])
def test_of_vectors_with_fewer_dimensions_the_others_are_as_on_average(items):
    fitted, few = Whitening.fit(alike(items)), alike(30, seed=5)[:, :10]
    full = np.hstack([few, np.tile(fitted.mean[10:], (30, 1))])
    np.testing.assert_allclose(fitted(few), fitted(full), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(fitted(few), axis=1), 1, atol=1e-5)


def test_what_is_given_stays_as_it_is():
    vectors = alike(1200)
    kept = vectors.copy()
    Whitening.fit(vectors)(vectors)
    np.testing.assert_array_equal(vectors, kept)


def test_rounding_to_float16_changes_hardly_anything():
    vectors = alike(1500, dimension=200)
    rounded = vectors.astype(np.float16).astype(np.float32)
    exact, found = Whitening.fit(vectors)(vectors), Whitening.fit(rounded)(rounded)
    assert (exact * found).sum(axis=1).min() > 0.999
    np.testing.assert_allclose(found[:50] @ found.T, exact[:50] @ exact.T, atol=0.02)


def test_the_same_vectors_give_the_same_whitening():
    assert Whitening.fit(alike(1200)).to_text() == Whitening.fit(alike(1200)).to_text()


@pytest.mark.parametrize("items", [0, 3, 100, 1000])
def test_it_survives_being_text(items):
    fitted = Whitening.fit(alike(items))
    again = Whitening.from_text(fitted.to_text())
    for name in ("mean", "scale", "common"):
        before, after = getattr(fitted, name), getattr(again, name)
        assert (before.dtype, before.shape) == (after.dtype, after.shape) == (np.float32, after.shape)
        np.testing.assert_array_equal(before, after)
    assert again.items == items


def test_its_text_is_as_short_as_it_says():
    assert len(Whitening.fit(alike(1000, dimension=960)).to_text()) < 20_000


TEXT = Whitening.fit(alike(1000, dimension=3)).to_text()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(TEXT) - 1))
def test_a_text_that_was_cut_is_damaged(length):
    with pytest.raises(ModelError, match="the whitening of the index cannot be read"):
        Whitening.from_text(TEXT[:length])


@pytest.mark.parametrize("text", ["", "no base64!", "ünicode", base64.b64encode(b"something else").decode()])
def test_another_text_is_damaged(text):
    with pytest.raises(ModelError, match="the whitening of the index cannot be read"):
        Whitening.from_text(text)


@pytest.mark.parametrize("items", [FEWEST_TO_SCALE, 4000])
def test_other_items_of_the_same_kind_are_no_drift(items):
    fitted = Whitening.fit(alike(items))
    assert fitted.drift(alike(items)) < 1e-3
    assert fitted.drift(alike(items, seed=1)) < DRIFTED


def test_drift_is_told_in_standard_deviations():
    vectors = alike(2000)
    fitted, spread = Whitening.fit(vectors), vectors.std(axis=0)
    for shift in (0.1, 1.0):
        assert fitted.drift(vectors + shift * spread) == pytest.approx(shift, rel=1e-2)
    one = np.zeros_like(spread)
    one[7] = spread[7]
    assert fitted.drift(vectors + one) == pytest.approx(24**-0.5, rel=1e-2)


def test_items_too_few_to_fit_anything_to_have_not_drifted_from_themselves():
    vectors = unit(1 + 0.1 * np.random.default_rng(0).normal(size=(20, 8)))
    assert Whitening.fit(vectors).drift(vectors) < DRIFTED
