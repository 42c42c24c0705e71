"""Check and tidy a table of users' attributes."""

import polars as pl

from retrieval.data.columns import USER_ROLES, assign_columns
from retrieval.data.import_records import import_records
from retrieval.data.import_report import ImportReport
from retrieval.data.readers import Table


def import_users(
    table: Table, overrides: dict[str, str], *, skip_invalid: bool = False
) -> tuple[pl.DataFrame, ImportReport]:
    """Check and tidy the users: ``user_id`` and every field that is no list, in the file's order.

    Lists are left out, which a note says: one value for each user is what tells groups apart.

    Raises:
        InputError: no users, or, unless ``skip_invalid``, the first row that cannot be used.
    """
    columns = assign_columns(table.columns(), USER_ROLES, overrides, table.source)
    return import_records(table, "user", columns, {}, {}, lists=False, skip_invalid=skip_invalid)
