"""Where the collection of item vectors is, and how its graph is made and searched."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ChromaOptions:
    """Chroma in a folder or on a server, and the parameters of its HNSW graph (Malkov & Yashunin 2016).

    url: ``http://host:port`` or ``https://host:port`` of a server, "" for the workspace's own folder. ef_search: how
    many candidates a search keeps ("ef"; at least k are kept). ef_construction: how many are kept while an item finds
    its place ("efConstruction"). max_neighbors: how many links an item has ("M"), twice as many on the lowest layer.
    """

    url: str = ""
    ef_search: int = 200
    ef_construction: int = 100
    max_neighbors: int = 16


LOCAL = ChromaOptions()
