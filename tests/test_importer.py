"""Tables become items and events, or are refused with the source, the row and the value."""

import datetime as dt

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.data.import_events import import_events
from retrieval.data.import_items import import_items
from retrieval.data.readers import Table, scan_table
from retrieval.errors import InputError

ITEMS = pl.DataFrame({"item_id": ["a", "b"], "title": ["A", "B"]})
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def items_of(columns, **options):
    return import_items(Table(pl.DataFrame(columns, strict=False).lazy(), "shop.csv"), {}, **options)


def field_of(values, dtype=None):
    ids = [str(row) for row in range(len(values))]
    series = pl.Series("field", values, dtype, strict=False)
    return items_of({"id": ids, "title": ids, "field": series})[0]["field"]


@pytest.fixture
def events_of(tmp_path):
    def imported(columns, **options):
        table = Table(pl.DataFrame(columns, strict=False).lazy(), "log.csv")
        report, times = import_events(table, {}, ITEMS, tmp_path / "part.parquet", **options)
        return pl.read_parquet(tmp_path / "part.parquet"), report, times.kind

    return imported


def test_items_keep_their_order_and_lose_blanks_around():
    frame, report = items_of({"id": [" b", "a "], "title": ["  Bee ", "Ay"], "Year Made": ["1999", "2001"]})
    assert frame.to_dicts() == [
        {"item_id": "b", "title": "Bee", "year_made": 1999},
        {"item_id": "a", "title": "Ay", "year_made": 2001},
    ]
    assert (report.rows, report.kept, report.left_out) == (2, 2, {})


def test_title_that_is_a_sequence_is_joined():
    assert items_of({"id": ["a"], "title": [["The", "Thing"]]})[0]["title"].to_list() == ["The Thing"]


def test_ids_that_are_whole_floats_lose_their_point():
    assert items_of({"id": [1.0, 2.0], "title": ["A", "B"]})[0]["item_id"].to_list() == ["1", "2"]


BAD_ITEMS = [
    (["a", "b", "a"], ["A", "B", "C"], r"data row 3 \('a'\): id used before", "id used before"),
    (["a", "b", " a "], ["A", "B", "C"], r"data row 3 \('a'\): id used before", "id used before"),
    (["a", None, "c"], ["A", "B", "C"], r"data row 2: no id", "no id"),
    (["a", "  ", "c"], ["A", "B", "C"], r"data row 2: no id", "no id"),
    (["a", "b", "c"], ["A", "\t ", "C"], r"data row 2 \('b'\): no title", "no title"),
    (["a", "b", "c"], ["A", "B", None], r"data row 3 \('c'\): no title", "no title"),
    (["a", "b", "c"], ["A", "B", "x" * 10_000_000], r"data row 3 \('c'\): a title of more than 1,000", "a title"),
]


@pytest.mark.parametrize(("ids", "titles", "message", "problem"), BAD_ITEMS)
def test_first_bad_item_is_named_or_left_out(ids, titles, message, problem):
    with pytest.raises(InputError, match=rf"^shop\.csv, {message}.*: --skip-invalid$"):
        items_of({"id": ids, "title": titles})
    frame, report = items_of({"id": ids, "title": titles}, skip_invalid=True)
    assert len(frame) == report.kept == 2
    assert [key.startswith(problem) for key in report.left_out] == [True]
    assert list(report.left_out.values()) == [1]


def test_further_bad_rows_are_counted():
    with pytest.raises(InputError, match="id used before, and 2 more like it; mend it"):
        items_of({"id": ["a"] * 4, "title": ["A"] * 4})


def test_text_without_end_is_refused():
    with pytest.raises(InputError, match=r"data row 2 \('b'\): a text of more than 100,000 characters"):
        items_of({"id": ["a", "b"], "title": ["A", "B"], "about": ["short", "x" * 100_001]})


@pytest.mark.parametrize("rows", [[], [None]])
def test_table_without_items_is_refused(rows):
    with pytest.raises(InputError, match=r"^shop\.csv: no item in it$"):
        items_of({"id": pl.Series(rows, dtype=pl.String), "title": ["A"] * len(rows)}, skip_invalid=True)


@pytest.mark.parametrize("value", [["a"], b"\xff"])
def test_ids_of_an_unusable_type_are_refused(value):
    with pytest.raises(InputError, match=r"^shop\.csv: cannot be read"):
        items_of({"id": [value], "title": ["A"]})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["War|Drama", "Comedy", None, " a | |b|"], [["War", "Drama"], ["Comedy"], None, ["a", "b"]]),
        ([[" x ", "", None], [], None], [["x"], [], None]),
        (["1999", "-3", " ", "0"], [1999, -3, None, 0]),
        (["0.5", "2", "1e3"], [0.5, 2.0, 1000.0]),
        (["1999.0", "2001.0", ""], [1999, 2001, None]),
        (["007", "12"], ["007", "12"]),
        (["٣", "12"], ["٣", "12"]),
        (["12345678901234567890", "1"], [12345678901234567890.0, 1.0]),
        (["1e999", "0.5"], [None, 0.5]),
        ([1999.0, None, float("nan")], [1999, None, None]),
        ([1.5, 2.0, float("inf")], [1.5, 2.0, None]),
        ([1e300, 1.0], [1e300, 1.0]),
        ([True, False, None], [True, False, None]),
        ([[1, 2], [3]], [[1, 2], [3]]),
        ([dt.date(2020, 1, 2), None], ["2020-01-02", None]),
        (["", "  "], [None, None]),
        ([None, None], [None, None]),
    ],
)
def test_fields_get_a_tidy_type(values, expected):
    assert field_of(values).to_list() == expected


def test_integers_beyond_64_bits_become_floats():
    assert field_of([2**64 - 1], pl.UInt64).to_list() == [2.0**64]


def test_splitting_at_bars_is_noted():
    assert items_of({"id": ["a"], "title": ["A"], "Genre": ["War|Drama"]})[1].notes == ["genre: split at | into a list"]


@pytest.mark.parametrize("value", [{"x": 1}, b"x", dt.timedelta(1), [["x"]], []])
def test_odd_types_are_left_out_with_a_note(value):
    frame, report = items_of({"id": ["a"], "title": ["A"], "Odd": [value]})
    assert frame.columns == ["item_id", "title"]
    assert [note.startswith("Odd: left out, its type ") for note in report.notes] == [True]


@pytest.mark.parametrize(("first", "second", "name"), [("My Tag", "my_tag", "my_tag"), ("!", "?", "field")])
def test_names_that_are_the_same_once_tidied_are_refused(first, second, name):
    with pytest.raises(InputError, match=f"two columns of the items table are called '{name}' once tidied"):
        items_of({"id": ["a"], "title": ["A"], first: ["x"], second: ["y"]})


def test_column_name_of_two_lines_is_kept():
    assert items_of({"id": ["a"], "title": ["A"], "my\ntag": ["x"]})[0].columns == ["item_id", "title", "my_tag"]


def test_events_of_unknown_items_are_counted(events_of):
    frame, report, kind = events_of({"user": ["u", "v", "u"], "item": ["a", "zz", "b"]})
    assert sorted(frame.rows()) == [("u", "a", 1.0, 1), ("u", "b", 1.0, 3)]
    assert (report.rows, report.kept, kind) == (3, 2, "none")
    assert report.left_out == {"an item that is not in the catalog": 1}


BAD_EVENTS = [
    ({"rating": "good"}, r"\('good'\): a rating that is not a number", "a rating that is not a number"),
    ({"rating": " "}, r"\(' '\): a rating that is not a number", "a rating that is not a number"),
    ({"rating": None}, "a rating that is not a number", "a rating that is not a number"),
    ({"rating": "NaN"}, r"\('NaN'\): a rating that is not a number", "a rating that is not a number"),
    ({"rating": "-inf"}, r"\('-inf'\): a rating that is not a number", "a rating that is not a number"),
    ({"user": None}, r"\('b'\): no user", "no user"),
    ({"item": ""}, r"\('u'\): no item", "no item"),
    ({"timestamp": "soon"}, r"\('soon'\): a timestamp that is not a time", "a timestamp that is not a time"),
]


@pytest.mark.parametrize(("change", "message", "problem"), BAD_EVENTS)
def test_first_bad_event_is_named_or_left_out(events_of, change, message, problem):
    good, other = ({"user": "u", "item": item, "rating": " 4.5 ", "timestamp": " 7"} for item in "ab")
    columns = pl.DataFrame([good, other | change], infer_schema_length=None).to_dict()
    with pytest.raises(InputError, match=rf"^log\.csv, data row 2:? ?{message}; mend it.*--skip-invalid$"):
        events_of(columns)
    frame, report, _ = events_of(columns, skip_invalid=True)
    assert frame.rows() == [("u", "a", 4.5, 7)]
    assert report.left_out == {problem: 1}


def test_events_of_no_known_item_show_both_kinds_of_ids(events_of):
    with pytest.raises(InputError, match=r"log\.csv: none of the 2 events names .*\(first event: 'x', first item: 'a'"):
        events_of({"user": ["u", "u"], "item": ["x", "y"]})


@pytest.mark.parametrize("items", [[], ["", " "]])
def test_table_without_usable_events_is_refused(events_of, items):
    with pytest.raises(InputError, match=r"^log\.csv: no usable event in it"):
        events_of({"user": ["u"] * len(items), "item": pl.Series(items, dtype=pl.String)}, skip_invalid=True)


NOON = 1_577_880_000_000  # 2020-01-01 12:00 UTC in milliseconds


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (["1577880000", " 1577880000.5"], "seconds", [NOON, NOON + 500]),
        ([1577880000.0, 1577880001.0], "seconds", [NOON, NOON + 1000]),
        ([str(NOON), str(NOON + 1)], "milliseconds", [NOON, NOON + 1]),
        (["2020-01-01T12:00:00Z", "2020-01-01T14:00:00.250+02:00"], "iso", [NOON, NOON + 250]),
        (["2020-01-01T12:00Z", "2020-01-01 06:30:00-05:30"], "iso", [NOON, NOON]),
        (["2020-01-01 12:00:00", "2020-01-01T12:00"], "iso", [NOON, NOON]),
        (["2020-01-01", "1969-12-31"], "iso", [NOON - 43_200_000, -86_400_000]),
        (["3", "-1"], "order", [3, -1]),
        ([3, 4], "order", [3, 4]),
        ([dt.date(2020, 1, 1), dt.date(2020, 1, 2)], "iso", [NOON - 43_200_000, NOON + 43_200_000]),
        ([dt.datetime(2020, 1, 1, 12), dt.datetime(2020, 1, 1, 12, 0, 1)], "iso", [NOON, NOON + 1000]),
        ([dt.datetime(2020, 1, 1, 14, tzinfo=dt.timezone(dt.timedelta(hours=2)))] * 2, "iso", [NOON, NOON]),
    ],
)
def test_times_of_every_kind_are_understood(events_of, value, kind, expected):
    frame, _, found = events_of({"user": ["u", "u"], "item": ["a", "b"], "timestamp": value})
    assert (found, frame.sort("item_id")["timestamp"].to_list()) == (kind, expected)


def test_nested_times_are_refused(events_of):
    with pytest.raises(InputError, match=r"log\.csv: the column timestamp holds Struct.*, which is no time"):
        events_of({"user": ["u"], "item": ["a"], "timestamp": [{"x": {"y": 1}}]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), max_size=6), st.sampled_from(["csv", "ndjson", "parquet"]))
def test_any_items_come_back_or_are_refused(folder, rows, ending):
    written = pl.DataFrame(rows, {"id": pl.String, "title": pl.String, "about": pl.String}, orient="row")
    getattr(written, f"write_{ending}")(folder / f"items.{ending}")
    plain = written.with_columns(pl.all().str.replace_all(r"[\x00-\x1f\x7f-\x9f]", " ").str.strip_chars())
    ids, titles = plain["id"].to_list(), plain["title"].to_list()
    if rows and all(ids) and all(titles) and len(set(ids)) == len(ids):
        frame, report = import_items(scan_table(folder / f"items.{ending}"), {})
        assert (frame["item_id"].to_list(), frame["title"].to_list(), report.kept) == (ids, titles, len(rows))
    else:
        with pytest.raises(InputError):
            import_items(scan_table(folder / f"items.{ending}"), {})


ANYTHING = st.one_of(st.none(), TEXTS, st.floats().map(str), st.integers().map(str), st.sampled_from(["a", "b"]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ANYTHING, ANYTHING, ANYTHING, ANYTHING), max_size=8), st.sampled_from(["csv", "parquet"]))
def test_every_event_is_kept_or_counted(folder, rows, ending):
    names = ["user_id", "item_id", "rating", "timestamp"]
    written = pl.DataFrame([("u", "a", "3", "5"), *rows], dict.fromkeys(names, pl.String), orient="row")
    getattr(written, f"write_{ending}")(folder / f"events.{ending}")
    target = folder / "part.parquet"
    report, _ = import_events(scan_table(folder / f"events.{ending}"), {}, ITEMS, target, skip_invalid=True)
    kept = pl.read_parquet(target)
    assert report.kept + sum(report.left_out.values()) == report.rows == len(rows) + 1
    assert len(kept) == report.kept >= 1
    assert all(count > 0 for count in report.left_out.values())
    assert set(kept["item_id"]) <= {"a", "b"}
    assert kept["value"].is_finite().all()
    assert sum(kept.null_count().row(0)) == 0
