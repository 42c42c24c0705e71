"""Tables that are odd but right come through whole."""

import polars as pl
import pytest

from retrieval.data.import_events import import_events
from retrieval.data.import_items import import_items
from retrieval.data.import_records import TEXT_LIMIT
from retrieval.data.readers import Table
from retrieval.errors import InputError


def table(columns):
    return Table(pl.DataFrame(columns, strict=False).lazy(), "odd.parquet")


def test_a_column_called_row_is_no_trouble(tmp_path):
    items, _ = import_items(table({"row": [7], "item": ["a"], "title": ["A"]}), {})
    assert items.to_dicts() == [{"item_id": "a", "title": "A", "row": 7}]
    events = table({"row": [9, 9], "user": ["u", "v"], "item": ["a", "a"], "raw value": [1, 2]})
    report, times = import_events(events, {}, items, tmp_path / "part.parquet")
    assert (report.kept, times.kind) == (2, "none")
    assert pl.read_parquet(tmp_path / "part.parquet")["timestamp"].to_list() == [1, 2]


def test_a_column_name_that_looks_like_a_pattern_means_itself():
    items, _ = import_items(table({"^i.*$": ["a"], "item": ["b"], "title": ["A"]}), {"item_id": "^i.*$"})
    assert items["item_id"].to_list() == ["a"]


def test_float_ids_keep_what_tells_them_apart():
    items, _ = import_items(table({"id": [1.0, 1.5, 1.7], "title": ["A", "B", "C"]}), {})
    assert items["item_id"].to_list() == ["1", "1.5", "1.7"]


def test_a_text_too_long_is_found_inside_a_list():
    with pytest.raises(InputError, match=r"row 2 .*'b'.*: a text of more than"):
        import_items(table({"id": ["a", "b"], "title": ["A", "B"], "tags": [["x"], ["x", "y" * (TEXT_LIMIT + 1)]]}), {})


def test_a_field_that_polars_cannot_turn_is_refused_with_the_source():
    too_large = pl.Series("big", [[2**64 - 1]], pl.List(pl.UInt64))
    with pytest.raises(InputError, match=r"odd\.parquet: a field cannot be used"):
        import_items(table({"id": ["a"], "title": ["A"], "big": too_large}), {})
