"""Items whose fields are of every kind, and a Chroma collection of them."""

import chromadb
import polars as pl

from retrieval.data.catalog import Catalog

KINDS = {
    "item_id": pl.String,
    "title": pl.String,
    "note": pl.String,
    "year": pl.Int64,
    "score": pl.Float64,
    "seen": pl.Boolean,
    "topics": pl.List(pl.String),
    "parts": pl.List(pl.Int64),
}
ROWS = [
    ("a", "Star Voyage", "it's", 1990, 1.5, True, ["Space", "drama"], [1, 2]),
    ("b", "straße", None, 1985, None, False, ["space"], []),
    ("c", "or", 'say "hi"', None, -2.0, None, None, [3]),
    ("d", "Salt, and (Lemon)", "$gte", 2001, 0.0, True, [], None),
    ("e", "STRASSE", "STAR", 1990, 1e10, False, ["drama", "not", "Fuß"], [2, 3]),
]
CATALOG = Catalog(pl.DataFrame(ROWS, schema=KINDS, orient="row"))
ITEMS = CATALOG.frame.to_dicts()


def filled_collection() -> chromadb.Collection:
    client = chromadb.EphemeralClient(chromadb.Settings(anonymized_telemetry=False))
    collection = client.get_or_create_collection("test-filters", embedding_function=None)
    metadatas = [CATALOG.metadata(item_id) for item_id in CATALOG.ids]
    collection.upsert(ids=CATALOG.ids, embeddings=[[1.0, 0.0]] * len(CATALOG), metadatas=metadatas)
    return collection
