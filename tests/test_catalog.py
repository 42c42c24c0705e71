"""What the catalog says of an item: text, label, metadata, attributes and content hash."""

import polars as pl
import pytest

from retrieval.data.catalog import LABEL_LENGTH, Attribute, Catalog
from retrieval.errors import UnknownItemError

ITEM = {
    "item_id": "x1",
    "title": "Alien",
    "year": 1979,
    "main_genres": ["Horror", "Sci-Fi"],
    "about": "A crew meets a stranger.",
    "link": "https://example.org/x1",
    "stars": 4.5,
    "color": True,
    "sizes": [1, 2],
}


def catalog(*records):
    return Catalog(pl.DataFrame(list(records), infer_schema_length=None))


def titled(title, **fields):
    return catalog({"item_id": "x1", "title": title, **fields})


def test_items_keep_the_order_of_the_file(tmp_path):
    pl.DataFrame({"item_id": ["b", "a"], "title": ["B", "A"]}).write_parquet(tmp_path / "items.parquet")
    items = Catalog.read(tmp_path / "items.parquet")
    assert (items.ids, len(items), items.row("a")) == (["b", "a"], 2, 1)
    assert "a" in items
    assert "c" not in items
    assert items.fields == []


@pytest.mark.parametrize("method", ["row", "title", "label", "text", "metadata", "attributes", "content_hash"])
def test_unknown_item_is_named(method):
    with pytest.raises(UnknownItemError, match="no item 'x2'; an id or a title of the catalog is needed"):
        getattr(catalog(ITEM), method)("x2")


def test_text_has_the_title_and_every_text_field_but_links_and_numbers():
    expected = "Alien (1979). Main genres: Horror, Sci-Fi. About: A crew meets a stranger."
    assert catalog(ITEM).text("x1") == expected


def test_text_leaves_out_what_is_missing():
    assert catalog(ITEM, {"item_id": "x2", "title": "Bare"}).text("x2") == "Bare"
    assert titled("Bare", genres=[]).text("x1") == "Bare"


@pytest.mark.parametrize(
    ("title", "year", "label"),
    [
        ("Alien", 1979, "Alien (1979)"),
        ("Alien (1979)", 1979, "Alien (1979)"),
        ("Alien (1979)", 1980, "Alien (1979) (1980)"),
        ("Alien", None, "Alien"),
        ("1984", 1984, "1984 (1984)"),
    ],
)
def test_label_has_the_year_once(title, year, label):
    items = titled(title, year=year)
    assert items.label("x1") == items.text("x1") == label
    assert items.title("x1") == title


@pytest.mark.parametrize(
    ("title", "label"),
    [
        ("Matrix, The", "The Matrix (1999)"),
        ("Matrix, The (1999)", "The Matrix (1999)"),
        ("Valachi Papers,The (1999)", "The Valachi Papers (1999)"),
        ("American Werewolf in London, An", "An American Werewolf in London (1999)"),
        (
            "City of Lost Children, The (Cité des enfants perdus, La)",
            "The City of Lost Children (Cité des enfants perdus, La) (1999)",
        ),
        ("Good, the Bad and the Ugly, The", "The Good, the Bad and the Ugly (1999)"),
        ("Me, Myself", "Me, Myself (1999)"),
        ("The The, A", "A The The (1999)"),
        (", The", ", The (1999)"),
    ],
)
def test_a_label_has_its_article_where_it_is_said(title, label):
    items = titled(title, year=1999)
    assert items.label("x1") == label
    assert items.text("x1").startswith(title)


@pytest.mark.parametrize(
    "title",
    [
        "Ali\nen",
        "Ali\x00\x1b\x7f\x9b en",
        "Ali\r\n\t en",
        "\u202eAli\u2066 \u2069en\u200f",
        "Ali\u2028en",
        "\ufeffAli\u200b en\x85",
    ],
)
def test_label_and_text_show_control_and_direction_characters_as_one_space(title):
    items = titled(title, about=f"of {title}")
    assert items.label("x1") == "Ali en"
    assert items.text("x1") == "Ali en. About: of Ali en"


@pytest.mark.parametrize("title", ["x" * LABEL_LENGTH, "語" * LABEL_LENGTH])
def test_title_of_80_characters_is_a_label_as_it_is(title):
    assert titled(title).label("x1") == title


def test_longer_title_is_cut_to_80_characters_in_the_label_only():
    title = "word " * 100
    items = titled(title)
    assert items.label("x1").endswith("word…")
    assert len(items.label("x1")) <= LABEL_LENGTH
    assert items.text("x1") == title.strip()
    assert len(titled("x" * 81).label("x1")) == LABEL_LENGTH


def test_metadata_leave_out_missing_values_and_empty_lists():
    item = {"item_id": "x2", "title": "Bare", "year": None, "main_genres": [], "stars": 0.0, "color": False}
    assert catalog(ITEM).metadata("x1") == ITEM
    assert catalog(ITEM, item).metadata("x2") == {"item_id": "x2", "title": "Bare", "stars": 0.0, "color": False}


def test_attributes_are_the_short_values_of_text_fields():
    item = ITEM | {"about": "long " * 20, "link": None}
    assert catalog(item).attributes("x1") == [Attribute("main_genres", "Horror"), Attribute("main_genres", "Sci-Fi")]
    assert titled("A", tag="x" * 80, note="y" * 81).attributes("x1") == [Attribute("tag", "x" * 80)]


@pytest.mark.parametrize(
    "change",
    [{"title": "Aliens"}, {"year": 1980}, {"stars": 4.0}, {"color": None}, {"sizes": [2, 1]}, {"item_id": "x2"}],
)
def test_content_hash_changes_with_any_value(change):
    item = ITEM | change
    changed = catalog(ITEM | {"item_id": "other"}, item).content_hash(item["item_id"])
    assert len(changed) == 16
    assert changed != catalog(ITEM).content_hash("x1")


def test_content_hash_does_not_depend_on_the_order_of_columns_or_items():
    turned = dict(reversed(ITEM.items()))
    order = ("main_genres", "about", "link")  # the text lists these in the order of the file
    turned = {name: turned[name] for name in turned if name not in order} | {name: ITEM[name] for name in order}
    other = ITEM | {"item_id": "x2"}
    assert catalog(other, ITEM).content_hash("x1") == catalog(turned).content_hash("x1")
