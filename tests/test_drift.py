"""The index whitens all its vectors alike, and notices when the catalog is no longer the one it was fitted on."""

import numpy as np
import pytest
from conftest import WordEncoder
from test_index import catalog_of

from retrieval.errors import IndexMismatchError, ModelError
from retrieval.text import index as index_module
from retrieval.text import whitening as whitening_module
from retrieval.text.chroma import ChromaCollection, delete_collection
from retrieval.text.index import Changes, ItemIndex
from retrieval.text.spread import Spread
from retrieval.text.whitening import Whitening

NOTHING = Changes([], [], 0)


class TopicEncoder(WordEncoder):
    """The word encoder with fewer dimensions, a draft of its own and a count of what it read."""

    dimension = 24

    def __init__(self, error=None, fails_at=0):
        self.batches, self.error, self.fails_at = [], error, fails_at

    def encode(self, texts):
        self.batches.append(list(texts))
        if len(self.batches) == self.fails_at:
            raise self.error
        return super().encode(texts)


def stories(n, topic="space", start=0):
    """Items with a word of their own each, and words that all of a topic share."""
    rows = (
        {"item_id": f"{topic}-{i:05}", "title": f"w{i}", "topics": [topic, "story"]} for i in range(start, start + n)
    )
    return catalog_of(*rows)


def both(one, other):
    return type(one)(one.frame.vstack(other.frame))


def fitted(path, catalog):
    """An index with the whitening of this catalog, and without items."""
    index = ItemIndex(path, TopicEncoder.fingerprint, create=True)
    index.update(catalog, NOTHING, TopicEncoder())
    return index


def filled(path, catalog, encoder=None):
    index = ItemIndex(path, TopicEncoder.fingerprint, create=True)
    index.update(catalog, index.changes(catalog), encoder or TopicEncoder())
    return index


def opened(path):
    return ItemIndex(path, TopicEncoder.fingerprint)


def texts_of(catalog):
    return [catalog.text(item_id) for item_id in catalog.ids]


def test_before_anything_is_written_there_is_no_whitening(tmp_path):
    index = ItemIndex(tmp_path, TopicEncoder.fingerprint, create=True)
    assert index.whitening is None
    assert not index.has_drifted(stories(3), TopicEncoder())
    with pytest.raises(IndexMismatchError, match="the index is empty; run: whyrec index"):
        index.encode(TopicEncoder(), ["moon"])


@pytest.mark.parametrize("items", [1, 99, 100, 1001])
def test_items_and_words_go_through_the_same_whitening(tmp_path, items):
    catalog = stories(items)
    filled(tmp_path, catalog)
    index = opened(tmp_path)
    raw = TopicEncoder().encode(texts_of(catalog))
    expected = Whitening.fit(raw)(raw)
    np.testing.assert_allclose(index.vectors(catalog.ids), expected, atol=1e-4)
    np.testing.assert_allclose(index.encode(TopicEncoder(), texts_of(catalog)), expected, atol=1e-4)
    assert index.whitening.items == items
    assert index.search(index.encode(TopicEncoder(), [catalog.text(catalog.ids[-1])]), 1) == [catalog.ids[-1]]


def test_the_whitening_is_kept_on_disk_beside_what_else_is_known(tmp_path):
    index = filled(tmp_path, stories(120))
    index.complete("fingerprint")
    again = opened(tmp_path)
    assert again.whitening.to_text() == index.whitening.to_text()
    assert again.made_from == "fingerprint"


def test_it_is_fitted_once_and_later_items_go_through_the_same(tmp_path):
    filled(tmp_path, stories(120))
    index, grown, encoder = opened(tmp_path), stories(125), TopicEncoder()
    before = index.whitening
    index.update(grown, index.changes(grown), encoder)
    assert sum(map(len, encoder.batches)) == 5
    assert opened(tmp_path).whitening.to_text() == before.to_text()
    raw = TopicEncoder().encode(texts_of(grown))
    np.testing.assert_allclose(opened(tmp_path).vectors(grown.ids), before(raw), atol=1e-5)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("out of memory")])
@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_stopped_in_the_middle_all_vectors_still_go_through_one_whitening(tmp_path, monkeypatch, error, fails_at):
    monkeypatch.setattr(index_module, "CHUNK", 50)
    catalog = stories(120)
    with pytest.raises(type(error)):
        filled(tmp_path, catalog, TopicEncoder(error, fails_at))
    filled(tmp_path, catalog)
    raw = TopicEncoder().encode(texts_of(catalog))
    np.testing.assert_allclose(opened(tmp_path).vectors(catalog.ids), Whitening.fit(raw)(raw), atol=1e-4)


@pytest.mark.parametrize(
    ("before", "after", "drifted"),
    [
        (1, 2, False), (5, 99, False), (99, 100, True), (5, 400, True), (120, 121, False), (120, 240, False),
        (200, 999, False), (999, 1000, True), (1000, 1001, False), (1200, 4500, False), (0, 5, False), (0, 120, True),
    ],
)  # fmt: skip
def test_growing_past_a_grade_is_noticed_and_growing_by_the_same_kind_is_not(tmp_path, before, after, drifted):
    assert fitted(tmp_path, stories(before)).has_drifted(stories(after), TopicEncoder()) == drifted


@pytest.mark.parametrize(("before", "after"), [(100, 99), (1000, 400), (120, 0)])
def test_shrinking_below_a_grade_is_noticed(tmp_path, before, after):
    assert fitted(tmp_path, stories(before)).has_drifted(stories(after), TopicEncoder())


@pytest.mark.parametrize("items", [120, 1200])
def test_another_topic_is_noticed(tmp_path, items):
    old, new = stories(items), stories(items, "cooking", start=items)
    index = fitted(tmp_path, old)
    assert index.has_drifted(new, TopicEncoder())
    assert index.has_drifted(both(old, new), TopicEncoder())
    assert not index.has_drifted(both(old, stories(3, "cooking", start=items)), TopicEncoder())


@pytest.mark.parametrize("items", [0, 1, 99, 100, 1000])
def test_what_was_just_fitted_has_not_drifted(tmp_path, items):
    index = fitted(tmp_path, stories(items))
    assert not index.has_drifted(stories(items), TopicEncoder())
    assert not opened(tmp_path).has_drifted(stories(items), TopicEncoder())


def test_made_anew_after_a_drift_there_is_none(tmp_path):
    old, new = stories(120), both(stories(120), stories(120, "cooking"))
    assert filled(tmp_path, old).has_drifted(new, TopicEncoder())
    delete_collection(tmp_path)
    index = filled(tmp_path, new)
    assert index.whitening.items == 240
    assert not index.has_drifted(new, TopicEncoder())
    assert len(index) == 240


def test_a_large_catalog_is_sampled_and_always_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(whitening_module, "SAMPLE", 150)
    catalog, first, second, third = stories(400), TopicEncoder(), TopicEncoder(), TopicEncoder()
    index = ItemIndex(tmp_path / "a", first.fingerprint, create=True)
    index.update(catalog, NOTHING, first)
    assert index.whitening.items == 150
    (sample,) = first.batches
    assert len(set(sample)) == 150
    assert set(sample) < set(texts_of(catalog))
    assert all(set(sample) & set(texts_of(catalog)[start : start + 100]) for start in (0, 100, 200, 300))
    ItemIndex(tmp_path / "b", first.fingerprint, create=True).update(catalog, NOTHING, second)
    assert second.batches == first.batches
    assert not index.has_drifted(catalog, third)
    assert sorted(third.batches[0]) == sorted(sample)
    assert not index.has_drifted(stories(401), TopicEncoder())


def test_a_sample_of_as_many_as_there_are_is_all(tmp_path, monkeypatch):
    monkeypatch.setattr(whitening_module, "SAMPLE", 120)
    encoder = TopicEncoder()
    ItemIndex(tmp_path, encoder.fingerprint, create=True).update(stories(120), NOTHING, encoder)
    assert sorted(encoder.batches[0]) == sorted(texts_of(stories(120)))


def test_items_that_all_have_the_same_text_are_found_all_the_same(tmp_path):
    catalog = catalog_of(*({"item_id": f"{i:03}", "title": "Untitled"} for i in range(120)))
    index = filled(tmp_path, catalog)
    assert not index.vectors(catalog.ids).any()
    for text in ("untitled", "something else"):
        assert len(index.search(index.encode(TopicEncoder(), [text]), 7)) == 7


def test_a_damaged_whitening_is_an_error(tmp_path):
    index = filled(tmp_path, stories(3))
    index._collection.remember("whitening", index.whitening.to_text()[:-9])
    with pytest.raises(ModelError, match="the whitening of the index cannot be read"):
        opened(tmp_path).encode(TopicEncoder(), ["moon"])
    with pytest.raises(ModelError, match="the whitening of the index cannot be read"):
        opened(tmp_path).has_drifted(stories(3), TopicEncoder())


def test_vectors_that_were_never_whitened_do_not_stay_beside_whitened_ones(tmp_path):
    catalog = stories(120)
    index = ItemIndex(tmp_path, TopicEncoder.fingerprint, create=True)
    assert not index.is_older  # there is nothing in it
    index._write(catalog, catalog.ids, TopicEncoder().encode(texts_of(catalog)))
    assert opened(tmp_path).is_older


def test_how_far_texts_spread_is_kept_with_the_index(tmp_path):
    catalog = stories(120)
    index = filled(tmp_path, catalog)
    expected = Spread.of_catalog(index.vectors(catalog.ids))
    kept = opened(tmp_path).spread
    assert kept.items == 120
    np.testing.assert_allclose(kept.moments, expected.moments, rtol=1e-4)


@pytest.mark.parametrize("name", ["spread", "whitening"])
def test_stopped_before_all_is_kept_it_is_fitted_anew(tmp_path, monkeypatch, name):
    remember = ChromaCollection.remember

    def stop(self, *one):
        if one[0] == name:
            raise KeyboardInterrupt
        remember(self, *one)

    with monkeypatch.context() as patch:
        patch.setattr(ChromaCollection, "remember", stop)
        with pytest.raises(KeyboardInterrupt):
            filled(tmp_path, stories(120))
    filled(tmp_path, stories(120))
    assert not opened(tmp_path).is_older
    assert opened(tmp_path).spread.items == 120


def test_an_index_without_the_spread_says_what_to_do(tmp_path, monkeypatch):
    remember = ChromaCollection.remember
    monkeypatch.setattr(ChromaCollection, "remember", lambda self, *one: one[0] == "spread" or remember(self, *one))
    filled(tmp_path, stories(120))
    assert opened(tmp_path).is_older
    with pytest.raises(IndexMismatchError, match=r"how far its texts spread; run: whyrec index"):
        _ = opened(tmp_path).spread
