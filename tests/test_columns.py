"""Which column plays which role: guessed, or named with --map."""

import pytest

from retrieval.data.columns import (
    EVENT_ROLES,
    ITEM_ROLES,
    USER_ROLES,
    assign_columns,
    for_table,
    parse_overrides,
    refuse_unused,
)
from retrieval.errors import InputError


@pytest.mark.parametrize(
    ("names", "roles", "expected"),
    [
        (["movieId", "title"], ITEM_ROLES, {"item_id": "movieId", "title": "title"}),
        (["Parent_ASIN", "Product Name"], ITEM_ROLES, {"item_id": "Parent_ASIN", "title": "Product Name"}),
        (["id", "item_id", "name"], ITEM_ROLES, {"item_id": "item_id", "title": "name"}),
        (["user", "item"], EVENT_ROLES, {"user_id": "user", "item_id": "item"}),
        (
            ["reviewerID", "asin", "overall", "unixReviewTime"],
            EVENT_ROLES,
            {"user_id": "reviewerID", "item_id": "asin", "value": "overall", "timestamp": "unixReviewTime"},
        ),
        (["id", "Customer ID", "age"], USER_ROLES, {"user_id": "Customer ID"}),
        (["age", "id"], USER_ROLES, {"user_id": "id"}),
    ],
)
def test_columns_are_guessed_from_common_names(names, roles, expected):
    assert assign_columns(names, roles, {}, "t.csv") == expected


def test_map_wins_over_the_guess_where_the_column_is_there():
    overrides = parse_overrides(["title=headline", "user_id=who"])
    assert assign_columns(["id", "title", "headline"], ITEM_ROLES, overrides, "t.csv")["title"] == "headline"
    assert assign_columns(["id", "title"], ITEM_ROLES, overrides, "t.csv")["title"] == "title"


def test_column_that_cannot_be_guessed_is_asked_for():
    with pytest.raises(InputError, match=r"t\.csv: no column for title among id, x; name it with --map title=COLUMN"):
        assign_columns(["id", "x"], ITEM_ROLES, {}, "t.csv")


@pytest.mark.parametrize("pair", ["title", "film=title", "=title", "events.title=x", "users.title=x", "shop.title=x"])
def test_map_must_name_a_role_and_a_column(pair):
    with pytest.raises(InputError, match=rf"--map {pair}: write role=column or events.role=column, with a role"):
        parse_overrides([pair])


def test_map_to_a_column_of_no_file_is_refused():
    columns = {"items": ["id", "name"], "events": ["user"], "users": ["login"]}
    with pytest.raises(InputError, match=r"--map title=headline: no such column; there are id, name$"):
        refuse_unused({"item_id": "id", "title": "headline"}, columns)
    with pytest.raises(InputError, match=r"--map user_id=name: no such column; there are user, login$"):
        refuse_unused({"user_id": "name"}, columns)
    with pytest.raises(InputError, match=r"--map events\.item_id=id: no such column; there are user"):
        refuse_unused({"events.item_id": "id"}, columns)
    with pytest.raises(InputError, match=r"--map users\.user_id=user: no such column; there are login"):
        refuse_unused({"users.user_id": "user"}, columns)


def test_map_for_a_table_that_is_not_given_is_refused():
    with pytest.raises(InputError, match=r"--map users\.user_id=id: no table of users is given"):
        refuse_unused({"users.user_id": "id"}, {"items": ["id", "name"]})
    with pytest.raises(InputError, match="--map user_id=id: no table of events or users is given"):
        refuse_unused({"user_id": "id"}, {"items": ["id", "name"]})


def test_map_of_users_is_for_every_table_that_has_the_column():
    overrides = parse_overrides(["user_id=who"])
    refuse_unused(overrides, {"items": ["id", "title"], "events": ["user", "item"], "users": ["who", "user"]})
    assert assign_columns(["user", "item"], EVENT_ROLES, for_table(overrides, "events"), "e")["user_id"] == "user"
    assert assign_columns(["who", "user"], USER_ROLES, for_table(overrides, "users"), "u")["user_id"] == "who"


def test_map_for_one_table_goes_before_map_for_both():
    overrides = parse_overrides(["item_id=sku", "events.item_id=code"])
    assert for_table(overrides, "items") == {"item_id": "sku"}
    assert for_table(overrides, "events") == {"item_id": "code"}
    assert for_table(parse_overrides(["user_id=who", "users.user_id=login"]), "users") == {"user_id": "login"}


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("item_id", r"; write items\.item_id=… and events\.item_id=…"),
        ("user_id", r"; write events\.user_id=… and users\.user_id=…"),
        ("title", ""),
        ("users.user_id", ""),
    ],
)
def test_a_role_is_mapped_once_for_each_table(target, hint):
    with pytest.raises(InputError, match=f"^--map {target} is given twice{hint}$"):
        parse_overrides([f"{target}=a", f"{target}=b"])
