"""The fusion that serves: its files, and what it changes in the recommender."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from conftest import WordEncoder
from planted_models import PLANTED_SETTINGS, PlantedModels
from test_fused import planted_rule

from agent.recommender import Recommender, serving
from agent.request import Request
from agent.settings import RankingSettings
from retrieval.cf.fused import STRATEGIES, Fused, Fusion
from retrieval.cf.live import load_fusion, save_fusion
from retrieval.cf.scorer import TrainingData
from retrieval.cf.scorers import SCORERS
from retrieval.cf.stack import Stack
from retrieval.data.events import History
from retrieval.data.histories import Histories
from retrieval.data.workspace import Workspace
from retrieval.errors import ModelError, WorkspaceError
from retrieval.text.index import ItemIndex

NAMES = ("soft-knn", "popularity", "item-knn")
NAMES_BY = ("retrieve", *NAMES[1:])
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return PlantedModels(tmp_path_factory.mktemp("lm"))


@pytest.fixture(scope="module")
def histories(planted_root):
    workspace = Workspace(planted_root)
    return Histories.from_events(workspace.events().collect(), sorted(workspace.catalog.ids))


@pytest.fixture(scope="module")
def scorers(planted_root, histories):
    vectors = ItemIndex(planted_root / "index", WordEncoder.fingerprint).vectors(histories.items)
    data = TrainingData(histories, vectors)
    configs = [SCORERS[name].config_type(5.0 if name == "soft-knn" else None) for name in NAMES]
    return [SCORERS[name].fit(data, config) for name, config in zip(NAMES, configs, strict=True)]


@pytest.fixture(scope="module")
def fusions():
    chosen = {
        "weighted": Fusion("weighted", NAMES, weights=(0.3, 0.0, 0.7)),
        "cascade": Fusion("cascade", NAMES, pair=("soft-knn", "item-knn"), cut=8),
        "stacked": Fusion("stacked", NAMES, stack=Stack.fit(*planted_rule(200, seed=6), seed=0)),
    }
    return {name: chosen.get(name, Fusion(name, NAMES)) for name in STRATEGIES}


@pytest.fixture(scope="module")
def served_root(planted_root, fusions, scorers, tmp_path_factory):
    """A workspace with a fusion. Read only: copy it before changing it."""
    root = shutil.copytree(planted_root, tmp_path_factory.mktemp("served") / "workspace")
    save(root, fusions, scorers)
    return root


@pytest.fixture
def copied(served_root, tmp_path):
    return shutil.copytree(served_root, tmp_path / "copy")


def save(root, fusions, scorers, best="weighted", likes=None):
    workspace = Workspace(root)
    fingerprints = workspace.catalog_fingerprint, workspace.events_fingerprint
    made = {"command": "whyrec tune --x"}
    space = ItemIndex(root / "index", WordEncoder.fingerprint).space
    return save_fusion(
        root / "models" / "fusion", fusions, best, scorers, *fingerprints, made, space=space, likes=likes
    )


def load(root, wanted="auto"):
    workspace = Workspace(root)
    return load_fusion(root, wanted, workspace.catalog.ids, workspace.catalog_fingerprint)


def version_folder(root):
    folder = root / "models/fusion"
    return folder / (folder / "current").read_text(encoding="utf-8").strip()


def recommender(root, models, strategy):
    return Recommender(Workspace(root), PLANTED_SETTINGS, models, load(root, strategy))


def ids(answer):
    return [row.item_id for row in answer.rows]


@every_strategy
def test_a_fusion_is_loaded_as_it_was_saved(strategy, served_root, fusions, scorers, histories):
    live = load(served_root, strategy)
    assert replace(live.fusion, stack=None) == replace(fusions[strategy], stack=None)
    assert live.items == histories.items
    assert live.text == scorers[0].config
    assert set(live.scorers) == set(live.fusion.used) - {"soft-knn"}
    loaded = [scorers[0], *(live.scorers.get(scorer.name, scorer) for scorer in scorers[1:])]
    expected = Fused(fusions[strategy], scorers).recommend(histories, 6)
    assert list(Fused(live.fusion, loaded).recommend(histories, 6)) == list(expected)


def test_the_files_of_a_fusion_hold_no_vectors_and_say_what_made_them(served_root):
    folder = version_folder(served_root)
    assert {path.name for path in folder.iterdir()} == {
        *("popularity.json", "popularity.safetensors", "item-knn.json", "item-knn.safetensors"),
        *("config.json", "README.md", "stack.skops"),
    }
    assert "whyrec tune --x" in (folder / "README.md").read_text(encoding="utf-8")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert (config["best"], config["command"]) == ("weighted", "whyrec tune --x")


def test_auto_serves_the_best_of_the_newest(copied, fusions, scorers):
    assert load(copied).fusion.strategy == "weighted"
    version = save(copied, fusions, scorers, best="rrf")
    assert version_folder(copied).name == version
    assert load(copied).fusion.strategy == "rrf"


def test_without_a_fusion_auto_is_none_and_a_named_one_an_error(planted_root):
    assert load(planted_root) is None
    with pytest.raises(ModelError, match=r"no fusion to serve by 'rrf'; make it with: whyrec tune -w "):
        load(planted_root, "rrf")


def test_a_fusion_of_other_items_is_refused(served_root):
    with pytest.raises(WorkspaceError, match=r"made for other items .* run: whyrec tune .*WHYREC_RANKING__FUSION=off"):
        load_fusion(served_root, "auto", Workspace(served_root).catalog.ids, "0" * 16)


def changed(root, **values):
    path = version_folder(root) / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, **values}), encoding="utf-8")


@pytest.mark.parametrize(("version", "message"), [(4, "a newer format; update whyrec"), (2, "an older format")])
def test_another_format_is_refused(copied, version, message):
    changed(copied, format_version=version)
    with pytest.raises(ModelError, match=message):
        load(copied)


@pytest.mark.parametrize(
    "values",
    [
        {"best": "oracle"},
        {"fusions": {}},
        {"format_version": "one"},
        {"text": None},
        {"text": {"colour": 1}},
        {"fusions": {"weighted": {"strategy": "weighted", "scorers": NAMES, "weights": [1], "pair": [], "cut": 9}}},
    ],
    ids=["best", "fusions", "format", "no text", "text", "weights"],
)
def test_a_config_that_cannot_be_used_is_damaged(values, copied):
    changed(copied, **values)
    with pytest.raises(ModelError, match=r"cannot be read .*run: whyrec tune"):
        load(copied)


@pytest.mark.parametrize("name", ["config.json", "stack.skops", "item-knn.json", "item-knn.safetensors"])
@pytest.mark.parametrize("missing", [True, False])
def test_missing_and_damaged_files_are_named(name, missing, copied):
    path = version_folder(copied) / name
    path.unlink()
    if not missing:
        path.write_bytes(b"{ something else")
    with pytest.raises(ModelError, match="cannot be read"):
        load(copied, "stacked")


def test_a_version_that_is_gone_is_an_error(copied):
    shutil.rmtree(version_folder(copied))
    with pytest.raises(ModelError, match=r"models/fusion cannot be read .*run: whyrec tune"):
        load(copied)


def test_the_settings_decide_what_serves(served_root, planted_root):
    def settings(fusion):
        return PLANTED_SETTINGS.model_copy(update={"ranking": RankingSettings(fusion=fusion)})

    assert serving(Workspace(served_root), settings("off")) is None
    assert serving(Workspace(served_root), settings("auto")).fusion.strategy == "weighted"
    assert serving(Workspace(served_root), settings("borda")).fusion.strategy == "borda"
    assert serving(Workspace(planted_root), settings("auto")) is None


def assert_same_list(answer, expected):
    assert ids(answer) == [item_id for item_id, _ in expected]
    np.testing.assert_allclose([row.score for row in answer.rows], [score for _, score in expected], atol=1e-4)


@every_strategy
def test_a_user_gets_the_list_that_was_evaluated(strategy, served_root, models, fusions, scorers, histories):
    expected = Fused(fusions[strategy], scorers).recommend(histories, 10)
    serves = recommender(served_root, models, strategy)
    for user, row in zip(histories.users, expected, strict=True):
        assert_same_list(serves.recommend(Request(user, k=10)), row)


@every_strategy
def test_the_filter_holds_for_every_scorer(strategy, served_root, models, fusions, scorers, histories):
    among = np.array([item_id.startswith("western") for item_id in histories.items])
    expected = Fused(fusions[strategy], scorers).recommend(histories, 6, candidates=among)
    answer = recommender(served_root, models, strategy).recommend(Request("user-0", k=6, where="topics ~ western"))
    assert_same_list(answer, expected.row(0))
    assert set(ids(answer)) == {f"western-{place}" for place in range(6)}


def test_among_limits_every_scorer(served_root, models):
    among = frozenset({"space-5", "western-1", "space-0"})
    serves = recommender(served_root, models, "rrf")
    assert set(ids(serves.recommend(Request("user-0", k=6, among=among)))) == {"space-5", "western-1"}


@every_strategy
def test_what_was_seen_is_left_out_unless_it_is_asked_for(strategy, served_root, models):
    serves = recommender(served_root, models, strategy)
    seen = {"space-0", "space-1", "space-2", "space-3", "cooking-0"}
    assert seen.isdisjoint(ids(serves.recommend(Request("user-0", k=18))))
    assert seen & set(ids(serves.recommend(Request("user-0", k=18, exclude_seen=False))))


def test_a_history_in_the_request_stands_in_for_the_user(served_root, models):
    serves = recommender(served_root, models, "weighted")
    history = Workspace(served_root).history("user-2")
    assert serves.recommend(Request(history=history)).rows == serves.recommend(Request("user-2")).rows


def test_likes_beside_a_user_are_fused_and_not_recommended(served_root, models):
    answer = recommender(served_root, models, "rrf").recommend(Request("user-0", likes=("Garlic Road",), k=9))
    assert {"cooking-5", "cooking-0", "space-0"}.isdisjoint(ids(answer))
    assert all(row.by == NAMES_BY for row in answer.rows)


LIKES = Fusion("weighted", ("soft-knn", "item-knn"), weights=(0.25, 0.75))


@pytest.fixture
def with_likes(copied, fusions, scorers):
    """A workspace whose fusion serves likes without a history as well, by other weights."""
    save(copied, fusions, scorers, likes=LIKES)
    return copied


def test_likes_are_served_by_the_fusion_that_was_proven_for_them(with_likes, models, scorers, histories):
    likes = ("space-0", "cooking-2")
    serves = recommender(with_likes, models, "weighted")
    answer = serves.recommend(Request(likes=tuple(f"id:{item_id}" for item_id in likes), k=8))
    named = Histories.of([History(likes, (5.0, 5.0))], histories.items)
    expected = Fused(LIKES, [scorers[0], scorers[2]]).recommend(named, 8)
    assert_same_list(answer, expected.row(0))
    assert {row.by for row in answer.rows} == {("retrieve", "item-knn")}
    assert load(with_likes).for_likes.fusion == LIKES


def test_the_fusion_for_likes_is_for_nobody_else(with_likes, served_root, models):
    for request in (Request("user-0", likes=("Garlic Road",), k=9), Request("user-1", k=9)):
        one, other = (recommender(root, models, "weighted").recommend(request) for root in (with_likes, served_root))
        assert one.rows == other.rows
    asked = Request(likes=("Garlic Road",), query="lone riders", k=9)
    assert {row.by for row in recommender(with_likes, models, "weighted").recommend(asked).rows} == {("retrieve",)}


def test_scorers_that_only_likes_need_are_loaded(copied, fusions, scorers, models):
    save(copied, fusions | {"weighted": Fusion("weighted", NAMES, weights=(0.5, 0.5, 0.0))}, scorers, likes=LIKES)
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
def test_other_requests_are_served_by_the_text_alone(request_, served_root, models):
    plain = Recommender(Workspace(served_root), PLANTED_SETTINGS, models)
    answer = recommender(served_root, models, "borda").recommend(request_)
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
def test_each_row_tells_who_had_a_say_and_what_each_gave(strategy, by, served_root, models, scorers, histories):
    answer = recommender(served_root, models, strategy).recommend(Request("user-1", k=6))
    given = {("retrieve" if scorer is scorers[0] else scorer.name): scorer.score(histories)[1] for scorer in scorers}
    for row in answer.rows:
        column = histories.items.index(row.item_id)
        assert row.by == by
        assert row.stages.pop("fuse") == row.score
        assert row.stages == pytest.approx({name: float(given[name][column]) for name in by}, abs=1e-5)
    assert {"retrieve", "fuse"} <= set(answer.seconds)


def test_the_language_model_scores_what_was_fused(served_root, models):
    serves = recommender(served_root, models, "weighted")
    plain, full = (serves.recommend(Request("user-0", k=5, mode=mode)) for mode in ("auto", "full"))
    assert ids(full) == ids(plain)
    assert all("rank" in row.stages and row.by == ("retrieve", "item-knn") for row in full.rows)
    ordered = serves.recommend(Request("user-0", k=13, alpha=1.0))
    assert all(row.by == ("retrieve", "item-knn", "rank") for row in ordered.rows)
    ranked = [row.stages["rank"] for row in ordered.rows]
    assert ranked == sorted(ranked, reverse=True)


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_a_cascade_whose_first_scorer_knows_nothing_still_recommends(alpha, served_root, models):
    """Nobody else had what this person had, so that item-knn scores all items alike."""
    fusion = Fusion("cascade", NAMES, pair=("item-knn", "soft-knn"), cut=5)
    live = replace(load(served_root, "rrf"), fusion=fusion)
    serves = Recommender(Workspace(served_root), PLANTED_SETTINGS, models, live)
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
