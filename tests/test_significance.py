"""Intervals and p-values by resampling users."""

from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.significance import CHUNK, Difference, bootstrap_means, compare, holm, interval, reality_check

p_values = st.lists(st.floats(0, 1), max_size=8)


def draws(seed, users, resamples):
    """The users of each resample."""
    rng = np.random.default_rng(seed)
    sizes = [min(CHUNK, resamples - start) for start in range(0, resamples, CHUNK)]
    return np.concatenate([rng.integers(0, users, (size, users)) for size in sizes])


@pytest.mark.parametrize("resamples", [1, CHUNK, CHUNK + 7, 3 * CHUNK])
def test_bootstrap_means_are_those_of_a_naive_loop(resamples):
    values = np.random.default_rng(1).normal(size=(13, 3))
    values[np.random.default_rng(2).random(values.shape) < 0.2] = np.nan
    found = bootstrap_means(values, 5, resamples)
    expected = [np.nanmean(values[drawn], axis=0) for drawn in draws(5, 13, resamples)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("distribution", ["normal", "exponential", "uniform"])
def test_the_spread_of_the_means_is_the_standard_error(distribution):
    values = getattr(np.random.default_rng(3), distribution)(size=(400, 1))
    found = bootstrap_means(values, 1, 10_000)
    assert found.std() == pytest.approx(values.std() / np.sqrt(400), rel=0.05)
    assert found.mean() == pytest.approx(values.mean(), abs=0.05 * found.std())


def test_users_that_a_column_says_nothing_about_are_left_out():
    values = np.full((300, 2), np.nan)
    values[::3, 0] = np.random.default_rng(3).normal(size=100)
    values[:, 1] = 2.5
    found = bootstrap_means(values, 1, 5000)
    assert found[:, 0].std() == pytest.approx(np.nanstd(values[:, 0]) / np.sqrt(100), rel=0.05)
    assert found[:, 0].mean() == pytest.approx(np.nanmean(values[:, 0]), abs=0.05 * found[:, 0].std())
    assert (found[:, 1] == 2.5).all()


def test_a_resample_without_any_number_is_nan():
    values = np.array([[1.0, nan], [nan, nan], [nan, nan]])
    found = bootstrap_means(values, 1, 500)
    missed = ~(draws(1, 3, 500) == 0).any(axis=1)
    assert np.isnan(found[:, 0]).tolist() == missed.tolist()
    assert 0 < missed.sum() < 500
    assert (found[~missed, 0] == 1).all()
    assert np.isnan(found[:, 1]).all()


def test_the_same_seed_draws_the_same_users():
    values = np.random.default_rng(1).normal(size=(30, 2))
    assert np.array_equal(bootstrap_means(values, 4, 300), bootstrap_means(values, 4, 300))
    assert not np.array_equal(bootstrap_means(values, 4, 300), bootstrap_means(values, 5, 300))


def test_all_columns_see_the_same_users():
    values = np.random.default_rng(1).integers(0, 9, (30, 1)).astype(float)
    found = bootstrap_means(np.hstack([values, values, values + 1]), 4, 300)
    assert np.array_equal(found[:, 0], found[:, 1])
    np.testing.assert_allclose(found[:, 2] - found[:, 0], 1, rtol=0, atol=1e-12)
    assert found[:, 0].std() > 0.1


def test_the_interval_leaves_out_a_fortieth_on_each_side():
    assert interval(np.arange(1001.0)[::-1]) == (25, 975)
    assert interval(np.array([nan, *np.arange(1001.0), nan])) == (25, 975)
    assert all(isnan(bound) for bound in interval(np.array([nan, nan])))


def test_the_interval_covers_the_true_mean_as_often_as_it_says():
    covered = 0
    for simulation in range(200):
        values = np.random.default_rng(simulation).normal(0.3, 1, (60, 1))
        low, high = interval(bootstrap_means(values, simulation, 400)[:, 0])
        covered += low <= 0.3 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_a_planted_difference_is_found():
    rng = np.random.default_rng(6)
    base = rng.normal(size=500)
    (found,) = compare(base + 0.2 + rng.normal(0, 0.5, 500), [base], 1, 4000)
    assert found.low < 0.2 < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(500), rel=0.1)
    assert found.effect == pytest.approx(0.2 / 0.5, abs=0.1)
    assert found.p == 1 / 4000
    assert found.users == 500


def test_pairs_tell_more_than_two_groups():
    rng = np.random.default_rng(6)
    base = rng.normal(0, 10, 500)
    ours = base + rng.normal(0.2, 0.5, 500)
    paired, shuffled = compare(ours, [base, rng.permutation(base)], 1, 1000)
    assert paired.low > 0
    assert shuffled.low < 0 < shuffled.high
    assert paired.delta == pytest.approx(shuffled.delta)


def test_chance_alone_has_a_large_p():
    rng = np.random.default_rng(8)
    found = [compare(rng.normal(size=100), [rng.normal(size=100)], seed, 500)[0] for seed in range(100)]
    assert sum(one.p < 0.05 for one in found) <= 12
    assert sum(one.p > 0.5 for one in found) >= 35


@pytest.mark.parametrize("seed", range(5))
def test_p_is_small_exactly_where_the_interval_leaves_out_0(seed):
    rng = np.random.default_rng(seed)
    others = [rng.normal(shift, 1, 80) for shift in np.linspace(-0.6, 0.6, 13)]
    found = compare(np.zeros(80), others, seed, 2000)
    assert [one.p < 0.05 for one in found] == [one.low > 0 or one.high < 0 for one in found]
    assert {one.p < 0.05 for one in found} == {True, False}


def test_turned_round_a_comparison_says_the_opposite():
    one, other = np.random.default_rng(5).normal(size=(2, 40))
    (there,), (back,) = compare(one, [other], 1, 1000), compare(other, [one], 1, 1000)
    assert [-back.delta, -back.high, -back.low, -back.effect] == pytest.approx(
        [there.delta, there.low, there.high, there.effect]
    )
    assert back.p == there.p


def test_nothing_differs_from_itself():
    ours = np.random.default_rng(1).normal(size=50)
    ours[:5] = nan
    assert compare(ours, [ours], 1, 200) == [Difference(delta=0, low=0, high=0, effect=0, p=1, users=45)]


def test_a_constant_difference_is_certain():
    ours = np.random.default_rng(1).integers(0, 9, 50) / 8
    assert compare(ours + 0.25, [ours], 1, 200) == [Difference(0.25, 0.25, 0.25, effect=0, p=1 / 200, users=50)]


def test_a_constant_difference_that_floats_cannot_hold_exactly_has_no_effect_size_either():
    (found,) = compare(np.full(7, 0.1), [np.zeros(7)], 1, 200)
    assert found.delta == pytest.approx(0.1)
    assert found.effect == 0


def test_only_users_that_both_say_something_about_count():
    ours, other = np.array([1.0, nan, 3, 4, nan]), np.array([0.0, 1, nan, 1, nan])
    (found,) = compare(ours, [other], 1, 500)
    assert (found.delta, found.users) == (2, 2)
    assert found.effect == pytest.approx(2 / np.sqrt(2))
    assert (found.low, found.high) == (1, 3)


def test_nobody_in_common_says_nothing():
    nothing, something = compare(np.array([1.0, nan]), [np.array([nan, 1.0]), np.array([0.0, 1.0])], 1, 100)
    assert (nothing.users, something.users) == (0, 1)
    assert all(isnan(figure) for figure in (nothing.delta, nothing.low, nothing.high, nothing.effect, nothing.p))
    assert (something.delta, something.low, something.high, something.effect) == (1, 1, 1, 0)


def test_a_comparison_does_not_depend_on_the_others():
    rng = np.random.default_rng(5)
    ours, others = (
        rng.normal(size=40),
        [*rng.normal(size=(2, 40)), np.full(40, nan), np.where(np.arange(40) < 9, nan, 0)],
    )
    together = compare(ours, others, 1, 300)
    alone = [compare(ours, [other], 1, 300)[0] for other in others]
    for one, other in zip(together, alone, strict=True):
        assert list(vars(one).values()) == pytest.approx(list(vars(other).values()), nan_ok=True)


def test_p_is_of_the_resamples_that_say_something():
    deltas = np.full(100, nan)
    deltas[:2] = -1, 3
    known = bootstrap_means(deltas[:, None], 1, 2000)[:, 0]
    known = known[~np.isnan(known)]
    assert 1600 < len(known) < 1850
    (found,) = compare(deltas, [np.zeros(100)], 1, 2000)
    assert found.p == pytest.approx(2 * min((known <= 0).mean(), (known >= 0).mean()))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.6, 0.001]) == pytest.approx([0.8, 0.8, 0.003])
    assert holm([0.02, 0.02]) == pytest.approx([0.04, 0.04])
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@settings(max_examples=100, deadline=None)
@given(p_values)
def test_holm_is_between_the_p_value_and_bonferroni_and_keeps_the_order(values):
    found = np.array(holm(values))
    raw = np.array(values)
    assert (found >= raw).all()
    assert (found <= np.minimum(1, len(raw) * raw)).all()
    assert (np.diff(found[raw.argsort()]) >= 0).all()


@settings(max_examples=100, deadline=None)
@given(p_values, st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_procedure_rejects(values, level):
    rejected = set()
    for step, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        if (len(values) - step) * values[index] > level:
            break
        rejected.add(index)
    assert {index for index, p in enumerate(holm(values)) if p <= level} == rejected


def test_a_comparison_that_says_nothing_does_not_change_what_holm_says_of_the_others():
    first, last = holm([nan, 0.01, 0.02]), holm([0.01, 0.02, nan])
    assert first[1:] == last[:2]


def test_the_best_of_several_must_be_better_than_chance_makes_the_best():
    rng = np.random.default_rng(0)
    p_values = [reality_check(rng.normal(0, 1, (60, 5)), seed, 1_000) for seed in range(200)]
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.1
    one = rng.normal(0, 1, (200, 1))
    gains = one - one.mean() + 0.13  # about 1.8 standard errors: proven for one system, not for the best of many
    alike = np.repeat(gains, 5, axis=1)
    noise = rng.normal(0, 1, (200, 40))
    others = np.hstack([gains, noise - noise.mean(axis=0)])
    assert reality_check(alike, 0) == reality_check(gains, 0) < 0.05 < reality_check(others, 0)
    assert reality_check(gains + 1, 0) == 1e-4
