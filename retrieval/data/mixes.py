"""What items are made of by one field of the catalog, such as genres."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from retrieval.data.catalog import Catalog
from retrieval.errors import InputError
from retrieval.ranking import Floats


def mixes(catalog: Catalog, field: str, ids: Sequence[str]) -> Floats:
    """(n, g) float32: each item's values of the field in equal shares, 0 throughout where it has none.

    The g values are those of these items, sorted.
    """
    found = [[one.value for one in catalog.attributes(item_id) if one.field == field] for item_id in ids]
    values = {value: column for column, value in enumerate(sorted({value for own in found for value in own}))}
    shares = np.zeros((len(ids), len(values)), dtype=np.float32)
    for row, own in enumerate(found):
        for value in own:
            shares[row, values[value]] += 1 / len(own)
    return shares


def main_field(catalog: Catalog) -> str:
    """The text field that says most of what kind an item is: genres of films, neither their cast nor their language.

    Of three items drawn at random two share a value that the third lacks; in this field that is so of most values.

    Raises:
        InputError: there is no such value.
    """
    told = {name: _told(catalog, name) for name in _text_fields(catalog)}
    best = max(told, key=lambda name: told[name], default="")
    if not best or told[best] <= 0:
        raise InputError("no field of the items has values that several of them share, such as genres")
    return best


def check_field(catalog: Catalog, field: str) -> str:
    """The field of this name.

    Raises:
        InputError: it is no text field of the catalog.
    """
    names = _text_fields(catalog)
    if field not in names:
        raise InputError(f"the items have no text field {field!r}; there are: {', '.join(names) or 'none'}")
    return field


def _text_fields(catalog: Catalog) -> list[str]:
    kinds = (pl.String, pl.List(pl.String))
    return [name for name in catalog.fields if catalog.frame.schema[name] in kinds]


def _told(catalog: Catalog, field: str) -> float:
    column = catalog.frame.select(pl.int_range(pl.len()).alias("row"), field)
    if column.schema[field] != pl.String:
        column = column.explode(field)
    counts = column.unique().drop_nulls().group_by(field).len()["len"].to_numpy().astype(np.float64)
    return float((counts * (counts - 1) * (len(catalog) - counts)).sum())
