"""What evidence is found for an item, and how it is called."""

from dataclasses import replace

import polars as pl
import pytest

from agent.attribution import TextAttribution
from agent.evidence import Cited, Evidence, SharedAttribute, Taste
from agent.evidence_finder import EvidenceFinder
from agent.protected import is_protected
from agent.verifier import problems
from retrieval.data.catalog import Catalog
from retrieval.text.scorers import SoftKnnConfig


def by_text(index):
    return TextAttribution(index.vectors, lambda: index.spread, SoftKnnConfig())


@pytest.fixture
def finder(planted, planted_index):
    return EvidenceFinder(planted.catalog, planted_index.vectors, by_text(planted_index))


def liked(*items, did="liked", query="", vector=None):
    return Taste(dict.fromkeys(items, did), query, vector)


def test_evidence_cites_the_nearest_liked_items_and_what_all_share(finder, planted):
    evidence = finder.find("space-5", liked("space-1", "space-3", "cooking-0", "western-1"))
    assert evidence.shape == "cited-common"
    assert {cited.item_id for cited in evidence.cited} == {"space-1", "space-3"}
    for attribute in evidence.attributes:
        assert attribute.specificity > 0
        for item in ("space-5", "space-1", "space-3"):
            assert attribute.value in {a.value for a in planted.catalog.attributes(item)}


def test_what_the_person_likes_no_more_than_chance_is_no_reason(finder):
    """Every second item of each topic is a drama; who likes one drama of four likes them less than chance would."""
    evidence = finder.find("space-1", liked("cooking-0", "cooking-1", "cooking-2", "cooking-4"))
    assert "drama" not in {attribute.value for attribute in evidence.attributes}


@pytest.mark.parametrize(
    ("field", "value", "protected"),
    [
        ("tags", "Christian fiction", True),
        ("genres", "LGBTQ", True),
        ("tags", "Living with disability", True),
        ("religion", "none", True),
        ("Gender", "anybody", True),
        ("genres", "Racing", False),
        ("genres", "Sci-Fi", False),
        ("tags", "Transport", False),
        ("level_1", "Sikhara Engine", False),
    ],
)
def test_protected_traits_are_known_by_field_and_by_value(field, value, protected):
    assert is_protected(field, value) == protected


def test_a_protected_trait_is_no_reason(planted, planted_index):
    """All that the items share is renamed to a faith; they are cited for something else, or not at all."""
    genres = pl.col("topics").list.eval(pl.element().replace("space", "Islamic art"))
    catalog = Catalog(planted.catalog.frame.with_columns(genres))
    taste = liked("space-1", "space-3", "cooking-0", "western-1")
    assert any(a.value == "Islamic art" for a in catalog.attributes("space-5"))
    evidence = EvidenceFinder(catalog, planted_index.vectors, by_text(planted_index)).find("space-5", taste)
    assert all(not is_protected(a.field, a.value) for a in evidence.attributes)
    forced = replace(evidence, shape="cited-common", attributes=(SharedAttribute("genres", "Islamic art", 1.0),))
    text = f"You liked {evidence.cited[0].label}, and {evidence.label} has the genre Islamic art."
    assert any("protected trait" in found for found in problems(text, forced, {"Islamic art"}))


def test_the_items_of_a_list_fetch_the_history_once(planted, planted_index):
    asked = []

    def vectors(ids):
        asked.extend(ids)
        return planted_index.vectors(ids)

    finder = EvidenceFinder(planted.catalog, vectors, by_text(planted_index))
    for item in ("space-3", "space-4", "space-5"):
        finder.find(item, liked("space-0", "space-1", "space-2"))
    assert sorted(asked) == sorted(set(asked))


def test_the_explained_item_never_speaks_for_itself(finder):
    evidence = finder.find("space-5", liked("space-5", "space-4"))
    assert [cited.item_id for cited in evidence.cited] == ["space-4"]


def test_items_are_cited_together_only_when_the_same_was_done_with_them(finder):
    evidence = finder.find("space-5", Taste({"space-4": "chose", "space-3": "liked", "space-2": "chose"}))
    assert len({{"space-4": "chose", "space-3": "liked", "space-2": "chose"}[c.item_id] for c in evidence.cited}) == 1
    assert evidence.did == {"space-3": "liked"}.get(evidence.cited[0].item_id, "chose")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("a silent story about space", ("silent", "story", "space")),
        ("something silent, but no cooking please", ("silent",)),
        ("without cooking, silent", ("silent",)),
        ("something silent, but no space please", ()),
        ("I don't want space", ()),
        ("topics about", ()),
    ],
)
def test_words_that_are_wanted_and_stand_in_the_values_are_the_evidence(finder, query, words):
    evidence = finder.find("space-5", liked(query=query))
    assert evidence.words == words
    assert (evidence.shape == "words") == bool(words)


@pytest.mark.parametrize(("near", "shape"), [(True, "meaning"), (False, "far")])
def test_closeness_in_meaning_is_claimed_only_where_it_is(finder, planted_index, near, shape):
    vector = planted_index.vectors(["space-5"])[0]
    evidence = finder.find("space-5", liked(query="submarine", vector=vector if near else -vector))
    assert (evidence.shape, evidence.cited, evidence.attributes) == (shape, (), ())


@pytest.mark.parametrize("query", ["no space", "submarine without cooking"])
def test_the_meaning_of_a_query_that_rules_something_out_is_not_vouched_for(finder, planted_index, query):
    vector = planted_index.vectors(["space-5"])[0]
    assert finder.find("space-5", liked(query=query, vector=vector)).shape == "far"


@pytest.mark.parametrize("taste", [liked(), liked("cooking-0")])
def test_without_a_link_nothing_is_claimed(finder, taste):
    evidence = finder.find("space-0", taste)
    assert (evidence.shape, evidence.cited, evidence.attributes) == ("unlinked", (), ())


@pytest.mark.parametrize(
    ("field", "count", "common"),
    [
        ("genres", 1, "the genre Horror"),
        ("genres", 2, "the genres Horror and Sci-Fi"),
        ("categories", 1, "the category Horror"),
        ("class", 1, "the class Horror"),
        ("status", 1, "the status Horror"),
        ("tv_series", 1, "the tv series Horror"),
    ],
)
def test_what_is_shared_is_called_by_its_field(field, count, common):
    attributes = tuple(SharedAttribute(field, value, 1.0) for value in ("Horror", "Sci-Fi")[:count])
    cited = (Cited("1", "Alien", 0.8, 0.1),)
    assert Evidence("3", "Aliens", "cited-common", "liked", cited, attributes).common == common


def test_a_contrast_is_what_the_next_item_lacks(finder):
    """Every second item of a topic is a drama; each item has its topic."""
    evidence = finder.find("space-5", liked("space-1", "space-3"))
    topics = tuple(SharedAttribute("topics", value, 1.0) for value in ("space", "drama"))
    evidence = replace(evidence, attributes=topics)
    plain = finder.contrasted(evidence, "space-4")
    assert (plain.shape, plain.other) == ("contrast", "Orbit of Fire (1984)")
    assert [a.value for a in plain.attributes] == ["drama"]
    assert finder.contrasted(evidence, "space-3") is evidence  # it lacks nothing, and is cited
