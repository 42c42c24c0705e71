"""Lists are shaped as one works it out on paper."""

from math import log1p

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from retrieval.data.catalog import Catalog
from retrieval.data.mixes import check_field, main_field, mixes
from retrieval.errors import InputError
from retrieval.metrics import miscalibration
from retrieval.ranking import order
from retrieval.shaping import SMOOTHING, STEPS, Shaping, calibrated, damped, diversified, explored

NOBODY = np.zeros((1, 4), dtype=np.int64)


def ranked(*scores):
    """One list of a, b, c … with these scores, best first."""
    return order([list("abcdefghijklmnop"[: len(scores)])], [np.array(scores)], len(scores), "test")


def names(found):
    return "".join(item_id for item_id, _ in found.row(0))


@st.composite
def worlds(draw):
    """Two lists of unlike lengths, with what every step reads."""
    size, seed = draw(st.integers(1, 9)), draw(st.integers(0, 2**20))
    rng = np.random.default_rng(seed)
    lengths = (size, int(rng.integers(0, size + 1)))
    scores = [rng.integers(0, 5, n).astype(np.float32) for n in lengths]  # with ties
    found = order([[f"item-{n}" for n in rng.permutation(n)] for n in lengths], scores, size, "test")
    vectors = rng.normal(size=(2, size, 3)).astype(np.float32)
    shares = rng.integers(0, 3, (2, size, 4)).astype(np.float32)
    wanted = rng.dirichlet(np.ones(4), 2).astype(np.float32)
    return found, {
        "users": rng.integers(0, 50, (2, size)),
        "vectors": vectors / np.linalg.norm(vectors, axis=2, keepdims=True),
        "mixes": shares / np.maximum(shares.sum(axis=2, keepdims=True), 1),
        "wanted": wanted,
    }


def shaped(step, found, data, strength, seed=0):
    if step == "explore":
        return explored(found, data["users"], strength, seed)
    if step == "novelty":
        return damped(found, data["users"], strength)
    if step == "calibrated":
        return calibrated(found, data["mixes"], data["wanted"], strength)
    return diversified(found, data["vectors"], strength)


@pytest.mark.parametrize("step", STEPS)
@settings(max_examples=40, deadline=None)
@given(world=worlds())
def test_a_strength_of_0_gives_the_very_list(step, world):
    assert shaped(step, *world, 0.0) is world[0]


@pytest.mark.parametrize("step", STEPS)
@settings(max_examples=60, deadline=None)
@given(world=worlds(), strength=st.floats(0.001, 1))
def test_the_same_items_come_back_best_first_and_the_same_each_time(step, world, strength):
    found, data = world
    result = shaped(step, found, data, strength)
    again = shaped(step, found, data, strength)
    np.testing.assert_array_equal(result.ids, again.ids)
    np.testing.assert_array_equal(result.scores, again.scores)
    assert result.scores.dtype == np.float32
    for before, row in zip(found, result, strict=True):
        values = [value for _, value in row]
        assert sorted(item_id for item_id, _ in row) == sorted(item_id for item_id, _ in before)
        assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("step", STEPS)
@settings(max_examples=40, deadline=None)
@given(world=worlds(), strength=st.floats(0.001, 1))
def test_a_list_does_not_depend_on_those_beside_it(step, world, strength):
    found, data = world
    together = shaped(step, found, data, strength)
    for row in range(2):
        part = type(found)(*(getattr(found, name)[[row]] for name in ("ids", "scores", "lengths")))
        alone = shaped(step, part, {name: values[[row]] for name, values in data.items()}, strength)
        assert alone.row(0) == together.row(row)


@pytest.mark.parametrize("step", STEPS[1:])
def test_of_equals_the_order_stays(step):
    found = ranked(3, 3, 3, 3)
    data = {
        "users": NOBODY,
        "vectors": np.eye(4, dtype=np.float32)[None],
        "mixes": np.ones((1, 4, 1), dtype=np.float32),
        "wanted": np.ones((1, 1), dtype=np.float32),
    }
    for strength in (0.3, 1.0):
        assert names(shaped(step, found, data, strength)) == "abcd"


def test_unlike_items_follow_each_other():
    vectors = np.array([[[1, 0], [1, 0], [0, 1], [0.6, 0.8]]], dtype=np.float32)
    found = diversified(ranked(20, 18, 16, 10), vectors, 0.5)
    assert names(found) == "acbd"
    # a: half of 1. Then c: half of .6, b would have .4 - .5. Then b, and d: half of 0 less half of its .8 to c.
    np.testing.assert_allclose(found.scores[0], [0.5, 0.3, -0.1, -0.4], atol=1e-6)


def test_the_first_stays_first_when_diversity_is_all_that_counts():
    vectors = np.array([[[1, 0], [1, 0], [-1, 0], [0.6, 0.8]]], dtype=np.float32)
    assert names(diversified(ranked(4, 3, 2, 1), vectors, 1.0)) == "acdb"  # opposite is no more than unlike


def test_few_users_lift_an_item_by_the_logarithm_of_their_number():
    users = np.array([[99, 9, 0, 99]])
    found = damped(ranked(8, 6, 4, 0), users, 0.25)
    assert names(found) == "abcd"
    np.testing.assert_allclose(found.scores[0], [0.75, 0.75 * 0.75 + 0.125, 0.375 + 0.25, 0.0], atol=1e-6)
    assert names(damped(ranked(8, 6, 4, 0), users, 0.5)) == "cbad"
    assert names(damped(ranked(8, 6, 4, 0), users, 1.0)) == "cbad"


def test_seventy_romances_and_thirty_action_films_make_seven_and_three():
    """The example of Steck's introduction; all romances score above all action films."""
    kinds = np.repeat(np.eye(2, dtype=np.float32), 8, axis=0)[None]
    plain = ranked(*range(16, 0, -1))
    wanted = np.array([[0.7, 0.3]], dtype=np.float32)
    first = {
        strength: names(calibrated(plain, kinds, wanted, strength))[:10] for strength in (0.0, 0.001, 0.5, 0.9, 1.0)
    }
    assert first[0.0] == first[0.001] == "abcdefghij"
    assert first[1.0] == "aibcjdefkg"  # by .7 log(1 + 1/(a + .07)) of a listed, .3 log(1 + 1/(b + .03)) of b
    action = [sum(item_id in "ijklmnop" for item_id in listed) for listed in first.values()]
    assert action == sorted(action)
    assert action[-2:] == [3, 3]
    expected = 0.5 * 1 + 0.5 * 0.7 * log1p(1 / (SMOOTHING * 0.7))
    assert calibrated(plain, kinds, wanted, 0.5).scores[0, 0] == pytest.approx(expected)


@settings(max_examples=40, deadline=None)
@given(world=worlds(), strength=st.floats(0.05, 1))
def test_each_item_is_the_one_that_is_best_by_stecks_divergence(world, strength):
    found, data = world
    result = calibrated(found, data["mixes"], data["wanted"], strength)
    scores = np.array([score for _, score in found.row(0)], dtype=np.float64)
    scores = (scores - scores.min()) / (np.ptp(scores) or 1)
    place = {item_id: number for number, (item_id, _) in enumerate(found.row(0))}
    p, listed = data["wanted"][0].astype(np.float64), []
    for item_id, _ in result.row(0):
        n = len(listed) + 1
        smooth = SMOOTHING / (n + SMOOTHING)  # 1 % of a list of ten

        def worth(number, n=n, smooth=smooth, taken=tuple(listed)):
            q = (1 - smooth) * data["mixes"][0, [*taken, number]].sum(axis=0) / n + smooth * p
            return (1 - strength) * scores[number] - strength * float(p @ np.log(p / q))

        rest = [number for number in place.values() if number not in listed]
        assert worth(place[item_id]) == pytest.approx(max(map(worth, rest)), abs=1e-5)
        listed.append(place[item_id])


def test_calibration_is_what_the_report_measures():
    rng = np.random.default_rng(3)
    kinds = np.eye(3, dtype=np.float32)[rng.choice(3, 60, p=[0.6, 0.2, 0.2])]
    plain = order([[f"{n:02}" for n in range(60)]], [np.linspace(1, 0, 60)], 60, "test")
    wanted = np.array([[0.2, 0.3, 0.5]], dtype=np.float32)
    everything = csr_array(np.concatenate([kinds, wanted]))  # the last item is all that the person had
    history = csr_array(([1.0], ([0], [60])), shape=(1, 61))
    errors = []
    for strength in (0.0, 0.2, 0.5, 0.9):
        listed = calibrated(plain, kinds[None], wanted, strength).ids[:, :10].astype(np.int64)
        errors.append(float(miscalibration(listed, history, everything)[0]))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1 < errors[0]


def test_a_history_without_genres_changes_nothing():
    kinds = np.eye(4, dtype=np.float32)[None]
    assert names(calibrated(ranked(4, 3, 2, 1), kinds, np.zeros((1, 4), dtype=np.float32), 0.9)) == "abcd"


def test_the_seed_decides_what_is_explored():
    plain = ranked(8, 7, 6, 5)
    by_seed = {seed: explored(plain, NOBODY, 1.0, seed).row(0) for seed in range(20)}
    assert by_seed == {seed: explored(plain, NOBODY, 1.0, seed).row(0) for seed in range(20)}
    assert len({tuple(row) for row in by_seed.values()}) == 20
    assert len({"".join(item_id for item_id, _ in row) for row in by_seed.values()}) > 5


def test_scores_are_drawn_as_freely_as_little_is_known():
    plain, users = ranked(8, 6, 4, 0), np.array([[0, 3, 99, 10**12]])
    drawn = {name: [] for name in "abcd"}
    for seed in range(3000):
        for item_id, score in explored(plain, users, 0.5, seed).row(0):
            drawn[item_id].append(score)
    for item_id, mean, events in zip("abcd", (1, 0.75, 0.5, 0), users[0], strict=True):
        deviation = 0.5 / np.sqrt(events + 1)
        assert np.mean(drawn[item_id]) == pytest.approx(mean, abs=deviation / 10 + 1e-6)
        assert np.std(drawn[item_id]) == pytest.approx(deviation, rel=0.1)


def test_what_everybody_had_stays_where_it_is():
    assert names(explored(ranked(8, 6, 4, 0), np.full((1, 4), 10**12), 1.0, 7)) == "abcd"


@pytest.mark.parametrize("step", STEPS)
def test_nothing_in_nothing_out(step):
    found = order([[]], [[]], 3, "test")
    data = {
        "users": NOBODY,
        "vectors": np.zeros((1, 0, 2), dtype=np.float32),
        "mixes": np.zeros((1, 0, 2), dtype=np.float32),
        "wanted": np.ones((1, 2), dtype=np.float32),
    }
    assert list(shaped(step, found, data, 0.5)) == [[]]


def test_a_shaping_is_read_as_it_is_written():
    assert Shaping.parse("diversity=0.3+novelty=.1") == Shaping(novelty=0.1, diversity=0.3)
    assert Shaping.parse("diversity=0.3+novelty=.1").steps == ("novelty", "diversity")
    assert Shaping(explore=0.2, diversity=0).steps == ("explore",)


@pytest.mark.parametrize(
    "text",
    ["nope=0.3", "diversity", "diversity=", "diversity=x", "diversity=1.1", "novelty=-1", "explore=nan", "seed=3",
     "diversity=0.1+diversity=0.2", "diversity=0.1+", ""],
)  # fmt: skip
def test_what_is_no_shaping_is_refused(text):
    with pytest.raises(InputError, match=r"strength|are not shaped by"):
        Shaping.parse(text)


def catalog(rows=200):
    numbers = range(rows)
    return Catalog(
        pl.DataFrame(
            {
                "item_id": [str(n) for n in numbers],
                "title": [f"Film {n}" for n in numbers],
                "language": ["French" if n % 20 == 0 else "English" for n in numbers],
                "cast": [[f"Actor {n}", f"Actor {n + 1}"] for n in numbers],
                "genres": [[] if n % 50 == 7 else [["Drama", "Comedy", "War", "Horror"][n % 4], "Love"][: 1 + n % 2]
                           for n in numbers],
            }
        )
    )  # fmt: skip


def test_the_main_field_is_neither_the_cast_nor_the_language():
    assert main_field(catalog()) == "genres"
    assert check_field(catalog(), "cast") == "cast"
    with pytest.raises(InputError, match="no text field 'year'; there are: language, cast, genres"):
        check_field(catalog(), "year")
    with pytest.raises(InputError, match="no field of the items has values that several of them share"):
        main_field(Catalog(catalog().frame.select("item_id", "title", pl.col("title").alias("about"))))


def test_what_all_items_are_says_nothing():
    alike = catalog().frame.select("item_id", "title", pl.lit("film").alias("kind"))
    with pytest.raises(InputError, match="several of them share"):
        main_field(Catalog(alike))


def test_a_mix_is_in_equal_shares():
    np.testing.assert_allclose(mixes(catalog(), "genres", ["0", "1", "7"]), [[0, 1, 0], [0.5, 0, 0.5], [0, 0, 0]])
    assert mixes(catalog(), "genres", []).shape == (0, 0)
