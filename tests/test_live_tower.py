"""The tower in the fusion that serves: the same lists as in bulk, and files that fit the index."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from conftest import WordEncoder
from fusion_world import load, save, version_folder
from planted_models import PLANTED_SETTINGS, PlantedModels
from safetensors.numpy import load_file, save_file
from test_fused import planted_rule
from test_live_fusion import assert_same_list, ids

from agent import recommender as recommender_module
from agent.recommender import Recommender, serving
from agent.request import Request
from agent.settings import RankingSettings
from retrieval.cf import live as live_module
from retrieval.cf.fused import Fused, Fusion
from retrieval.cf.scorer import TrainingData
from retrieval.cf.scorers import SCORERS, load_scorer
from retrieval.cf.stack import Stack
from retrieval.data.events import History
from retrieval.data.histories import Histories
from retrieval.data.workspace import Workspace
from retrieval.errors import ModelError, WhyrecError
from retrieval.text import spread as spread_module
from retrieval.text.chroma import delete_collection
from retrieval.text.index import ItemIndex

NAMES = ("soft-knn", "tower", "item-knn")
FUSIONS = {
    "tower alone": Fusion("single", NAMES, weights=(0.0, 1.0, 0.0)),
    "tower and text": Fusion("weighted", NAMES, weights=(0.4, 0.6, 0.0)),
    "tower and events": Fusion("weighted", NAMES, weights=(0.0, 0.5, 0.5)),
    "cascade to tower": Fusion("cascade", NAMES, pair=("item-knn", "tower"), cut=4),
    "cascade from tower": Fusion("cascade", NAMES, pair=("tower", "soft-knn"), cut=4),
    "borda": Fusion("borda", NAMES),
    "rrf": Fusion("rrf", NAMES),
    "stacked": Fusion("stacked", NAMES, stack=Stack.fit(*planted_rule(200, seed=6), seed=0)),
}
every_fusion = pytest.mark.parametrize("name", FUSIONS)


@pytest.fixture(scope="module", autouse=True)
def every_catalog_is_large_enough_to_lean():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spread_module, "FEWEST", 10)
        yield


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return PlantedModels(tmp_path_factory.mktemp("lm"))


@pytest.fixture(scope="module")
def histories(planted_root):
    workspace = Workspace(planted_root)
    return Histories.from_events(workspace.events().collect(), sorted(workspace.catalog.ids))


@pytest.fixture(scope="module", params=[None, 5.0], ids=["all events", "liked"])
def scorers(request, planted_root, histories):
    index = ItemIndex(planted_root / "index", WordEncoder.fingerprint)
    data = TrainingData(histories, index.vectors(histories.items), spread=index.spread)
    configs = [SCORERS[name].config_type({"soft-knn": 5.0, "tower": request.param}.get(name)) for name in NAMES]
    return [SCORERS[name].fit(data, config) for name, config in zip(NAMES, configs, strict=True)]


@pytest.fixture(scope="module")
def served_root(planted_root, scorers, tmp_path_factory):
    """A workspace with a fusion of the tower and the text. Read only: copy it before changing it."""
    root = shutil.copytree(planted_root, tmp_path_factory.mktemp("served") / "workspace")
    fusions = {"weighted": FUSIONS["tower and text"], "single": FUSIONS["tower alone"]}
    fusions["cascade"] = Fusion("cascade", NAMES, pair=("soft-knn", "item-knn"))
    save(root, fusions, scorers)
    return root


@pytest.fixture
def copied(served_root, tmp_path):
    return shutil.copytree(served_root, tmp_path / "copy")


def serves(root, models, name="tower and text", **settings):
    settings = PLANTED_SETTINGS.model_copy(update={"ranking": RankingSettings(**settings)})
    others = {"item-knn": load_scorer("item-knn", version_folder(root))}
    return Recommender(Workspace(root), settings, models, replace(load(root), fusion=FUSIONS[name], scorers=others))


@every_fusion
def test_a_user_gets_the_list_that_was_evaluated(name, served_root, models, scorers, histories):
    expected = Fused(FUSIONS[name], scorers).recommend(histories, 10)
    recommender = serves(served_root, models, name)
    for user, row in zip(histories.users, expected, strict=True):
        assert_same_list(recommender.recommend(Request(user, k=10)), row)


@every_fusion
def test_so_does_one_of_whom_each_scorer_brings_few(name, served_root, models, scorers, histories, monkeypatch):
    for module in (live_module, recommender_module):
        monkeypatch.setattr(module, "POOL", 3)
    expected = Fused(FUSIONS[name], scorers, pool=3).recommend(histories, 3)
    recommender = serves(served_root, models, name, candidates=3)
    for user, row in zip(histories.users, expected, strict=True):
        assert_same_list(recommender.recommend(Request(user, k=3)), row)


@every_fusion
@pytest.mark.parametrize("limit", [{"where": "topics ~ western"}, {"among": frozenset({"western-5", "space-4"})}])
def test_limits_hold_for_the_tower_as_well(name, limit, served_root, models, scorers, histories):
    fits = (lambda one: one in limit["among"]) if "among" in limit else (lambda one: one.startswith("western"))
    among = np.array([fits(item_id) for item_id in histories.items])
    expected = Fused(FUSIONS[name], scorers).recommend(histories, 6, candidates=among)
    assert_same_list(serves(served_root, models, name).recommend(Request("user-0", k=6, **limit)), expected.row(0))


@every_fusion
def test_a_history_in_the_request_is_that_of_a_user(name, served_root, models):
    recommender = serves(served_root, models, name)
    history = Workspace(served_root).history("user-2")
    assert recommender.recommend(Request(history=history)).rows == recommender.recommend(Request("user-2")).rows


@every_fusion
@pytest.mark.parametrize("values", [(2.0, 1.0), (3.0, 3.0), (0.0, 5.0), (5.0,)])
def test_a_history_of_any_values_gets_the_list_that_was_evaluated(
    name, values, served_root, models, scorers, histories
):
    history = History(("space-1", "western-0")[: len(values)], values)
    expected = Fused(FUSIONS[name], scorers).recommend(Histories.of([history], histories.items), 10)
    answer = serves(served_root, models, name).recommend(Request(history=history, k=10))
    assert_same_list(answer, expected.row(0))


def test_likes_beside_a_user_count_for_the_tower_and_are_not_recommended(served_root, models, scorers, histories):
    recommender = serves(served_root, models, "tower alone")
    answer = recommender.recommend(Request("user-0", likes=("Garlic Road", "Star Voyage"), k=13))
    had = Workspace(served_root).history("user-0")
    longer = History((*had.items, "cooking-5"), (*had.values, 5.0))
    expected = Fused(FUSIONS["tower alone"], scorers).recommend(Histories.of([longer], histories.items), 12)
    assert_same_list(answer, expected.row(0))


def test_what_was_seen_comes_back_when_it_is_asked_for(served_root, models):
    recommender = serves(served_root, models, "tower alone")
    seen = set(Workspace(served_root).history("user-0").items)
    assert seen.isdisjoint(ids(recommender.recommend(Request("user-0", k=18))))
    assert seen < set(ids(recommender.recommend(Request("user-0", k=18, exclude_seen=False))))


def test_each_row_tells_what_the_tower_gave(served_root, models, scorers, histories):
    answer = serves(served_root, models, "borda").recommend(Request("user-1", k=6))
    given = scorers[1].score(histories)[1]
    for row in answer.rows:
        assert row.by == ("retrieve", "tower", "item-knn")
        assert row.stages["tower"] == pytest.approx(float(given[histories.items.index(row.item_id)]), abs=1e-5)
    alone = serves(served_root, models, "tower alone").recommend(Request("user-1", k=6))
    assert all((row.by, set(row.stages)) == (("tower",), {"tower", "fuse"}) for row in alone.rows)


def test_the_language_model_and_explanations_follow_the_tower(served_root, models):
    recommender = serves(served_root, models, "tower alone")
    plain, full = (recommender.recommend(Request("user-0", k=3, mode=mode, explain=True)) for mode in ("auto", "full"))
    assert ids(full) == ids(plain)
    assert all("rank" in row.stages for row in full.rows)


@pytest.mark.parametrize(
    "request_",
    [
        Request(likes=("Bread Days",), k=5),
        Request("user-0", query="lone riders", k=5),
        Request("user-0", mode="retrieval", k=5),
        Request(query="lone riders", k=5),
    ],
    ids=["likes", "user and query", "mode retrieval", "query"],
)
def test_requests_without_a_fusion_do_not_need_the_tower(request_, served_root, models):
    plain = Recommender(Workspace(served_root), PLANTED_SETTINGS, models)
    assert serves(served_root, models).recommend(request_).rows == plain.recommend(request_).rows


def test_the_tower_is_loaded_as_it_was_saved_without_vectors(served_root, scorers):
    tower = load(served_root).tower
    assert tower.config == scorers[1].config
    np.testing.assert_array_equal(tower.weights, scorers[1].weights)
    np.testing.assert_array_equal(tower.popular, scorers[1].popular)
    folder = version_folder(served_root)
    assert set(load_file(folder / "tower.safetensors")) == {"weights", "popular"}
    assert not (folder / "tower.json").exists()
    assert "tower" not in load(served_root).scorers


def test_a_fusion_in_which_the_tower_has_no_say_does_not_read_it(copied):
    (version_folder(copied) / "tower.safetensors").unlink()
    assert load(copied, "cascade").tower is None
    with pytest.raises(ModelError, match=r"cannot be read .*run: whyrec tune"):
        load(copied, "single")


DAMAGE = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "empty": lambda path: path.write_bytes(b""),
    "other": lambda path: path.write_bytes(b"\xff something else"),
    "other arrays": lambda path: save_file({"weights": np.zeros((3, 3))}, path),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_weights_are_named(damage, copied):
    DAMAGE[damage](version_folder(copied) / "tower.safetensors")
    with pytest.raises(ModelError, match=r"cannot be read .*run: whyrec tune"):
        load(copied)


@pytest.mark.parametrize("parameters", [None, {"colour": 1}, {"taste": -1}, []])
def test_parameters_of_the_tower_that_cannot_be_used_are_damaged(parameters, copied):
    path = version_folder(copied) / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "tower": parameters}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"cannot be read .*run: whyrec tune"):
        load(copied)


class OtherEncoder(WordEncoder):
    """The same items by another model."""

    fingerprint = "other-encoder"

    def __init__(self, dimension):
        self.dimension = dimension

    def encode(self, texts):
        return super().encode([text[::-1] for text in texts])


@pytest.mark.parametrize("dimension", [32, 64])
def test_a_tower_trained_on_the_vectors_of_another_encoder_is_refused(dimension, copied, tmp_path):
    other, workspace = OtherEncoder(dimension), Workspace(copied)
    delete_collection(workspace.index_path)
    index = ItemIndex(workspace.index_path, other.fingerprint, create=True)
    index.update(workspace.catalog, index.changes(workspace.catalog), other)
    index.complete(workspace.catalog_fingerprint)
    models = PlantedModels(tmp_path / "lm")
    models.encoder_fingerprint, models.encoder = other.fingerprint, other
    with pytest.raises(WhyrecError, match="whyrec tune"):
        Recommender(workspace, PLANTED_SETTINGS, models, serving(workspace, PLANTED_SETTINGS)).recommend(
            Request("user-0")
        )
