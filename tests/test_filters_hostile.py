"""Nothing but comparisons of fields with plain values gets through a --where expression to Chroma."""

import chromadb
import pytest
from filter_world import CATALOG, KINDS, filled_collection
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.errors import FilterError
from retrieval.text.filters import compile_where


@pytest.fixture(scope="module")
def collection() -> chromadb.Collection:
    return filled_collection()


def assert_harmless(collection, expression: str) -> None:
    """It is refused with a sentence, or compares fields of the catalog with plain values and Chroma takes it."""
    try:
        where = compile_where(expression, CATALOG)
    except FilterError:
        return
    collection.get(where=where)
    conditions = [where]
    while conditions:
        ((key, inner),) = conditions.pop().items()
        if key in ("$and", "$or"):
            conditions += inner
        else:
            assert key in KINDS
            assert all(not isinstance(value, (dict, tuple)) for value in inner.values())


@pytest.mark.parametrize(
    "expression",
    [
        "$or = 1",
        '{"$or": [{"year": 1}, {"year": 2}]}',
        "year = {'$gt': 0}",
        'note = \'{"$ne": ""}\'',
        "#document ~ x",
        'title = "\' OR 1=1 --"',
        "title = 'a'; DROP TABLE embeddings",
        "title = \"it''s\" or title = '\"\"'",
        "title = 'a\\' or year = 1990'",
        "title ~ '%' or title ~ '_'",
        "year = １９９０",
        "title = '\u202eegaYov'",
        "title = \x00",
        "title = '\ud800'",
        "🚀 = 🚀",
        "not" * 600,
        "year in (" + "1," * 900 + "1)",
    ],
)
def test_attempts_to_smuggle_something_in(collection, expression):
    assert_harmless(collection, expression)


PIECES = [*KINDS, "and", "or", "not", "in", "(", ")", ",", "=", "!=", "~", "<", "'", '"', "1990", "space", "$gte", "{}"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=14).map(" ".join))
def test_any_text_is_harmless(collection, expression):
    assert_harmless(collection, expression)
