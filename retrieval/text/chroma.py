"""One collection of Chroma, in a folder or on a server; the only module that imports chromadb."""

import contextlib
import shutil
import sqlite3
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import chromadb
import httpx
import numpy as np
from chromadb.errors import ChromaError, NotFoundError

from retrieval.artefacts import write_text
from retrieval.errors import IndexMismatchError, WorkspaceError, command, first_line
from retrieval.ranking import Floats
from retrieval.text.filters import Where
from retrieval.text.hnsw_files import check_hnsw_files
from retrieval.text.options import LOCAL, ChromaOptions

COLLECTION = "items"  # in a folder of its own
PAGE = 4_000  # vectors fetched at once: 40 MB as JSON with 384 dimensions
ROWS = 20_000  # items whose metadata are fetched at once: Chroma fails above the 32,766 values of an SQLite statement
SYNC = 1000  # with more items than this, Chroma has written vectors to their own folder
SECONDS = 10  # within which a server must answer when it is first asked


class ChromaCollection:
    """Vectors with metadata, searched by cosine; whatever Chroma raises becomes a `WorkspaceError` of one sentence.

    The collection of a workspace is in the folder ``path`` or, with a ``url``, on a server, under a name of its own:
    it is drawn at random when the first index is made and kept beside the folder in ``<path>.name``, so that
    workspaces that share a server never meet, wherever they are moved.
    """

    def __init__(self, path: Path, options: ChromaOptions, metadata: dict[str, str] | None = None):
        """Open the collection or, where there is none and ``metadata`` are given, make an empty one with them.

        Raises:
            IndexMismatchError: there is none, or its graph was made with other parameters.
            WorkspaceError: the folder is damaged, or no server answers.
        """
        self._path, self._options = path, options
        self._rebuild = f"rebuild it with: {command('index --rebuild', path.parent)}"
        self._absent = (
            f"{path.parent} has no index{f' on {options.url}' if options.url else ''} yet; "
            f"make it with: {command('index', path.parent)}"
        )
        if metadata is None and not _may_exist(path, options):
            raise IndexMismatchError(self._absent)
        self._name = _name(path) if options.url else COLLECTION
        with self._guarded():
            self._client = _server(options.url) if options.url else _folder(path)
            self._collection = self._opened(metadata)
            if not options.url and not check_hnsw_files(path) and self._collection.count() > SYNC:
                raise OSError("its vectors are missing")
        self._check_graph()

    def _opened(self, metadata: dict[str, str] | None) -> chromadb.Collection:
        try:
            return self._client.get_collection(self._name, embedding_function=None)
        except NotFoundError:
            if metadata is None:
                raise IndexMismatchError(self._absent) from None
        return self._client.create_collection(
            self._name,
            embedding_function=None,
            metadata=metadata,
            configuration={"hnsw": {"space": "cosine", "sync_threshold": SYNC, **self._graph}},
        )

    @property
    def _graph(self) -> dict[str, int]:
        options = self._options
        return {
            "ef_search": options.ef_search,
            "ef_construction": options.ef_construction,
            "max_neighbors": options.max_neighbors,
        }

    def _check_graph(self) -> None:
        """Let a new ``ef_search`` take effect where it can; refuse a graph that was made with other parameters.

        Chroma reads ``ef_search`` when it loads a graph, so a folder is opened anew; a server would go on with the old
        value for as long as it keeps the graph in memory.
        """
        made = self._collection.configuration_json.get("hnsw") or {}
        other = [name for name, value in self._graph.items() if made.get(name) != value]
        if not other:
            return
        if other != ["ef_search"] or self._options.url:
            raise IndexMismatchError(
                f"the index was made with {', '.join(f'{name} = {made.get(name)}' for name in other)}, the settings "
                f"say {', '.join(f'{name} = {self._graph[name]}' for name in other)}; {self._rebuild}"
            )
        with self._guarded(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "legacy embedding function", DeprecationWarning)  # there is none at all
            self._collection.modify(configuration={"hnsw": {"ef_search": self._options.ef_search}})
            chromadb.api.client.SharedSystemClient.clear_system_cache()
            self._client = _folder(self._path)
            self._collection = self._opened(None)

    @property
    def place(self) -> str:
        """Where the collection is, for people."""
        return f"collection {self._name} on {self._options.url}" if self._options.url else str(self._path)

    def __len__(self) -> int:
        with self._guarded():
            return int(self._collection.count())

    @property
    def metadata(self) -> dict[str, str]:
        """What is kept with the collection as a whole."""
        return dict(self._collection.metadata or {})

    def remember(self, name: str, value: str) -> None:
        """Keep a value with the collection."""
        with self._guarded():
            self._collection.modify(metadata={**self.metadata, name: value})

    def item_metadata(self) -> dict[str, dict[str, Any]]:
        """The metadata of every item, by id."""
        found: dict[str, dict[str, Any]] = {}
        with self._guarded():
            for start in range(0, self._collection.count(), ROWS):
                part = self._collection.get(include=["metadatas"], limit=ROWS, offset=start)
                found.update(zip(part["ids"], part["metadatas"], strict=True))
        return found

    def ids(self, where: Where) -> list[str]:
        """Ids of all items that fit ``where``."""
        with self._guarded():
            return list(self._collection.get(where=where, include=[])["ids"])

    def vectors(self, ids: Sequence[str]) -> dict[str, Floats]:
        """The vectors (d,) of those of the items that are there, by id."""
        found: dict[str, Floats] = {}
        with self._guarded():
            for start in range(0, len(ids), PAGE):
                part = self._collection.get(ids=list(ids[start : start + PAGE]), include=["embeddings"])
                found.update(zip(part["ids"], np.asarray(part["embeddings"], dtype=np.float32), strict=True))
        return found

    def upsert(self, ids: list[str], vectors: Floats, metadatas: list[dict[str, Any]]) -> None:
        """Write items; fields that an item had before and has no longer stay, unless it is deleted first."""
        with self._guarded():
            self._collection.upsert(ids=ids, embeddings=vectors, metadatas=metadatas)

    def delete(self, ids: list[str]) -> None:
        """Remove items."""
        with self._guarded():
            self._collection.delete(ids=ids)

    def nearest(self, queries: Floats, k: int, where: Where | None) -> list[list[str]]:
        """For each query (q, d) the ids of the k nearest items that fit ``where``, best first."""
        with self._guarded():
            found = self._collection.query(query_embeddings=queries, n_results=k, where=where, include=["distances"])
        return [list(ids) for ids in found["ids"]]

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn whatever Chroma raises into one sentence; its Rust panics are no `Exception`."""
        try:
            with _answering(self._options.url):
                yield
        except (ChromaError, sqlite3.Error, OSError, ValueError, RuntimeError) as error:
            if "readonly" in str(error) and not self._options.url:
                raise WorkspaceError(
                    f"you may not write to {self._path}, which Chroma needs even to search; copy the workspace"
                ) from error
            raise WorkspaceError(
                f"the index in {self.place} cannot be used ({first_line(error)}); make room if the disk is full, "
                f"else {self._rebuild}"
            ) from error
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            raise WorkspaceError(f"the index in {self.place} is damaged; {self._rebuild}") from error


def has_collection(path: Path, options: ChromaOptions) -> bool:
    """Whether there is a collection to open, in whatever state.

    Raises:
        WorkspaceError: no server answers.
    """
    if not options.url or not _may_exist(path, options):
        return _may_exist(path, options)
    return _done_on_server(options, lambda client: client.get_collection(_name(path), embedding_function=None))


def delete_collection(path: Path, options: ChromaOptions = LOCAL) -> None:
    """Remove the folder or the server's collection, whatever state it is in; none is no error.

    Raises:
        WorkspaceError: no server answers.
    """
    chromadb.api.client.SharedSystemClient.clear_system_cache()
    if options.url:
        if _may_exist(path, options):
            _done_on_server(options, lambda client: client.delete_collection(_name(path)))
    elif path.exists():
        shutil.rmtree(path)


def _done_on_server(options: ChromaOptions, work: Callable[[Any], object]) -> bool:
    """Do something with a collection of the server, or say that there is none."""
    with _answering(options.url):
        try:
            work(_server(options.url))
        except NotFoundError:
            return False
        except (ChromaError, ValueError) as error:
            raise _unreachable(options.url, first_line(error)) from error
    return True


def _may_exist(path: Path, options: ChromaOptions) -> bool:
    return (_name_file(path) if options.url else path / "chroma.sqlite3").is_file()


def _name_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.name")


def _name(path: Path) -> str:
    """The name of the workspace's collection on a server; drawn where it has none yet."""
    file = _name_file(path)
    if not file.is_file():
        write_text(file, f"whyrec-{uuid.uuid4().hex}\n")
    return file.read_text(encoding="utf-8").strip()


def _server(url: str) -> Any:
    beat = httpx.get(f"{url}/api/v2/heartbeat", timeout=SECONDS)
    if beat.status_code != httpx.codes.OK or b"heartbeat" not in beat.content:
        raise _unreachable(url, f"what answers there is no Chroma: HTTP {beat.status_code}")
    scheme, address = url.split("://")
    host, port = address.split(":")
    return chromadb.HttpClient(host, int(port), ssl=scheme == "https", settings=_settings())


def _folder(path: Path) -> Any:
    return chromadb.PersistentClient(str(path), settings=_settings())


def _settings() -> Any:
    return chromadb.Settings(anonymized_telemetry=False)


@contextlib.contextmanager
def _answering(url: str) -> Iterator[None]:
    """Turn a server that is down, breaks off or says what Chroma's client does not know into one sentence."""
    try:
        yield
    except Exception as error:
        # The client raises a bare `Exception` for an answer such as a proxy's "502 Bad Gateway".
        if not url or not (isinstance(error, httpx.HTTPError) or type(error) is Exception):
            raise
        raise _unreachable(url, first_line(error)) from error


def _unreachable(url: str, reason: str) -> WorkspaceError:
    return WorkspaceError(
        f"no Chroma server answers at {url} ({reason}); start it (chroma run), correct the setting chroma.url, "
        'or use the workspace\'s own folder: WHYREC_CHROMA__URL=""'
    )
