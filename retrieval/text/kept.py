"""Arrays as text, to be kept in the metadata of a collection."""

import base64
from collections.abc import Mapping, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from retrieval.errors import ModelError


def text_of(arrays: Mapping[str, NDArray[Any]]) -> str:
    """The arrays by name, as base64."""
    rows = {name: np.ascontiguousarray(array) for name, array in arrays.items()}  # of others it writes what it likes
    return base64.b64encode(save(rows)).decode("ascii")


def arrays_of(text: str, names: Set[str], what: str) -> dict[str, NDArray[Any]]:
    """What `text_of` was given, which must have these names; ``what`` is what an error calls it.

    Raises:
        ModelError: it is damaged.
    """
    try:
        arrays: dict[str, NDArray[Any]] = load(base64.b64decode(text, validate=True))
    except (ValueError, SafetensorError) as error:
        raise ModelError(f"{what} cannot be read ({error})") from error
    if arrays.keys() != names:
        raise ModelError(f"{what} cannot be read (it has other parts: {', '.join(sorted(arrays))})")
    return arrays
