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
USER_ROLES: dict[str, tuple[str, ...]] = {"user_id": (*EVENT_ROLES["user_id"], "id")}
TABLES = {"items": ITEM_ROLES, "events": EVENT_ROLES, "users": USER_ROLES}
REQUIRED = ("item_id", "title", "user_id")


def parse_overrides(pairs: list[str]) -> dict[str, str]:
    """Turn ``["title=name", "events.item_id=asin"]`` into a dict; with ``events.`` it is for that table alone.

    Raises:
        InputError: a pair without ``=``, with a role that does not exist, or for a role that was mapped before.
    """
    overrides: dict[str, str] = {}
    known = {**TABLES, "": {**EVENT_ROLES, **ITEM_ROLES}}
    for pair in pairs:
        target, separator, column = pair.partition("=")
        table, _, role = target.rpartition(".")
        if not separator or role not in known.get(table, {}):
            roles = ", ".join(known[""])
            raise InputError(f"--map {pair}: write role=column or events.role=column, with a role out of {roles}")
        if target in overrides:
            owners = [] if table else _tables_with(role)
            hint = f"; write {' and '.join(f'{owner}.{role}=…' for owner in owners)}" if len(owners) > 1 else ""
            raise InputError(f"--map {target} is given twice{hint}")
        overrides[target] = column
    return overrides


def for_table(overrides: dict[str, str], table: str) -> dict[str, str]:
    """The overrides that apply to ``items``, ``events`` or ``users``, by role; one for this table alone goes first."""
    general = {target: column for target, column in overrides.items() if "." not in target}
    own = {target.partition(".")[2]: c for target, c in overrides.items() if target.startswith(f"{table}.")}
    return general | own


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


def refuse_unused(overrides: dict[str, str], columns: dict[str, list[str]]) -> None:
    """Refuse a ``--map`` whose column is in none of the tables it is for; ``columns`` gives each table's.

    Raises:
        InputError: names the column and the columns that are there, or the table that is missing.
    """
    for target, column in overrides.items():
        table, _, role = target.rpartition(".")
        wanted = [table] if table else _tables_with(role)
        if not set(wanted) & set(columns):
            missing = " or ".join(wanted)
            raise InputError(f"--map {target}={column}: no table of {missing} is given")
        present = [name for key in wanted for name in columns.get(key, [])]
        if column not in present:
            raise InputError(f"--map {target}={column}: no such column; there are {', '.join(present)}")


def _tables_with(role: str) -> list[str]:
    return [table for table, roles in TABLES.items() if role in roles]
