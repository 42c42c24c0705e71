"""The index holds what the catalog holds, survives being stopped, and says when it is damaged."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import WordEncoder

from retrieval.data.catalog import Catalog
from retrieval.errors import IndexMismatchError, WorkspaceError
from retrieval.text import chroma as chroma_module
from retrieval.text import index as index_module
from retrieval.text.chroma import delete_collection
from retrieval.text.index import ItemIndex

MANY = 1200  # Chroma writes the vectors to their folder after 1,000


class SmallEncoder(WordEncoder):
    """Few dimensions, a count of what was encoded, and an error that comes with the batch of a given number."""

    dimension = 4

    def __init__(self, error=None, fails_at=3):
        self.encoded, self.batches, self.error, self.fails_at = [], 0, error, fails_at

    def encode(self, texts):
        self.batches += 1
        if self.error is not None and self.batches == self.fails_at:
            raise self.error
        self.encoded += texts
        return super().encode(texts)


def catalog_of(*rows: dict) -> Catalog:
    kinds = {"item_id": pl.String, "title": pl.String, "year": pl.Int64, "topics": pl.List(pl.String)}
    return Catalog(pl.DataFrame(rows, schema=kinds))


def numbered(n: int) -> Catalog:
    return catalog_of(*({"item_id": f"{i:04}", "title": f"word{i}", "year": i} for i in range(n)))


def filled(path: Path, catalog: Catalog, encoder=None, **options) -> ItemIndex:
    encoder = encoder or SmallEncoder()
    index = ItemIndex(path, encoder.fingerprint, create=True)
    index.update(catalog, index.changes(catalog), encoder, **options)
    return index


def opened(path: Path) -> ItemIndex:
    return ItemIndex(path, SmallEncoder.fingerprint)


OLD = catalog_of(
    {"item_id": "kept", "title": "Moon", "year": 1990},
    {"item_id": "changed", "title": "Salt", "year": 1991, "topics": ["cooking"]},
    {"item_id": "gone", "title": "Dust", "year": 1992},
)
NEW = catalog_of(
    {"item_id": "new", "title": "Comet", "year": 1993},
    {"item_id": "changed", "title": "Salt", "topics": ["drama"]},
    {"item_id": "kept", "title": "Moon", "year": 1990},
)


def test_changes_of_an_empty_index_are_all_items(tmp_path):
    changes = ItemIndex(tmp_path, "word-encoder", create=True).changes(OLD)
    assert (changes.write, changes.delete, changes.unchanged) == (["kept", "changed", "gone"], [], 0)


def test_changes_are_new_changed_and_deleted_items(tmp_path):
    changes = filled(tmp_path, OLD).changes(NEW)
    assert changes.write == ["new", "changed"]
    assert sorted(changes.delete) == ["changed", "gone"]
    assert changes.unchanged == 1


def test_an_update_carries_the_changes_out_and_is_kept_on_disk(tmp_path):
    index = filled(tmp_path, OLD)
    encoder = SmallEncoder()
    index.update(NEW, index.changes(NEW), encoder)
    assert encoder.encoded == [NEW.text(item_id) for item_id in ("changed", "new")]
    again = opened(tmp_path).changes(NEW)
    assert (again.write, again.delete, again.unchanged, len(index)) == ([], [], 3, 3)


@pytest.mark.parametrize(
    ("where", "before", "after"),
    [
        ({"year": {"$eq": 1991}}, ["changed"], []),
        ({"topics": {"$contains": "cooking"}}, ["changed"], []),
        ({"topics": {"$contains": "drama"}}, [], ["changed"]),
        ({"year": {"$gte": 1992}}, ["gone"], ["new"]),
    ],
)
def test_values_that_an_item_no_longer_has_are_gone(tmp_path, where, before, after):
    index = filled(tmp_path, OLD)
    query = SmallEncoder().encode(["moon"])
    assert index.search(query, 5, where) == before
    index.update(NEW, index.changes(NEW), SmallEncoder())
    assert index.search(query, 5, where) == after


@pytest.mark.parametrize(("n", "steps"), [(0, []), (1, [1]), (4, [4]), (8, [4, 4]), (11, [4, 4, 3])])
def test_progress_adds_up_to_the_total(tmp_path, monkeypatch, n, steps):
    monkeypatch.setattr(index_module, "CHUNK", 4)
    told = []
    index = filled(tmp_path, numbered(n), progress=told.append)
    assert told == steps
    assert len(index) == n


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("out of memory")])
def test_an_update_that_was_stopped_is_taken_up_where_it_stood(tmp_path, monkeypatch, error):
    monkeypatch.setattr(index_module, "CHUNK", 4)
    catalog, stopped, second = numbered(10), SmallEncoder(error), SmallEncoder()
    with pytest.raises(type(error)):
        filled(tmp_path, catalog, stopped)
    index = opened(tmp_path)
    assert len(index) == 4
    assert len(index.search(SmallEncoder().encode(["word1"]), 3)) == 3
    filled(tmp_path, catalog, second)
    sample, written = stopped.encoded[:10], stopped.encoded[10:] + second.encoded
    assert sorted(sample) == sorted(written) == sorted(catalog.text(item_id) for item_id in catalog.ids)
    assert opened(tmp_path).changes(catalog).unchanged == 10


def test_an_index_of_another_encoder_is_refused(tmp_path):
    filled(tmp_path, OLD)
    for create in (True, False):
        with pytest.raises(IndexMismatchError, match=r"another encoder \(word-encoder, now other\); rebuild it with"):
            ItemIndex(tmp_path, "other", create=create)


def test_a_missing_index_is_named(tmp_path):
    path = tmp_path / "index"
    with pytest.raises(IndexMismatchError, match="has no index yet; make it with: whyrec index"):
        opened(path)
    assert not path.exists()


def test_vectors_come_in_the_order_of_the_ids(tmp_path):
    index, wanted = filled(tmp_path, OLD), ["gone", "kept", "changed"]
    expected = SmallEncoder().encode([OLD.text(item_id) for item_id in wanted])
    assert index.vectors(wanted).dtype == np.float32
    np.testing.assert_allclose(index.vectors(wanted), expected, atol=1e-6)
    assert len(index.vectors([])) == 0


def test_vectors_of_an_item_that_is_not_in_the_index(tmp_path):
    with pytest.raises(IndexMismatchError, match=r"lacks 2 items of the catalog, such as 'new'; run: whyrec index"):
        filled(tmp_path, OLD).vectors(["kept", "new", "newer"])


@pytest.fixture(scope="module")
def many_path(tmp_path_factory) -> Path:
    """A folder with an index of 1,200 items. Read only: copy it before changing it."""
    path = tmp_path_factory.mktemp("many") / "index"
    filled(path, numbered(MANY))
    return path


@pytest.mark.parametrize("k", [1, 10, 99, 500, MANY + 1])
def test_search_brings_k_when_there_are_k(many_path, k):
    index, query = opened(many_path), SmallEncoder().encode(["word7"])
    exclude = frozenset(f"{i:04}" for i in range(0, MANY, 2))
    for low in (0, 600, 1190):
        fitting = {f"{i:04}" for i in range(low, MANY)}
        found = index.search(query, k, {"year": {"$gte": low}})
        assert set(found) <= fitting
        assert len(found) == min(k, len(fitting))
        found = index.search(query, k, {"year": {"$gte": low}}, exclude)
        assert set(found) <= fitting - exclude
        assert len(found) == min(k, len(fitting - exclude))


def test_search_brings_k_after_most_items_were_deleted(many_path, tmp_path):
    shutil.copytree(many_path, tmp_path / "index")
    index = opened(tmp_path / "index")
    index.delete([f"{i:04}" for i in range(1100)])
    assert len(index.search(SmallEncoder().encode(["word7"]), 100)) == 100


@pytest.mark.slow
def test_more_items_than_one_statement_of_sqlite_takes(tmp_path):
    catalog = numbered(33_000)
    index, vectors = ItemIndex(tmp_path, SmallEncoder.fingerprint, create=True), np.eye(33_000, 2, dtype=np.float32)
    for start in range(0, 33_000, 3_000):
        index._write(catalog, catalog.ids[start : start + 3_000], vectors[start : start + 3_000])
    assert index.changes(catalog).unchanged == 33_000
    assert index.changes(numbered(5)).delete == catalog.ids[5:]
    assert len(index.ids({"year": {"$gte": 100}})) == 32_900
    index.delete(catalog.ids[5:])
    assert index.changes(numbered(5)).unchanged == len(index) == 5


def test_search_unites_what_several_queries_bring(many_path):
    wanted = ["0003", "0700", "1150"]
    index = opened(many_path)
    assert index.search(index.vectors(wanted), 1) == wanted


def cut(files: str, share: float):
    def damage(path: Path) -> None:
        for file in path.glob(files):
            with file.open("r+b") as content:
                content.truncate(int(file.stat().st_size * share))

    return damage


def remove(files: str):
    def damage(path: Path) -> None:
        for found in path.glob(files):
            shutil.rmtree(found) if found.is_dir() else found.unlink()

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(cut("chroma.sqlite3", 0.5), id="database cut"),
        pytest.param(cut("*/data_level0.bin", 0.5), id="vectors cut"),
        pytest.param(cut("*/index_metadata.pickle", 0.5), id="names cut"),
        pytest.param(cut("*/header.bin", 0.5), id="header cut"),
        pytest.param(cut("*/link_lists.bin", 0.4), id="links cut"),
        pytest.param(cut("*/*", 0), id="files empty"),
        pytest.param(remove("*/header.bin"), id="header gone"),
        pytest.param(remove("*/link_lists.bin"), id="links gone"),
        pytest.param(remove("*-*"), id="folder gone"),
    ],
)
def test_a_damaged_index_names_its_folder_and_the_way_out(many_path, tmp_path, damage):
    path = tmp_path / "index"
    shutil.copytree(many_path, path)
    damage(path)
    with pytest.raises(WorkspaceError, match=r"the index in .*whyrec index --rebuild") as caught:
        opened(path).search(SmallEncoder().encode(["word7"]), 5)
    assert str(path) in str(caught.value)

    delete_collection(path)
    assert not path.exists()
    assert len(filled(path, OLD)) == 3


def test_deleting_an_index_that_is_not_there_is_no_error(tmp_path):
    delete_collection(tmp_path / "index")
    assert list(tmp_path.iterdir()) == []


def test_more_ids_than_one_statement_takes(planted_index, planted, monkeypatch):
    everything = planted.catalog.ids
    whole = planted_index.vectors(everything)
    found = planted_index.search(whole[:1], 3, exclude=frozenset(everything[:9]))
    monkeypatch.setattr(index_module, "MOST_IDS", 4)
    monkeypatch.setattr(chroma_module, "PAGE", 4)
    np.testing.assert_array_equal(planted_index.vectors(everything), whole)
    assert planted_index.search(whole[:1], 3, exclude=frozenset(everything[:9])) == found
    assert len(found) == 3
