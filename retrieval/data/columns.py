"""Which column of a file plays which role: guessed from common names, overridden by ``--map``."""

import re

from retrieval.errors import InputError

ITEM_ROLES: dict[str, tuple[str, ...]] = {
    "item_id": ("itemid", "movieid", "asin", "parentasin", "productid", "bookid", "gameid", "id", "item", "isbn"),
    "title": ("title", "movietitle", "name", "itemname", "producttitle", "productname", "booktitle", "itemtitle"),
}
EVENT_ROLES: dict[str, tuple[str, ...]] = {
    "user_id": ("userid", "user", "reviewerid", "customerid", "visitorid", "memberid", "uid"),
    "item_id": tuple(name for name in ITEM_ROLES["item_id"] if name != "id"),
    "value": ("rating", "value", "score", "stars", "overall", "count", "plays", "weight", "label"),
    "timestamp": ("timestamp", "time", "unixreviewtime", "datetime", "date", "position", "order", "ts"),
}
REQUIRED = ("item_id", "title", "user_id")


def parse_overrides(pairs: list[str]) -> dict[str, str]:
    """Turn ``["item_id=asin"]`` into ``{"item_id": "asin"}``.

    Raises:
        InputError: a pair without ``=`` or with a role that does not exist.
    """
    overrides = {}
    roles = {**EVENT_ROLES, **ITEM_ROLES}
    for pair in pairs:
        role, separator, column = pair.partition("=")
        if not separator or role not in roles:
            raise InputError(f"--map {pair}: write role=column, with a role out of {', '.join(roles)}")
        overrides[role] = column
    return overrides


def assign_columns(
    names: list[str], roles: dict[str, tuple[str, ...]], overrides: dict[str, str], source: str
) -> dict[str, str]:
    """Give each role of ``roles`` that can be found a column of ``names``; an override that is there wins.

    Raises:
        InputError: a required role has no column; the message lists the columns and the option that helps.
    """
    simple = {re.sub(r"[\W_]+", "", name).lower(): name for name in reversed(names)}
    assigned = {}
    for role, known in roles.items():
        if overrides.get(role) in names:
            assigned[role] = overrides[role]
            continue
        column = next((simple[name] for name in known if name in simple), None)
        if column is not None:
            assigned[role] = column
        elif role in REQUIRED:
            raise InputError(
                f"{source}: no column for {role} among {', '.join(names[:20])}; name it with --map {role}=COLUMN"
            )
    return assigned


def refuse_unused(overrides: dict[str, str], *tables: list[str]) -> None:
    """Refuse a ``--map`` whose column is in none of the files.

    Raises:
        InputError: names the column and the columns that are there.
    """
    present = [name for names in tables for name in names]
    for role, column in overrides.items():
        if column not in present:
            raise InputError(f"--map {role}={column}: no such column; the files have {', '.join(present)}")
