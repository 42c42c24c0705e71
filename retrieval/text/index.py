"""The Chroma collection of whitened item vectors; the only module that imports chromadb."""

import hashlib
import shutil
import sqlite3
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import chromadb
import numpy as np
from chromadb.errors import ChromaError, NotFoundError

from retrieval.contracts import Encoder
from retrieval.data.catalog import Catalog
from retrieval.data.workspace import Workspace
from retrieval.errors import IndexMismatchError, WorkspaceError, command, first_line
from retrieval.ranking import Floats
from retrieval.text.filters import Where
from retrieval.text.whitening import DRIFTED, Whitening

COLLECTION = "items"
CHUNK = 1024
MOST_IDS = 20_000  # SQLite takes 32,766 values in one statement
FEW = 200  # so many excluded ids are found and left out faster than filtered
KEPT = 50_000  # vectors in memory: 77 MB with 384 dimensions
SYNC = 1000  # with more items than this, Chroma has written vectors to their own folder
SAMPLE = 4_000  # items that the whitening is fitted on
_HASH = "_hash"


@dataclass(frozen=True)
class Changes:
    """What must be done so that the index holds the catalog.

    ``write`` lists new and changed items; ``delete`` lists items to remove, the old versions of changed ones included.
    """

    write: list[str]
    delete: list[str]
    unchanged: int


class ItemIndex:
    """Whitened item vectors with their metadata, searched by cosine, kept on disk by Chroma's persistent client."""

    def __init__(self, path: Path, encoder_fingerprint: str, *, create: bool = False):
        """Open the index in folder ``path``, or make an empty one when ``create``.

        Raises:
            IndexMismatchError: there is none, or another encoder made it.
            WorkspaceError: the folder is damaged.
        """
        self.path = path
        self._vectors: dict[str, Floats] = {}  # those that were asked for
        self._rebuild = f"rebuild it with: {command('index --rebuild', path.parent)}"
        if not create and not (path / "chroma.sqlite3").is_file():
            raise IndexMismatchError(f"{path.parent} has no index yet; make it with: {command('index', path.parent)}")
        with self._guarded():
            settings = chromadb.Settings(anonymized_telemetry=False)
            self._client = chromadb.PersistentClient(str(path), settings=settings)
            self._collection = self._open(encoder_fingerprint, create)
            self._check_files()
        made_by = (self._collection.metadata or {}).get("encoder")
        if made_by != encoder_fingerprint:
            raise IndexMismatchError(
                f"the index was made by another encoder ({made_by}, now {encoder_fingerprint}); {self._rebuild}"
            )

    def _open(self, encoder_fingerprint: str, create: bool) -> chromadb.Collection:
        try:
            return self._client.get_collection(COLLECTION, embedding_function=None)
        except NotFoundError:
            if not create:
                raise IndexMismatchError(
                    f"{self.path.parent} has no index yet; make it with: {command('index', self.path.parent)}"
                ) from None
        return self._client.create_collection(
            COLLECTION,
            embedding_function=None,
            metadata={"encoder": encoder_fingerprint},
            configuration={"hnsw": {"space": "cosine", "ef_search": 200, "sync_threshold": SYNC}},
        )

    def _check_files(self) -> None:
        """Refuse missing and cut files of vectors: Chroma would answer from what is left, or crash the process."""
        headers = list(self.path.glob("*/header.bin"))
        if not headers and self._collection.count() > SYNC:
            raise OSError("its vectors are missing")
        for header in headers:
            # hnswlib: version, first offset, room, items, bytes for each item
            version, _, _, items, size = struct.unpack("<i4q", header.read_bytes()[:36].ljust(36, b"\0"))
            least = {
                "header.bin": 100,
                "data_level0.bin": items * size,
                "length.bin": 4 * items,
                "link_lists.bin": 4 * items,
            }
            known = least if version <= 1 else {"header.bin": 100}  # a later format has other rules
            if any((header.parent / name).stat().st_size < known[name] for name in known):
                raise OSError("its vectors are cut short")

    def __len__(self) -> int:
        with self._guarded():
            return int(self._collection.count())

    def changes(self, catalog: Catalog) -> Changes:
        """Compare the index with the catalog by content hash."""
        with self._guarded():
            found = self._collection.get(include=["metadatas"])
        hashes = {item_id: entry.get(_HASH) for item_id, entry in zip(found["ids"], found["metadatas"], strict=True)}
        write = [item_id for item_id in catalog.ids if hashes.get(item_id) != catalog.content_hash(item_id)]
        # Changed items are deleted first: an upsert would keep fields that they no longer have.
        changed = set(write)
        delete = [item_id for item_id in hashes if item_id in changed or item_id not in catalog]
        return Changes(write, delete, len(catalog) - len(write))

    @property
    def whitening(self) -> Whitening | None:
        """What every vector went through, kept with the collection; None as long as nothing was written.

        Raises:
            ModelError: it is damaged.
        """
        text = (self._collection.metadata or {}).get("whitening")
        return None if text is None else Whitening.from_text(str(text))

    @property
    def space(self) -> str:
        """What vectors can be compared with those here: the encoder and the whitening, as 16 hexadecimal digits."""
        metadata = self._collection.metadata or {}
        return hashlib.sha256(f"{metadata.get('encoder')} {metadata.get('whitening')}".encode()).hexdigest()[:16]

    def has_drifted(self, catalog: Catalog, encoder: Encoder) -> bool:
        """Whether the catalog's texts are no longer those that the whitening was fitted on: more or other items."""
        whitening = self.whitening
        if whitening is None:
            return len(self) > 0  # made before there was any whitening
        sample = _sample(catalog.ids)
        if Whitening.grade(len(sample)) != Whitening.grade(whitening.items):
            return True
        vectors = encoder.encode([catalog.text(item_id) for item_id in sample])
        return len(sample) > 0 and whitening.drift(vectors) > DRIFTED

    def update(
        self, catalog: Catalog, changes: Changes, encoder: Encoder, progress: Callable[[int], None] = lambda _: None
    ) -> None:
        """Carry out ``changes``; ``progress`` is told how many items were written since it was told last.

        The first time, the whitening is fitted on a sample of the catalog. One chunk is written while the next is
        encoded. Stopped in the middle, what was written stays and the next `changes` leaves it out.
        """
        self.delete(changes.delete)
        whitening = self.whitening or self._fitted(catalog, encoder)
        by_length = _by_length(changes.write, catalog)
        written: Future[None] | None = None
        with ThreadPoolExecutor(max_workers=1) as writer:
            for start in range(0, len(by_length), CHUNK):
                ids = by_length[start : start + CHUNK]
                vectors = whitening(encoder.encode([catalog.text(item_id) for item_id in ids]))
                if written is not None:
                    written.result()
                    progress(CHUNK)
                written = writer.submit(self._write, catalog, ids, vectors)
            if written is not None:
                written.result()
                progress((len(by_length) - 1) % CHUNK + 1)

    def _fitted(self, catalog: Catalog, encoder: Encoder) -> Whitening:
        sample = _by_length(_sample(catalog.ids), catalog)
        whitening = Whitening.fit(encoder.encode([catalog.text(item_id) for item_id in sample]))
        self._remember("whitening", whitening.to_text())
        return whitening

    def encode(self, encoder: Encoder, texts: Sequence[str]) -> Floats:
        """(n, d) the whitened vectors of words to search with; ``encoder`` is the items' or the first part of it.

        Raises:
            IndexMismatchError: nothing was written yet.
        """
        whitening = self.whitening
        if whitening is None:
            raise IndexMismatchError(f"the index is empty; run: {command('index', self.path.parent)}")
        return whitening(encoder.encode(texts))

    def delete(self, ids: list[str]) -> None:
        """Remove items."""
        self._vectors = {}
        if ids:
            with self._guarded():
                self._collection.delete(ids=ids)

    def _write(self, catalog: Catalog, ids: list[str], vectors: Floats) -> None:
        metadatas = [{**catalog.metadata(item_id), _HASH: catalog.content_hash(item_id)} for item_id in ids]
        self._vectors = {}
        with self._guarded():
            self._collection.upsert(ids=ids, embeddings=vectors, metadatas=metadatas)

    @property
    def made_from(self) -> str | None:
        """What `complete` was last told, or None when the index was never complete."""
        return (self._collection.metadata or {}).get("catalog")

    def complete(self, catalog_fingerprint: str) -> None:
        """Remember that the index holds exactly the items of this catalog."""
        self._remember("catalog", catalog_fingerprint)

    def _remember(self, name: str, value: str) -> None:
        with self._guarded():
            self._collection.modify(metadata={**(self._collection.metadata or {}), name: value})

    def vectors(self, ids: Sequence[str]) -> Floats:
        """(n, d) float32, in the order of ``ids``.

        Raises:
            IndexMismatchError: an item is not in the index.
        """
        if not ids:
            return np.zeros((0, 0), dtype=np.float32)
        wanted = [item_id for item_id in dict.fromkeys(ids) if item_id not in self._vectors]
        if len(self._vectors) + len(wanted) > KEPT:
            self._vectors, wanted = {}, list(dict.fromkeys(ids))
        with self._guarded():
            for start in range(0, len(wanted), MOST_IDS):
                part = self._collection.get(ids=wanted[start : start + MOST_IDS], include=["embeddings"])
                vectors = np.asarray(part["embeddings"], dtype=np.float32)
                self._vectors.update(zip(part["ids"], vectors, strict=True))
        missing = [item_id for item_id in wanted if item_id not in self._vectors]
        if missing:
            raise IndexMismatchError(
                f"the index lacks {len(missing):,} items of the catalog, such as {missing[0]!r}; "
                f"run: {command('index', self.path.parent)}"
            )
        return np.stack([self._vectors[item_id] for item_id in ids])

    def ids(self, where: Where) -> list[str]:
        """Ids of all items that fit ``where``."""
        with self._guarded():
            return list(self._collection.get(where=where, include=[])["ids"])

    def search(
        self, queries: Floats, k: int, where: Where | None = None, exclude: frozenset[str] = frozenset()
    ) -> list[str]:
        """Ids of the items nearest to any of the queries (q, d): k for each, united and sorted.

        ``where`` and ``exclude`` apply before the search, so k items come back as long as there are so many.
        """
        conditions = [where] if where else []
        # A few excluded ids, or more than SQLite takes, are found as well and left out afterwards.
        filtered = FEW < len(exclude) <= MOST_IDS
        if filtered:
            conditions.append({"item_id": {"$nin": sorted(exclude)}})
        condition = {"$and": conditions} if len(conditions) > 1 else (conditions[0] if conditions else None)
        wanted = max(1, k if filtered else min(k + len(exclude), len(self)))
        with self._guarded():
            found = self._collection.query(
                query_embeddings=queries, n_results=wanted, where=condition, include=["distances"]
            )
        nearest = [[item_id for item_id in ids if item_id not in exclude][:k] for ids in found["ids"]]
        return sorted({item_id for ids in nearest for item_id in ids})

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn whatever Chroma raises into one sentence; its Rust panics are no `Exception`."""
        try:
            yield
        except (ChromaError, sqlite3.Error, OSError, ValueError, RuntimeError) as error:
            if "readonly" in str(error):
                raise WorkspaceError(
                    f"you may not write to {self.path}, which Chroma needs even to search; copy the workspace"
                ) from error
            raise WorkspaceError(
                f"the index in {self.path} cannot be used ({first_line(error)}); make room if the disk is full, "
                f"else {self._rebuild}"
            ) from error
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            raise WorkspaceError(f"the index in {self.path} is damaged; {self._rebuild}") from error


def open_index(workspace: Workspace, encoder_fingerprint: str) -> ItemIndex:
    """The workspace's index, complete and of the items it has now.

    Raises:
        IndexMismatchError: there is none, another encoder made it, or it holds other items than the catalog.
    """
    index = ItemIndex(workspace.index_path, encoder_fingerprint)
    if index.made_from != workspace.catalog_fingerprint:
        raise IndexMismatchError(
            f"the index ({len(index):,} items) is not up to date with the catalog ({len(workspace.catalog):,}); "
            f"run: {command('index', workspace.root)}"
        )
    return index


def _sample(ids: Sequence[str]) -> list[str]:
    """At most `SAMPLE` ids, always the same ones of the same catalog."""
    if len(ids) <= SAMPLE:
        return list(ids)
    return [ids[row] for row in np.random.default_rng(0).choice(len(ids), SAMPLE, replace=False)]


def _by_length(ids: Sequence[str], catalog: Catalog) -> list[str]:
    """Texts of like length together, the longest first: a batch is padded to its longest."""
    return sorted(ids, key=lambda item_id: len(catalog.text(item_id)), reverse=True)


def delete_index(path: Path) -> None:
    """Remove the index folder, whatever state it is in."""
    chromadb.api.client.SharedSystemClient.clear_system_cache()
    if path.exists():
        shutil.rmtree(path)
