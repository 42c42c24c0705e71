"""Items that come later: into the catalog, the index, the scorers that serve and the student, all at once."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
from ranker_world import environment, indexed_world, opened, said_by, tune_ranker, whyrec

from agent.stored_student import STUDENT, current_student
from finetune.ranker import LMRanker
from retrieval.cf.live import TEXT_ALONE, described
from retrieval.data.further_items import add_items
from retrieval.data.readers import Table
from retrieval.data.workspace import Workspace, create_workspace
from retrieval.errors import InputError

NEW = {
    "item_id": ["aaa-new", "western-new"],
    "title": ["Space Tale New", "Western Tale New"],
    "topics": ["space", "western"],
    "about": ["a story of space and a0 in space", "a story of western and b1 in western"],
}
ALONE = {"WHYREC_RANKING__RANKER": "off"}


pytestmark = pytest.mark.usefixtures("exactly")


@pytest.fixture(scope="module")
def world(tmp_path_factory, folders):
    """A workspace with a fusion and a student. Read only."""
    root = indexed_world(tmp_path_factory.mktemp("world") / "ws", folders)
    for words in (("tune",), ("label",), ("distill",)):
        assert whyrec(*words, "--trials", "1", "-w", root, **environment(folders) | ALONE).exit_code == 0
    return root


@pytest.fixture
def root(world, tmp_path):
    return shutil.copytree(world, tmp_path / "ws")


def table(tmp_path, **changes):
    path = tmp_path / "new.csv"
    pl.DataFrame(NEW | changes).write_csv(path)
    return path


def listed(root, folders, *words):
    result = whyrec("recommend", *words, "-f", "json", "-w", root, **environment(folders) | ALONE)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), result.stderr


@pytest.mark.parametrize("mode", ["fast", "auto", "retrieval"])
def test_a_new_item_is_recommended_at_once(root, folders, tmp_path, mode):
    before, _ = listed(root, folders, "user-00", "--mode", mode, "-k", "80")
    result = whyrec("add-items", table(tmp_path), "-w", root, **environment(folders) | ALONE)
    assert result.exit_code == 0, result.output
    assert "Known now to the index and the scorers and the student" in result.stderr
    rows, notes = listed(root, folders, "user-00", "--mode", mode, "-k", "80")
    assert len(rows) == len(before) + 2
    assert "renew" not in notes
    places = [row["item_id"] for row in rows]
    assert places.index("aaa-new") < places.index("western-new")  # who likes stories of space


def test_what_was_there_is_scored_as_before(root, folders, tmp_path):
    before, _ = listed(root, folders, "user-00", "--mode", "fast", "-k", "80")
    assert whyrec("add-items", table(tmp_path), "-w", root, **environment(folders) | ALONE).exit_code == 0
    rows, _ = listed(root, folders, "user-00", "--mode", "fast", "-k", "80")
    kept = {row["item_id"]: row["score"] for row in rows if not row["item_id"].endswith("-new")}
    assert kept == {row["item_id"]: row["score"] for row in before}
    student = current_student(root / STUDENT)
    assert student.student.items == len(Workspace(root).catalog)
    assert np.isfinite(student.student.vectors).all()


def test_the_language_model_is_asked_about_new_items_alone(root, folders, tmp_path, monkeypatch):
    assert tune_ranker(root, folders).exit_code == 0
    opened(root, 0.5, retrieval=described(TEXT_ALONE))
    asked = []
    score = LMRanker.score
    monkeypatch.setattr(LMRanker, "score", lambda ranker, requests: asked.extend(requests) or score(ranker, requests))
    words = ("label", "--lists", "6", "--trials", "1", "-w", root)
    text_alone = environment(folders) | {"WHYREC_RANKING__FUSION": "off"}
    assert whyrec(*words, **text_alone).exit_code == 0
    assert len(asked) == 6
    asked.clear()
    assert whyrec("add-items", table(tmp_path), "-w", root, **text_alone).exit_code == 0
    assert whyrec(*words, **text_alone).exit_code == 0
    assert asked
    assert {item_id for request in asked for item_id in request.candidates} <= set(NEW["item_id"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"item_id": ["space-01", "western-new"]}, "data row 1 ('space-01'): an id that is in the catalog already"),
        ({"item_id": ["a", "a"]}, "item_id used before"),
        ({"title": ["Space", ""]}, "data row 2 ('western-new'): no title"),
    ],
)
def test_what_cannot_be_added_changes_nothing(root, folders, tmp_path, changes, message):
    before = Workspace(root).catalog_fingerprint
    result = whyrec("add-items", table(tmp_path, **changes), "-w", root, **environment(folders) | ALONE)
    assert result.exit_code == 1
    assert message in result.stderr
    assert Workspace(root).catalog_fingerprint == before
    assert {path.name for path in (root / "data").iterdir()} == {"events", "import.json", "items.parquet"}


def test_a_wrong_file_is_named(root, folders, tmp_path):
    result = whyrec("add-items", tmp_path / "nothing.csv", "-w", root, **environment(folders))
    assert result.exit_code == 1
    assert "nothing.csv" in result.stderr


def test_unusable_rows_can_be_left_out(root):
    frame = pl.DataFrame(NEW | {"item_id": ["space-01", "western-new"]})
    ids, report = add_items(Workspace(root), Table(frame.lazy(), "new"), {}, skip_invalid=True)
    assert ids == ["western-new"]
    assert report.left_out == {"an id that is in the catalog already": 1}
    again = Table(frame.lazy(), "new")
    with pytest.raises(InputError, match="every item in it is in the catalog already"):
        add_items(Workspace(root), again, {}, skip_invalid=True)


def test_fields_take_the_types_of_the_catalog(root):
    frame = pl.DataFrame({"id": ["x", "y"], "name": ["X", "Y"], "topics": ["space", None], "price": [1, 2]})
    _, report = add_items(Workspace(root), Table(frame.lazy(), "new"), {"item_id": "id"})
    assert report.notes[-1] == "price: left out, the catalog has no such field"
    found = Workspace(root).catalog.frame.filter(pl.col("item_id").is_in(["x", "y"]))
    assert found["topics"].to_list() == [["space"], None]
    assert found["about"].to_list() == [None, None]


def test_a_field_of_another_kind_is_refused(tmp_path):
    events = pl.DataFrame({"user": ["u"], "item": ["a"]})
    items = pl.DataFrame({"item": ["a"], "title": ["A"], "year": [1990]})
    create_workspace(tmp_path / "ws", Table(items.lazy(), "items"), Table(events.lazy(), "events"))
    later = pl.DataFrame({"item": ["b"], "title": ["B"], "year": ["long ago"]})
    with pytest.raises(InputError, match="new: year holds other values than Int64"):
        add_items(Workspace(tmp_path / "ws"), Table(later.lazy(), "new"), {})
    half = later.with_columns(year=pl.lit(1990.5))
    with pytest.raises(InputError, match="year holds other values than Int64"):
        add_items(Workspace(tmp_path / "ws"), Table(half.lazy(), "new"), {})


def test_values_that_look_like_another_type_are_read_as_the_catalog_has_them(tmp_path):
    events = pl.DataFrame({"user": ["u"], "item": ["a"]})
    items = pl.DataFrame({"item": ["a"], "title": ["A"], "genres": ["Drama|War"], "release": ["v1"], "price": [1.5]})
    create_workspace(tmp_path / "ws", Table(items.lazy(), "items"), Table(events.lazy(), "events"))
    rows = {"item": list("bcdefghijklm"), "title": ["T"] * 12, "genres": ["Drama"] * 11 + ["Comedy | Drama"]}
    later = pl.DataFrame(rows | {"release": ["2.10"] * 12, "price": ["2"] * 12})
    add_items(Workspace(tmp_path / "ws"), Table(later.lazy(), "new"), {})
    last = Workspace(tmp_path / "ws").catalog.frame.tail(1)
    assert last["genres"].to_list() == [["Comedy", "Drama"]]
    assert last.select("release", "price").row(0) == ("2.10", 2.0)


def test_a_fusion_of_other_items_is_not_brought_back_to_life(root, folders, tmp_path):
    config = next((root / "models" / "fusion").glob("*/config.json"))
    config.write_text(json.dumps(json.loads(config.read_text()) | {"catalog": "others"}))
    result = whyrec("add-items", table(tmp_path), "-w", root, **environment(folders) | ALONE)
    assert result.exit_code == 0, result.output
    assert "the fusion was made for other items before already" in said_by(result)
    assert "Known now to the index and the student" in said_by(result)
    served = whyrec("recommend", "user-01", "-w", root, **environment(folders) | ALONE)
    assert served.exit_code == 1
    assert "the fusion was made for other items than the catalog has now" in said_by(served)


def test_with_an_index_of_another_encoder_nothing_is_added(root, folders, tmp_path):
    before = Workspace(root).catalog_fingerprint
    other = environment(folders) | ALONE | {"WHYREC_FEATURES__MODEL": "smollm2", "WHYREC_FEATURES__LAYERS": "1"}
    result = whyrec("add-items", table(tmp_path), "-w", root, **other)
    assert result.exit_code == 1
    assert Workspace(root).catalog_fingerprint == before
