"""Several scorers find candidates, and a strategy orders them."""

from dataclasses import replace

import numpy as np
import pytest
import skops.io
from contracts import check_recommends
from scipy.sparse import csr_array
from scorer_worlds import planted_scorers, random_histories

from retrieval.cf.fused import STRATEGIES, Candidates, Fused, Fusion, best_of, find_candidates
from retrieval.cf.stack import Stack
from retrieval.data.events import History
from retrieval.data.histories import Histories
from retrieval.errors import ModelError

USERS, ITEMS, NAMES = 6, 30, ("x", "y", "z")
SCORERS = planted_scorers(USERS, ITEMS)


@pytest.fixture(scope="module")
def histories():
    """The last user has no history."""
    some = random_histories(USERS, ITEMS, seed=8)
    people = [
        History(tuple(some.items[column] for column in some.values[[row]].indices), (3.0,) * 5) for row in range(5)
    ]
    return Histories.of([*people, History((), ())], some.items)


def planted_rule(users, seed, scorers=3, places=25):
    """A candidate is relevant if and only if the first scorer puts it into the first fifth of its list."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(scorers, users, places)).astype(np.float32)
    relevant = scores[0] > np.quantile(scores[0], 0.8, axis=1, keepdims=True)
    present = np.ones(relevant.shape, dtype=np.bool_)
    present[0, 20:] = False
    return scores, present, rng.integers(0, 50, users), relevant & present


@pytest.fixture(scope="module")
def stack():
    return Stack.fit(*planted_rule(200, seed=1), seed=0)


@pytest.fixture(scope="module")
def fusions(stack):
    chosen = {
        "weighted": Fusion("weighted", NAMES, weights=(0.5, 0.2, 0.3)),
        "cascade": Fusion("cascade", NAMES, pair=("x", "z"), cut=12),
        "stacked": Fusion("stacked", NAMES, stack=stack),
    }
    return {name: chosen.get(name, Fusion(name, NAMES)) for name in STRATEGIES}


def joined(parts):
    parts = list(parts)
    return Candidates(
        np.concatenate([part.columns for part in parts]),
        np.concatenate([part.scores for part in parts], axis=1),
        np.concatenate([part.lengths for part in parts]),
    )


def best_columns(scores, allowed, k):
    """The k best by a plain sort."""
    return sorted(allowed, key=lambda column: (-scores[column], column))[:k]


def allowed_items(histories, row):
    return set(range(ITEMS)) - set(histories.values[[row]].indices.tolist())


@pytest.mark.parametrize("pool", [1, 4, 100])
def test_candidates_are_the_union_of_what_each_scorer_finds_with_the_scores_of_all(histories, pool):
    found = joined(find_candidates(SCORERS, histories, pool))
    assert found.lengths.tolist() == [5, 5, 5, 5, 5, 0]
    for row in range(USERS):
        columns = found.columns[row][found.present[row]].tolist()
        best = [best_columns(s.table[row], allowed_items(histories, row), pool) for s in SCORERS]
        assert sorted(columns) == sorted(set().union(*best))
        for scorer, scores in zip(SCORERS, found.scores, strict=True):
            np.testing.assert_array_equal(scores[row][found.present[row]], scorer.table[row, columns])


def test_candidates_can_be_limited_and_excluded(histories):
    among = np.arange(ITEMS) % 2 == 0
    exclude = csr_array((np.ones(USERS), (np.arange(USERS), np.full(USERS, 4))), shape=(USERS, ITEMS))
    found = joined(find_candidates(SCORERS, histories, ITEMS, exclude, among))
    for columns, present in zip(found.columns, found.present, strict=True):
        assert columns[present].tolist() == [column for column in range(0, ITEMS, 2) if column != 4]


def test_the_size_of_the_chunks_does_not_matter(histories, fusions, monkeypatch):
    whole, listed = joined(find_candidates(SCORERS, histories, 4)), Fused(fusions["rrf"], SCORERS).top(histories, 4)
    monkeypatch.setattr("retrieval.cf.fused.AT_ONCE", 2 * ITEMS * len(SCORERS))
    parts = list(find_candidates(SCORERS, histories, 4))
    assert [len(part.columns) for part in parts] == [2, 2, 2]
    for name in ("columns", "scores", "lengths"):
        np.testing.assert_array_equal(getattr(joined(parts), name), getattr(whole, name))
    again = Fused(fusions["rrf"], SCORERS).top(histories, 4)
    np.testing.assert_array_equal(again.columns, listed.columns)
    np.testing.assert_array_equal(again.scores, listed.scores)


def test_of_equal_fused_scores_the_lower_column_goes_first():
    candidates = Candidates(np.array([[5, 2, -1, 9], [-1, 3, 1, -1]]), np.zeros((1, 2, 4)), np.zeros(2, dtype=int))
    fused = np.array([[1, 1, -np.inf, 3], [-np.inf, 0, 0, -np.inf]], dtype=np.float32)
    found = best_of(candidates, fused, 3)
    assert found.columns.tolist() == [[9, 2, 5], [1, 3, -1]]
    assert found.scores.tolist() == [[3, 1, 1], [0, 0, -np.inf]]
    assert best_of(candidates, fused, 1).columns.tolist() == [[9], [1]]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_fused_recommends_as_scorers_do(strategy, histories, fusions):
    check_recommends(Fused(fusions[strategy], SCORERS), histories)
    assert Fused(fusions[strategy], SCORERS).name == strategy


@pytest.mark.parametrize("strategy", ["weighted", "cascade", "borda", "rrf"])
def test_scorers_that_agree_are_followed(strategy, histories, fusions):
    same = [SCORERS[0], *planted_scorers(USERS, ITEMS, "yz")]
    for scorer in same[1:]:
        scorer.table = 7 * same[0].table + 3
    found = Fused(fusions[strategy], same).recommend(histories, 10)
    assert found.ids.tolist() == SCORERS[0].recommend(histories, 10).ids.tolist()


@pytest.mark.parametrize("only", range(3))
@pytest.mark.parametrize("pool", [3, ITEMS])
def test_all_weight_on_one_scorer_keeps_its_order_within_the_pool(only, pool, histories):
    fusion = Fusion("weighted", NAMES, weights=tuple(float(place == only) for place in range(3)))
    found = Fused(fusion, SCORERS, pool).top(histories, 3)
    assert fusion.used == (NAMES[only],)
    np.testing.assert_array_equal(found.columns, SCORERS[only].top(histories, 3).columns)


@pytest.mark.parametrize(
    ("fusion", "alone"),
    [
        (Fusion("weighted", NAMES, weights=(0.7, 0, 0.3)), Fusion("weighted", ("x", "z"), weights=(0.7, 0.3))),
        (Fusion("cascade", NAMES, pair=("x", "z"), cut=4), Fusion("cascade", ("x", "z"), pair=("x", "z"), cut=4)),
    ],
    ids=["weighted", "cascade"],
)
def test_a_scorer_without_a_say_changes_nothing(fusion, alone, histories):
    """`LiveFusion` does not run it, so that lists would differ from those that were evaluated."""
    found, expected = Fused(fusion, SCORERS, 4).top(histories, 4), Fused(alone, SCORERS[::2], 4).top(histories, 4)
    np.testing.assert_array_equal(found.columns, expected.columns)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


def test_cascade_cuts_by_one_and_orders_by_the_other(histories):
    fusion = Fusion("cascade", NAMES, pair=("z", "x"), cut=4)
    found = Fused(fusion, SCORERS).top(histories, 10)
    assert fusion.used == ("x", "z")
    for row, columns in enumerate(found.columns):
        cheap = best_columns(SCORERS[2].table[row], allowed_items(histories, row), 30)
        assert columns[:4].tolist() == best_columns(SCORERS[0].table[row], cheap[:4], 4)


@pytest.mark.parametrize("strategy", ["borda", "rrf"])
def test_fusions_by_rank_reward_what_several_put_high(strategy, fusions):
    """First of one list and last of the other loses against second of both."""
    table = np.array([[[9, 8, 1, 2]], [[1, 8, 9, 2]], [[5, 5, 5, 5]]], dtype=np.float32)
    scorers = planted_scorers(1, 4)
    for scorer, scores in zip(scorers, table, strict=True):
        scorer.table = scores
    found = Fused(fusions[strategy], scorers).top(Histories.of([History((), ())], "abcd"), 4)
    assert found.columns[0][:2].tolist() == [1, 0]


def test_every_scorer_has_a_say_where_ranks_are_added_or_trees_ask(fusions):
    assert {fusions[name].used for name in ("borda", "rrf", "stacked")} == {NAMES}


def test_a_fusion_wants_its_scorers_in_its_order(fusions):
    with pytest.raises(ValueError, match=r"the fusion is for \('x', 'y', 'z'\)"):
        Fused(fusions["rrf"], SCORERS[::-1])


def test_a_stacked_fusion_without_a_model_says_how_to_get_one(histories):
    with pytest.raises(ModelError, match="the stacked fusion has no model; run: whyrec tune fusion"):
        Fused(Fusion("stacked", NAMES), SCORERS).recommend(histories, 3)


def test_the_stack_learns_the_planted_rule(stack):
    scores, present, lengths, relevant = planted_rule(100, seed=2)
    found = stack.score(scores, present, lengths)
    assert found.dtype == np.float32
    assert np.isneginf(found[~present]).all()
    assert np.isfinite(found[present]).all()
    above = (found[relevant][:, None] > found[present & ~relevant][None, :]).mean()
    assert above > 0.98  # chance is 0.5


def test_the_stack_scores_each_list_for_itself(stack):
    scores, present, lengths, _ = planted_rule(20, seed=3)
    whole = stack.score(scores, present, lengths)
    for row in (0, 7, 19):
        part = slice(row, row + 1)
        np.testing.assert_array_equal(stack.score(scores[:, part], present[part], lengths[part]), whole[part])


def test_the_stack_needs_neither_unit_nor_origin_of_a_scorer(stack):
    scores, present, lengths, _ = planted_rule(20, seed=4)
    moved = scores.astype(np.float64) * np.array([8, 0.5, 64])[:, None, None] + 16
    np.testing.assert_allclose(
        stack.score(moved, present, lengths), stack.score(scores, present, lengths), rtol=0, atol=0.3
    )


@pytest.mark.parametrize("shape", [(0, 5), (2, 0), (2, 5)])
def test_the_stack_gives_nothing_for_nothing(shape, stack):
    found = stack.score(np.zeros((3, *shape), dtype=np.float32), np.zeros(shape, dtype=np.bool_), np.zeros(shape[0]))
    assert found.shape == shape
    assert np.isneginf(found).all()


def test_a_stack_is_saved_without_loss(stack, tmp_path):
    stack.save(tmp_path / "stack.skops")
    scores, present, lengths, _ = planted_rule(20, seed=5)
    loaded = Stack.load(tmp_path / "stack.skops")
    np.testing.assert_array_equal(loaded.score(scores, present, lengths), stack.score(scores, present, lengths))


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "text"])
def test_a_damaged_stack_is_named(damage, stack, tmp_path):
    path = tmp_path / "stack.skops"
    stack.save(path)
    content = {"empty": b"", "cut": path.read_bytes()[:-200], "text": b"something else"}
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[damage])
    with pytest.raises(ModelError, match=r"stack.skops cannot be read .*; run: whyrec tune fusion"):
        Stack.load(path)


def test_a_file_that_holds_something_else_is_no_stack(tmp_path):
    skops.io.dump([1, 2], tmp_path / "stack.skops")
    with pytest.raises(ModelError, match=r"stack.skops (cannot be read|holds a list)"):
        Stack.load(tmp_path / "stack.skops")


def test_fusions_are_equal_by_what_they_are(fusions):
    assert replace(fusions["rrf"]) == fusions["rrf"]
    assert replace(fusions["rrf"], strategy="borda") == fusions["borda"]
