"""The fusion that serves: what it changes in the recommender."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from fusion_world import NAMES, load, save
from planted_models import PLANTED_SETTINGS, PlantedModels

from agent.recommender import Recommender, serving
from agent.request import Request
from agent.settings import RankingSettings
from retrieval.cf.fused import STRATEGIES, Fused, Fusion
from retrieval.data.events import History
from retrieval.data.histories import Histories
from retrieval.data.workspace import Workspace

NAMES_BY = ("retrieve", *NAMES[1:])
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return PlantedModels(tmp_path_factory.mktemp("lm"))


@pytest.fixture
def copied(fused_root, tmp_path):
    return shutil.copytree(fused_root, tmp_path / "copy")


def recommender(root, models, strategy):
    return Recommender(Workspace(root), PLANTED_SETTINGS, models, load(root, strategy))


def ids(answer):
    return [row.item_id for row in answer.rows]


def test_the_settings_decide_what_serves(fused_root, planted_root):
    def settings(fusion):
        return PLANTED_SETTINGS.model_copy(update={"ranking": RankingSettings(fusion=fusion)})

    assert serving(Workspace(fused_root), settings("off")) is None
    assert serving(Workspace(fused_root), settings("auto")).fusion.strategy == "weighted"
    assert serving(Workspace(fused_root), settings("borda")).fusion.strategy == "borda"
    assert serving(Workspace(planted_root), settings("auto")) is None


def assert_same_list(answer, expected):
    assert ids(answer) == [item_id for item_id, _ in expected]
    np.testing.assert_allclose([row.score for row in answer.rows], [score for _, score in expected], atol=1e-4)


@every_strategy
def test_a_user_gets_the_list_that_was_evaluated(
    strategy, fused_root, models, planted_fusions, planted_scorers, planted_histories
):
    expected = Fused(planted_fusions[strategy], planted_scorers).recommend(planted_histories, 10)
    serves = recommender(fused_root, models, strategy)
    for user, row in zip(planted_histories.users, expected, strict=True):
        assert_same_list(serves.recommend(Request(user, k=10)), row)


@every_strategy
def test_the_filter_holds_for_every_scorer(
    strategy, fused_root, models, planted_fusions, planted_scorers, planted_histories
):
    among = np.array([item_id.startswith("western") for item_id in planted_histories.items])
    expected = Fused(planted_fusions[strategy], planted_scorers).recommend(planted_histories, 6, candidates=among)
    answer = recommender(fused_root, models, strategy).recommend(Request("user-0", k=6, where="topics ~ western"))
    assert_same_list(answer, expected.row(0))
    assert set(ids(answer)) == {f"western-{place}" for place in range(6)}


def test_among_limits_every_scorer(fused_root, models):
    among = frozenset({"space-5", "western-1", "space-0"})
    serves = recommender(fused_root, models, "rrf")
    assert set(ids(serves.recommend(Request("user-0", k=6, among=among)))) == {"space-5", "western-1"}


@every_strategy
def test_what_was_seen_is_left_out_unless_it_is_asked_for(strategy, fused_root, models):
    serves = recommender(fused_root, models, strategy)
    seen = {"space-0", "space-1", "space-2", "space-3", "cooking-0"}
    assert seen.isdisjoint(ids(serves.recommend(Request("user-0", k=18))))
    assert seen & set(ids(serves.recommend(Request("user-0", k=18, exclude_seen=False))))


def test_a_history_in_the_request_stands_in_for_the_user(fused_root, models):
    serves = recommender(fused_root, models, "weighted")
    history = Workspace(fused_root).history("user-2")
    assert serves.recommend(Request(history=history)).rows == serves.recommend(Request("user-2")).rows


def test_likes_beside_a_user_are_fused_and_not_recommended(fused_root, models):
    answer = recommender(fused_root, models, "rrf").recommend(Request("user-0", likes=("Garlic Road",), k=9))
    assert {"cooking-5", "cooking-0", "space-0"}.isdisjoint(ids(answer))
    assert all(row.by == NAMES_BY for row in answer.rows)


LIKES = Fusion("weighted", ("soft-knn", "item-knn"), weights=(0.25, 0.75))


@pytest.fixture
def with_likes(copied, planted_fusions, planted_scorers):
    """A workspace whose fusion serves likes without a history as well, by other weights."""
    save(copied, planted_fusions, planted_scorers, likes=LIKES)
    return copied


def test_likes_are_served_by_the_fusion_that_was_proven_for_them(
    with_likes, models, planted_scorers, planted_histories
):
    likes = ("space-0", "cooking-2")
    serves = recommender(with_likes, models, "weighted")
    answer = serves.recommend(Request(likes=tuple(f"id:{item_id}" for item_id in likes), k=8))
    named = Histories.of([History(likes, (5.0, 5.0))], planted_histories.items)
    expected = Fused(LIKES, [planted_scorers[0], planted_scorers[2]]).recommend(named, 8)
    assert_same_list(answer, expected.row(0))
    assert {row.by for row in answer.rows} == {("retrieve", "item-knn")}
    assert load(with_likes).for_likes.fusion == LIKES


def test_the_fusion_for_likes_is_for_nobody_else(with_likes, fused_root, models):
    for request in (Request("user-0", likes=("Garlic Road",), k=9), Request("user-1", k=9)):
        one, other = (recommender(root, models, "weighted").recommend(request) for root in (with_likes, fused_root))
        assert one.rows == other.rows
    asked = Request(likes=("Garlic Road",), query="lone riders", k=9)
    assert {row.by for row in recommender(with_likes, models, "weighted").recommend(asked).rows} == {("retrieve",)}


def test_scorers_that_only_likes_need_are_loaded(copied, planted_fusions, planted_scorers, models):
    save(
        copied,
        planted_fusions | {"weighted": Fusion("weighted", NAMES, weights=(0.5, 0.5, 0.0))},
        planted_scorers,
        likes=LIKES,
    )
    assert set(load(copied).scorers) == {"popularity", "item-knn"}
    assert recommender(copied, models, "weighted").recommend(Request(likes=("Garlic Road",), k=3)).rows


@pytest.mark.parametrize(
    "request_",
    [
        Request(likes=("Bread Days",), k=5),
        Request(query="lone riders", k=5),
        Request("user-0", query="lone riders", k=5),
        Request("user-0", mode="retrieval", k=5),
    ],
    ids=["likes", "query", "user and query", "mode retrieval"],
)
def test_other_requests_are_served_by_the_text_alone(request_, fused_root, models):
    plain = Recommender(Workspace(fused_root), PLANTED_SETTINGS, models)
    answer = recommender(fused_root, models, "borda").recommend(request_)
    assert answer.rows == plain.recommend(request_).rows
    assert all((row.by, set(row.stages)) == (("retrieve",), {"retrieve"}) for row in answer.rows)
    assert "fuse" not in answer.seconds


@pytest.mark.parametrize(
    ("strategy", "by"),
    [
        ("weighted", ("retrieve", "item-knn")),
        ("cascade", ("retrieve", "item-knn")),
        ("borda", NAMES_BY),
        ("rrf", NAMES_BY),
        ("stacked", NAMES_BY),
    ],
)
def test_each_row_tells_who_had_a_say_and_what_each_gave(
    strategy, by, fused_root, models, planted_scorers, planted_histories
):
    answer = recommender(fused_root, models, strategy).recommend(Request("user-1", k=6))
    given = {
        ("retrieve" if scorer is planted_scorers[0] else scorer.name): scorer.score(planted_histories)[1]
        for scorer in planted_scorers
    }
    for row in answer.rows:
        column = planted_histories.items.index(row.item_id)
        assert row.by == by
        assert row.stages.pop("fuse") == row.score
        assert row.stages == pytest.approx({name: float(given[name][column]) for name in by}, abs=1e-5)
    assert {"retrieve", "fuse"} <= set(answer.seconds)


def test_the_language_model_scores_what_was_fused(fused_root, models):
    serves = recommender(fused_root, models, "weighted")
    plain, full = (serves.recommend(Request("user-0", k=5, mode=mode)) for mode in ("auto", "full"))
    assert ids(full) == ids(plain)
    assert all("rank" in row.stages and row.by == ("retrieve", "item-knn") for row in full.rows)
    ordered = serves.recommend(Request("user-0", k=13, alpha=1.0))
    assert all(row.by == ("retrieve", "item-knn", "rank") for row in ordered.rows)
    ranked = [row.stages["rank"] for row in ordered.rows]
    assert ranked == sorted(ranked, reverse=True)


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_a_cascade_whose_first_scorer_knows_nothing_still_recommends(alpha, fused_root, models):
    """Nobody else had what this person had, so that item-knn scores all items alike."""
    fusion = Fusion("cascade", NAMES, pair=("item-knn", "soft-knn"), cut=5)
    live = replace(load(fused_root, "rrf"), fusion=fusion)
    serves = Recommender(Workspace(fused_root), PLANTED_SETTINGS, models, live)
    assert ids(serves.recommend(Request(history=History(("space-5",), (5.0,)), k=3, alpha=alpha)))


@every_strategy
def test_reactions_count_in_every_fusion(strategy, copied, models):
    feedback = Workspace(copied).feedback
    feedback.add("newcomer", "western-1", "like", 5.0)
    first = ids(recommender(copied, models, strategy).recommend(Request("newcomer", k=6)))
    assert first[0].startswith("western")
    assert "western-1" not in first
    feedback.add("newcomer", first[0], "dislike", 1.0)
    feedback.add("newcomer", first[1], "hide", None)
    feedback.add("newcomer", first[2], "seen", None)
    again = recommender(copied, models, strategy)
    assert not {*first[:3]} & set(ids(again.recommend(Request("newcomer", k=18))))
    asked_for = ids(again.recommend(Request("newcomer", k=18, exclude_seen=False)))
    assert first[2] in asked_for
    assert not {*first[:2]} & set(asked_for)
