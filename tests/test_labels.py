"""Soft labels on disk: nothing is lost, nothing counts twice, and nobody learns from a stranger's."""

import pytest

from retrieval.data.histories import history_hash
from retrieval.data.labels import Label, LabelStore
from retrieval.errors import InputError


def label(item, teacher="t1", user="ann", history="h1", ranked=None, score=1.0):
    return Label(teacher, user, history, item, 0.5, ranked, score)


@pytest.fixture
def store(tmp_path):
    return LabelStore(tmp_path / "labels")


def test_labels_come_back_as_they_were(store):
    store.add([label("a", ranked=-1.5), label("b", score=2.0)])
    store.add([label("c", user="bob")])
    found, damaged = store.read()
    assert damaged == 0
    assert found.rows() == [
        ("t1", "ann", "h1", "a", 0.5, -1.5, 1.0),
        ("t1", "ann", "h1", "b", 0.5, None, 2.0),
        ("t1", "bob", "h1", "c", 0.5, None, 1.0),
    ]


def test_a_list_that_is_labelled_again_takes_the_place_of_the_first(store):
    store.add([label("a"), label("b"), label("a", history="h2")])
    store.add([label("b", score=7.0), label("c")])
    found, _ = store.read()
    assert [(row[2], row[3], row[6]) for row in found.rows()] == [("h2", "a", 1.0), ("h1", "b", 7.0), ("h1", "c", 1.0)]


def test_a_damaged_part_is_counted_and_left_out(store, tmp_path):
    store.add([label("a")])
    store.add([label("b", user="bob")])
    part = tmp_path / "labels" / "part-000001.parquet"
    part.write_bytes(part.read_bytes()[:100])
    found, damaged = store.read()
    assert damaged == 1
    assert found["item_id"].to_list() == ["b"]
    store.add([label("c", user="cid")])
    assert {path.name for path in (tmp_path / "labels").iterdir()} == {f"part-00000{n}.parquet" for n in (1, 2, 3)}


def test_a_half_written_part_is_none(store, tmp_path):
    store.add([label("a")])
    (tmp_path / "labels" / "part-000002.unfinished").write_bytes(b"PAR1")
    assert len(store.read()[0]) == 1
    store.add([label("b", user="bob")])
    assert len(store.read()[0]) == 2


def test_labels_of_another_teacher_are_refused(store):
    with pytest.raises(InputError, match="no labels to learn from; make some with: whyrec label -w here"):
        store.of("t1", "whyrec label -w here")
    store.add([label("a"), label("b", teacher="t2")])
    assert store.of("t1", "whyrec label")[0]["item_id"].to_list() == ["a"]
    with pytest.raises(InputError, match=r"of another teacher \(t1, t2; now it is t3\)"):
        store.of("t3", "whyrec label")


def test_a_history_is_known_by_its_items_and_values_whatever_their_order():
    known = history_hash(["a", "b"], [4.0, 2.5])
    assert known == history_hash(["b", "a"], [2.5, 4.0])
    assert len({known, history_hash(["a", "b"], [2.5, 4.0]), history_hash(["a"], [4.0]), history_hash([], [])}) == 4
