"""A --where expression means what its documentation says."""

import operator

import chromadb
import polars as pl
import pytest
from filter_world import CATALOG, ITEMS, filled_collection
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.data.catalog import Catalog
from retrieval.errors import FilterError
from retrieval.text import filters
from retrieval.text.filters import VALUES_LIMIT, compile_where


@pytest.fixture(scope="module")
def collection() -> chromadb.Collection:
    return filled_collection()


def fitting(collection: chromadb.Collection, expression: str) -> str:
    """What Chroma finds, which must be what is found without it."""
    where = compile_where(expression, CATALOG)
    found = sorted(collection.get(where=where)["ids"])
    assert CATALOG.frame.filter(filters.fitting(CATALOG, where))["item_id"].sort().to_list() == found
    return "".join(found)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("year = 1990", "ae"),
        ("year == 1990", "ae"),
        ("year != 1990", "bcd"),
        ("year < 1990", "b"),
        ("year <= 1990", "abe"),
        ("year >= 1990", "ade"),
        ("year in (1985, 2001, 7)", "bd"),
        ("year not in (1985,2001)", "ace"),
        ("score >= 1.5", "ae"),
        ("seen = true", "ad"),
        ("seen != TRUE", "bce"),
        ("seen in (true, false)", "abde"),
        ("title = 'STAR voyage'", "a"),
        ("title != strasse", "acd"),
        ("title ~ sTr", "be"),
        ("title !~ str", "acd"),
        ("title < salt", "c"),
        ("title <= 'salt, and (lemon)'", "cd"),
        ("title > star", "abe"),
        ("title > zzz", ""),
        ("not title > zzz", "abcde"),
        ("note not in (star)", "abcd"),
        ("topics ~ SPACE", "ab"),
        ("topics = FUSS", "e"),
        ("topics !~ space", "cde"),
        ("topics != drama", "bcd"),
        ("topics in (space, not)", "abe"),
        ("topics not in (space, drama)", "cd"),
        ("parts ~ 2", "ae"),
        ("item_id = B", "b"),
    ],
)
def test_operators(collection, expression, expected):
    assert fitting(collection, expression) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("year = 1985 or year = 1990 and seen = true", "ab"),
        ("(year = 1985 or year = 1990) and seen = true", "a"),
        ("not year = 1985 and seen = false", "e"),
        ("not (year = 1985 and seen = false)", "acde"),
        ("not (year < 1990 or seen = true)", "e"),
        ("year >= 1990 and not seen = true", "e"),
        ("NOT not year = 1985 OR year = 1990 or year=2001", "abde"),
        ("not topics not in (space)", "ab"),
        ("not year < 1990", "ade"),
        ("not year <= 1990", "d"),
        ("not year > 1990", "abe"),
        ("not year >= 1990", "b"),
        ("((((year=1985))))or(year=2001)", "bd"),
        ("year=1990\n\tAND   seen=false", "e"),
        ("(" * 900 + "year = 2001" + ")" * 900, "d"),
        ("not " * 497 + "year=1", "abcde"),
        ("not " * 498 + "year=1", ""),
        ('title = "salt, and (lemon)"', "d"),
        ('note = "it\'s"', "a"),
        ("note ~ '\"hi\"'", "c"),
        ("note = $gte", "d"),
        ("title = or or title = 'or'", "c"),
        ("topics ~ not", "e"),
        ("'year' = '1985'", "b"),
        ("title ~ ''", "abcde"),
    ],
)
def test_precedence_negation_and_quotes(collection, expression, expected):
    assert fitting(collection, expression) == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("Year = 1990", "no field 'Year' to filter by; there are item_id, title, note, year, score, seen"),
        ("_hash = 1", "no field '_hash'"),
        ("topics ~ spcae", "no item has 'spcae' in topics; close to it: Space, space"),
        ("topics ~ DRAMMA", "close to it: drama"),
        ("title = qqqqqqqq", "there are, for instance, STRASSE, Salt, and"),
        ("year = soon", "year holds whole numbers, which 'soon' is not"),
        ("year < 1990.5", "year holds whole numbers, which '1990.5' is not"),
        ("year < 9223372036854775808", "year holds whole numbers, which '9223372036854775808' is not"),
        ("score < nan", "score holds numbers, which 'nan' is not"),
        ("score = 1e999", "score holds numbers, which '1e999' is not"),
        ("seen = yes", "seen is true or false, not 'yes'"),
        ("seen < true", "< does not work on seen"),
        ("year ~ 19", "~ does not work on year, which holds whole numbers"),
        ("topics < space", "< does not work on topics, which holds lists; use ~ or !~"),
        ("", "cannot be understood at its end"),
        ("year = 1 and", "cannot be understood at its end"),
        ("year = 1 2", "cannot be understood at character 10; write for instance: year >= 1990"),
        ("year in ()", "cannot be understood at character 10"),
        ("title = 'open", "cannot be understood at character 9"),
        ("title = " + "x" * 2000, "--where has 2,008 characters; at most 2,000 are read"),
        ("(" * 5000 + "year = 1" + ")" * 5000, "at most 2,000 are read"),
        ("year=1 or(seen=true and(" * 60 + "year=1" + "))" * 60, "groups within groups; at most 40 levels"),
    ],
)
def test_what_cannot_be_used_is_named(expression, message):
    with pytest.raises(FilterError, match=message.replace("(", r"\(")):
        compile_where(expression, CATALOG)


def test_more_values_than_can_be_looked_up_are_refused():
    titles = [f"title {number}" for number in range(VALUES_LIMIT + 1)]
    catalog = Catalog(pl.DataFrame({"item_id": titles, "title": titles}))
    with pytest.raises(FilterError, match="stands for 30,001 values; at most 30,000 can be looked up"):
        compile_where("title > a", catalog)


# A random expression is a tree: (field, sign, [values]), ("not", tree), ("and" or "or", tree, tree).
TEXTS = ["star", "STAR voyage", "strasse", "Straße", "or", "it's", '"hi"', "$gte", "salt, AND (lemon)", "s", "zzz", ""]
VALUES = {
    "title": st.sampled_from(TEXTS),
    "note": st.sampled_from(TEXTS),
    "year": st.sampled_from([1984, 1985, 1990, 1991, 2001, -3]),
    "score": st.sampled_from([1.5, -2.0, 0.0, 1e10, -1e-3, 7.25]),
    "seen": st.booleans(),
    "topics": st.sampled_from(["SPACE", "drama", "Not", "FUSS", "or"]),
    "parts": st.sampled_from([1, 2, 3, 4]),
}
ORDERS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
NEGATIVE = {"!=": "=", "!~": "~", "not in": "in"}
EITHER = ["=", "!=", "in", "not in"]
SIGNS = {"seen": EITHER, "year": [*EITHER, *ORDERS], "score": [*EITHER, *ORDERS]}
SIGNS |= {"topics": [*EITHER, "~", "!~"], "parts": [*EITHER, "~", "!~"]}
SIGNS |= {"title": [*EITHER, "~", "!~", *ORDERS], "note": [*EITHER, "~", "!~", *ORDERS]}


@st.composite
def comparisons(draw):
    field = draw(st.sampled_from(list(VALUES)))
    sign = draw(st.sampled_from(SIGNS[field]))
    return field, sign, draw(st.lists(VALUES[field], min_size=1, max_size=3 if "in" in sign else 1))


trees = st.recursive(
    comparisons(),
    lambda inner: st.tuples(st.just("not"), inner) | st.tuples(st.sampled_from(["and", "or"]), inner, inner),
    max_leaves=7,
)


def written(tree) -> str:
    if tree[0] == "not":
        return f"not ({written(tree[1])})"
    if tree[0] in ("and", "or"):
        return f"({written(tree[1])}) {tree[0]} ({written(tree[2])})"
    field, sign, values = tree
    quoted = [f"'{value}'" if "'" not in str(value) else f'"{value}"' for value in values]
    return f"{field} {sign} ({', '.join(quoted)})" if "in" in sign else f"{field} {sign} {quoted[0]}"


def fits(item: dict, tree, negated: bool = False) -> bool:
    """What the docstring of `compile_where` says."""
    if tree[0] == "not":
        return fits(item, tree[1], not negated)
    if tree[0] in ("and", "or"):
        both = (tree[0] == "and") != negated
        return (all if both else any)(fits(item, part, negated) for part in tree[1:])
    field, sign, values = tree
    if sign in ORDERS:
        return item[field] is not None and ORDERS[sign](folded(item[field]), folded(values[0])) != negated
    return matches(item[field], NEGATIVE.get(sign, sign), values) != (negated != (sign in NEGATIVE))


def matches(found, sign: str, values: list) -> bool:
    """``=``, ``~`` or ``in``."""
    if found is None:
        return False
    if isinstance(found, list):
        return any(folded(value) in map(folded, found) for value in values)
    return any(folded(value) in folded(found) if sign == "~" else folded(value) == folded(found) for value in values)


def folded(value):
    return value.casefold() if isinstance(value, str) else value


def asks_for_unknown_text(tree) -> bool:
    if isinstance(tree[1], tuple):
        return any(asks_for_unknown_text(part) for part in tree[1:])
    field, sign, values = tree
    if sign in ORDERS or not isinstance(values[0], str):
        return False
    sign = NEGATIVE.get(sign, sign)
    return not all(any(matches(item[field], sign, [value]) for item in ITEMS) for value in values)


@settings(max_examples=200, deadline=None)
@given(trees)
def test_random_expressions_find_what_they_say(collection, tree):
    if asks_for_unknown_text(tree):
        with pytest.raises(FilterError, match="no item has"):
            compile_where(written(tree), CATALOG)
    else:
        assert fitting(collection, written(tree)) == "".join(item["item_id"] for item in ITEMS if fits(item, tree))
