"""A person's title finds the item that is meant, or the items it may be."""

import polars as pl
import pytest

from retrieval.data.catalog import Catalog
from retrieval.data.titles import TitleMatcher
from retrieval.errors import AmbiguousTitleError, UnknownItemError

TITLES = {
    "matrix": "Matrix, The (1999)",
    "amelie": "Amélie (Fabuleux destin d'Amélie Poulain, Le) (2001)",
    "heat95": "Heat (1995)",
    "heat86": "Heat (1986)",
    "seven": "Seven (a.k.a. Se7en) (1995)",
    "days": "Se7en Days (2010)",
    "accents": "Ňěčó",
    "hope": "Star Wars: Episode IV - A New Hope (1977)",
    "alien": "Alien (1979)",
    "aliens": "Aliens (1986)",
    "street": "Große Straße",
    "war": "Война и мир",
    "film": "🎬",
    "1984": "Brazil (1985)",
    "orwell": "1984 (1949)",
    "42": "Answers (2005)",
}


def matcher(titles):
    return TitleMatcher(Catalog(pl.DataFrame({"item_id": list(titles), "title": list(titles.values())})))


@pytest.fixture(scope="module")
def films():
    return matcher(TITLES)


@pytest.mark.parametrize(
    ("wanted", "item_id"),
    [
        ("Matrix, The (1999)", "matrix"),
        ("The Matrix", "matrix"),
        ("the matrix (1999)", "matrix"),
        ("MATRIX", "matrix"),
        ("  matrix!  ", "matrix"),
        ("A Matrix", "matrix"),
        ("Heat (1995)", "heat95"),
        ("heat (1986) ", "heat86"),
        ("ｈｅａｔ (1986)", "heat86"),
        ("Amelie", "amelie"),
        ("AMÉLIE", "amelie"),
        ("Ame\u0301lie", "amelie"),
        ("Le fabuleux destin d'Amelie Poulain", "amelie"),
        ("Se7en", "seven"),
        ("seven (1995)", "seven"),
        ("star wars", "hope"),
        ("Star Wars (1977)", "hope"),
        ("a new hope", "hope"),
        ("Alien", "alien"),
        ("neco", "accents"),
        ("grosse strasse", "street"),
        ("ВОЙНА И МИР", "war"),
        ("🎬", "film"),
    ],
)
def test_title_is_found_without_regard_to_its_form(films, wanted, item_id):
    assert films.find(wanted) == item_id


@pytest.mark.parametrize(("wanted", "item_id"), [("Matirx", "matrix"), ("Brasil", "1984"), ("alienz", "alien")])
def test_misspelt_title_is_found(films, wanted, item_id):
    assert films.find(wanted) == item_id


def test_an_id_goes_before_part_of_a_title(films):
    assert films.find("id:1984") == "1984"
    assert films.find("42") == "42"
    assert matcher({"star": "Moon", "x": "A Star Is Born"}).find("star") == "star"


@pytest.mark.parametrize("wanted", ["id:nothing", "id:", "id:Alien"])
def test_id_that_is_none_is_unknown(films, wanted):
    with pytest.raises(UnknownItemError, match=f"no item '{wanted[3:]}'; an id or a title of the catalog is needed"):
        films.find(wanted)


def test_exact_title_goes_before_titles_that_contain_it():
    assert matcher({"m": "M", "mm": "M and M", "t": "Them", "the": "The"}).find("the") == "the"


def test_ambiguous_title_lists_the_ids(films):
    message = r"'Heat' may be 2 items, name one by its id: Heat \(1995\) \[id:heat95\]; Heat \(1986\) \[id:heat86\]$"
    with pytest.raises(AmbiguousTitleError, match=message):
        films.find("Heat")


def test_same_titles_are_told_apart_by_the_year_column():
    frame = pl.DataFrame({"item_id": ["a", "b"], "title": ["Heat", "Heat"], "year": [1986, 1995]})
    twins = TitleMatcher(Catalog(frame))
    assert twins.find("Heat (1995)") == "b"
    with pytest.raises(AmbiguousTitleError, match=r"Heat \(1986\) \[id:a\]; Heat \(1995\) \[id:b\]"):
        twins.find("heat")


def test_long_list_of_candidates_is_cut():
    sagas = matcher({f"s{number}": f"Saga {number}" for number in range(12)})
    with pytest.raises(AmbiguousTitleError, match=r"'saga' may be 12 items, .*\[id:s7\] and 4 more$"):
        sagas.find("saga")


@pytest.mark.parametrize("wanted", ["zzzzqqq", "", "   ", "🎉", "?!", "\x00", "()", "id"])
def test_nothing_close_is_unknown(films, wanted):
    with pytest.raises(UnknownItemError, match="no item is called anything like"):
        films.find(wanted)


def test_long_title_is_cut_in_the_message(films):
    with pytest.raises(UnknownItemError, match=r"anything like '(xy){50}'$"):
        films.find("xy" * 5000)


def test_empty_catalog_has_no_title():
    empty = TitleMatcher(Catalog(pl.DataFrame(schema={"item_id": pl.String, "title": pl.String})))
    with pytest.raises(UnknownItemError, match="no item is called anything like 'Alien'"):
        empty.find("Alien")


def test_a_year_that_no_such_title_has_is_not_overlooked():
    with pytest.raises(UnknownItemError, match="Heat"):
        matcher({"heat": "Heat (1995)"}).find("Heat (1990)")


def test_an_id_that_is_another_items_title_is_asked_back():
    films = matcher({"300": "Quiz Show (1994)", "7": "300 (2007)"})
    with pytest.raises(AmbiguousTitleError, match=r"id:7.*id:300"):
        films.find("300")
    assert films.find("id:300") == "300"
