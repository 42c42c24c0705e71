"""Words are found as they stand, beside what they mean."""

import shutil

import numpy as np
import polars as pl
import pytest
from conftest import WordEncoder
from planted_models import PLANTED_SETTINGS, PlantedModels

from agent.recommender import Recommender
from agent.request import Request
from retrieval.data.catalog import Catalog
from retrieval.data.workspace import Workspace
from retrieval.errors import IndexMismatchError, WorkspaceError
from retrieval.text.lexical import LexicalIndex, open_lexical, words, write_lexical
from retrieval.text.profile import Profile, interest_in
from retrieval.text.retriever import TextRetriever

TITLES = ["Zatoichi", "The Blind Swordsman", "Zatoichi Zatoichi", "Amélie", "東京物語 Tokyo Story", "قصة مدينة", "Up"]


def catalog(titles=TITLES):
    return Catalog(pl.DataFrame({"item_id": [f"i{n}" for n in range(len(titles))], "title": titles}))


@pytest.fixture(scope="module")
def lexical():
    return LexicalIndex.build(catalog())


def best(lexical, query, k=5, **limits):
    return lexical.best(lexical.scores(query), k, limits.pop("among", None), **limits)


def test_scores_are_bm25():
    """By hand (k1 = 1.5, b = .75), over the idf of all words of the query; "z" is in no text."""
    texts = ["a b", "a", "c c c"]
    common, absent = np.log(1 + 1.5 / 2.5), np.log(1 + 3.5 / 0.5)
    weights = np.array([1 / (1 + 1.5 * (0.25 + 0.75 * length / 2)) for length in (2, 1)])
    lexical = LexicalIndex.build(catalog(texts))
    np.testing.assert_allclose(lexical.scores("a"), [*weights, 0], rtol=1e-5)
    np.testing.assert_allclose(lexical.scores("a z"), [*weights * common / (common + absent), 0], rtol=1e-5)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("zatoichi", ["i2", "i0"]),
        ("ZATOICHI swordsman", ["i2", "i0", "i1"]),
        ("amelie", ["i3"]),
        ("AMÉLIE", ["i3"]),
        ("東京物語", ["i4"]),
        ("مدينة", ["i5"]),
        ("kurosawa", []),
        ("", []),
        ("🤖 ?!", []),
        ("up " + "nothing " * 10_000, ["i6"]),
    ],
)
def test_words_are_found(lexical, query, expected):
    assert best(lexical, query) == expected


def test_limits_hold(lexical):
    assert best(lexical, "zatoichi", k=1) == ["i2"]
    assert best(lexical, "zatoichi", among=["i0", "i3"]) == ["i0"]
    assert best(lexical, "zatoichi", exclude=frozenset({"i2"})) == ["i0"]
    scores = lexical.scores("zatoichi up")
    np.testing.assert_array_equal(lexical.of(scores, ["i6", "i1", "i0"]), scores[[6, 1, 0]])


def test_ties_go_by_id():
    lexical = LexicalIndex.build(catalog(["same words", "same words", "other", "same words"]))
    assert best(lexical, "words", k=2) == ["i0", "i1"]


def test_words_are_split_at_what_is_no_letter():
    assert words("Straße (2000): l'Été—Ünder_way") == ["strasse", "2000", "l", "ete", "under_way"]


def test_a_rare_word_brings_its_item_and_meaning_the_others(planted, planted_index):
    """The encoder knows no such word; without a match it alone decides."""
    lexical, meant = open_lexical(planted), interest_in(WordEncoder().encode(["moon"]))
    plain = TextRetriever(planted_index).retrieve([Profile((), asked=meant)], 5)
    rare = Profile((), words="Garlic", asked=meant)
    first = TextRetriever(planted_index, lexical).retrieve([rare], 5).ids[0, 0]
    assert "garlic" in words(planted.catalog.text(first))
    assert "garlic" not in words(planted.catalog.text(plain.ids[0, 0]))
    unknown = Profile((), words="Xyzzy", asked=meant)
    assert TextRetriever(planted_index, lexical).retrieve([unknown], 5).ids.tolist() == plain.ids.tolist()


def test_filters_and_what_was_seen_hold_for_words(planted_root, tmp_path):
    recommender = Recommender(Workspace(planted_root), PLANTED_SETTINGS, PlantedModels(tmp_path))
    answer = recommender.recommend(Request(query="garlic", where="topics ~ western", k=9))
    assert {row.item_id.partition("-")[0] for row in answer.rows} == {"western"}
    assert recommender.recommend(Request(query="Garlic Road", k=1)).rows[0].item_id == "cooking-5"
    among = frozenset({"space-1", "cooking-5"})
    assert recommender.recommend(Request(query="Garlic", k=2, among=among)).rows[0].item_id == "cooking-5"
    seen = Workspace(planted_root).history("user-0").items[0]
    title = Workspace(planted_root).catalog.title(seen)
    assert seen not in {row.item_id for row in recommender.recommend(Request("user-0", query=title, k=9)).rows}


def test_it_is_written_once_for_each_catalog(planted_root, tmp_path):
    workspace = Workspace(shutil.copytree(planted_root, tmp_path / "copy"))
    folder = workspace.root / "lexical"
    (folder / "0123456789abcdef").mkdir()
    before = (folder / workspace.catalog_fingerprint).stat().st_mtime_ns
    write_lexical(workspace)
    assert [path.name for path in folder.iterdir()] == [workspace.catalog_fingerprint]
    assert (folder / workspace.catalog_fingerprint).stat().st_mtime_ns == before


def test_a_missing_or_damaged_one_says_what_to_do(planted_root, tmp_path):
    workspace = Workspace(shutil.copytree(planted_root, tmp_path / "copy"))
    for path in (workspace.root / "lexical" / workspace.catalog_fingerprint).glob("*.json"):
        path.write_text("{")
    with pytest.raises(WorkspaceError, match="delete it and run: whyrec index"):
        open_lexical(workspace)
    shutil.rmtree(workspace.root / "lexical")
    with pytest.raises(IndexMismatchError, match="run: whyrec index"):
        open_lexical(workspace)
