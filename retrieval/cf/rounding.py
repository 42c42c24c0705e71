"""Tables of floating-point numbers on disk in sixteen or eight bits."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import InputError

Arrays = Mapping[str, NDArray[Any]]
TablePrecision = Literal["float32", "float16", "int8"]
SCALE = ".scale"  # after the name of a table in int8: what its rows are multiplied by
LARGEST = 127


def rounded(arrays: Arrays, precision: TablePrecision) -> dict[str, NDArray[Any]]:
    """The same with tables (n, m) in fewer bits; what has one number for a row stays as it is.

    Raises:
        InputError: a number is beyond what float16 can hold.
    """
    found: dict[str, NDArray[Any]] = {}
    for name, values in arrays.items():
        if precision == "float32" or values.ndim != 2:  # noqa: PLR2004
            found[name] = values
        elif precision == "float16":
            found[name] = _half(name, values)
        else:
            scale = np.maximum(np.abs(values).max(axis=1), np.finfo(np.float32).tiny) / LARGEST
            found[name] = np.rint(values / scale[:, None]).astype(np.int8)
            found[name + SCALE] = scale.astype(np.float32, copy=False)
    return found


def _half(name: str, values: NDArray[Any]) -> NDArray[np.float16]:
    if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
        raise InputError(f"the table {name} has numbers that float16 cannot hold; int8 can")
    return values.astype(np.float16)


def restored(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """What `rounded` made, as float32 again."""
    found: dict[str, NDArray[Any]] = {}
    for name, values in arrays.items():
        if name.endswith(SCALE):
            continue
        scale = arrays.get(name + SCALE)
        found[name] = values.astype(np.float32, copy=False) if scale is None else values * scale[:, None]
    return found
