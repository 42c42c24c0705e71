"""The index of items: whitened vectors of their texts, brought up to date with the catalog and searched."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from retrieval.contracts import Encoder
from retrieval.data.catalog import Catalog
from retrieval.data.workspace import Workspace
from retrieval.errors import IndexMismatchError, command
from retrieval.ranking import Floats
from retrieval.text.chroma import ChromaCollection
from retrieval.text.filters import Where
from retrieval.text.options import LOCAL, ChromaOptions
from retrieval.text.spread import Spread
from retrieval.text.whitening import DRIFTED, Whitening, sample

CHUNK = 1024
MOST_IDS = 20_000  # SQLite takes 32,766 values in one statement
FEW = 200  # so many excluded ids are found and left out faster than filtered
KEPT = 50_000  # vectors in memory: 77 MB with 384 dimensions
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
    """Whitened item vectors with their metadata, searched by cosine."""

    def __init__(self, path: Path, encoder_fingerprint: str, options: ChromaOptions = LOCAL, *, create: bool = False):
        """Open the index of the workspace that ``path`` is a folder of, or make an empty one when ``create``.

        Raises:
            IndexMismatchError: there is none, or another encoder or other parameters made it.
            WorkspaceError: the folder is damaged, or no server answers.
        """
        self._root = path.parent
        self._vectors: dict[str, Floats] = {}  # those that were asked for
        self._collection = ChromaCollection(path, options, {"encoder": encoder_fingerprint} if create else None)
        made_by = self._collection.metadata.get("encoder")
        if made_by != encoder_fingerprint:
            raise IndexMismatchError(
                f"the index was made by another encoder ({made_by}, now {encoder_fingerprint}); "
                f"rebuild it with: {command('index --rebuild', self._root)}"
            )

    @property
    def place(self) -> str:
        """Where its collection is: a folder, or a name on a server."""
        return self._collection.place

    def __len__(self) -> int:
        return len(self._collection)

    def changes(self, catalog: Catalog) -> Changes:
        """Compare the index with the catalog by content hash."""
        hashes = {item_id: entry.get(_HASH) for item_id, entry in self._collection.item_metadata().items()}
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
        text = self._collection.metadata.get("whitening")
        return None if text is None else Whitening.from_text(text)

    @cached_property
    def spread(self) -> Spread:
        """How far the texts spread, kept with the collection like the whitening.

        Raises:
            IndexMismatchError: nothing was written yet, or by a whyrec that did not keep it.
            ModelError: it is damaged.
        """
        text = self._collection.metadata.get("spread")
        if text is None:
            raise IndexMismatchError(
                f"the index does not say how far its texts spread; run: {command('index', self._root)}"
            )
        return Spread.from_text(text)

    @property
    def space(self) -> str:
        """What vectors can be compared with those here: the encoder and the whitening, as 16 hexadecimal digits."""
        metadata = self._collection.metadata
        return hashlib.sha256(f"{metadata.get('encoder')} {metadata.get('whitening')}".encode()).hexdigest()[:16]

    @property
    def is_older(self) -> bool:
        """Whether it was made by a whyrec that kept less than there must be now."""
        return len(self) > 0 and not self._collection.metadata.keys() >= {"whitening", "spread"}

    def has_drifted(self, catalog: Catalog, encoder: Encoder) -> bool:
        """Whether the catalog's texts are no longer those that the whitening was fitted on: more or other items."""
        whitening = self.whitening
        if whitening is None:
            return False
        ids = _sample(catalog.ids)
        if Whitening.grade(len(ids)) != Whitening.grade(whitening.items):
            return True
        vectors = encoder.encode([catalog.text(item_id) for item_id in ids])
        return len(ids) > 0 and whitening.drift(vectors) > DRIFTED

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
        ids = _by_length(_sample(catalog.ids), catalog)
        vectors = encoder.encode([catalog.text(item_id) for item_id in ids])
        whitening = Whitening.fit(vectors)
        spread = replace(Spread.fit(whitening(vectors)), items=len(catalog))
        self._collection.remember("spread", spread.to_text())
        self._collection.remember("whitening", whitening.to_text())  # last: without it both are fitted anew
        return whitening

    def encode(self, encoder: Encoder, texts: Sequence[str]) -> Floats:
        """(n, d) the whitened vectors of words to search with; ``encoder`` is the items' or the first part of it.

        Raises:
            IndexMismatchError: nothing was written yet.
        """
        whitening = self.whitening
        if whitening is None:
            raise IndexMismatchError(f"the index is empty; run: {command('index', self._root)}")
        return whitening(encoder.encode(texts))

    def delete(self, ids: list[str]) -> None:
        """Remove items."""
        self._vectors = {}
        if ids:
            self._collection.delete(ids)

    def _write(self, catalog: Catalog, ids: list[str], vectors: Floats) -> None:
        metadatas = [{**catalog.metadata(item_id), _HASH: catalog.content_hash(item_id)} for item_id in ids]
        self._vectors = {}
        self._collection.upsert(ids, vectors, metadatas)

    @property
    def made_from(self) -> str | None:
        """What `complete` was last told, or None when the index was never complete."""
        return self._collection.metadata.get("catalog")

    def complete(self, catalog_fingerprint: str) -> None:
        """Remember that the index holds exactly the items of this catalog."""
        self._collection.remember("catalog", catalog_fingerprint)

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
        self._vectors.update(self._collection.vectors(wanted))
        missing = [item_id for item_id in wanted if item_id not in self._vectors]
        if missing:
            raise IndexMismatchError(
                f"the index lacks {len(missing):,} items of the catalog, such as {missing[0]!r}; "
                f"run: {command('index', self._root)}"
            )
        return np.stack([self._vectors[item_id] for item_id in ids])

    def ids(self, where: Where) -> list[str]:
        """Ids of all items that fit ``where``."""
        return self._collection.ids(where)

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
        wanted = max(1, k if filtered else k + len(exclude))
        found = self._collection.nearest(queries, wanted, condition)
        nearest = [[item_id for item_id in ids if item_id not in exclude][:k] for ids in found]
        return sorted({item_id for ids in nearest for item_id in ids})


def open_index(workspace: Workspace, encoder_fingerprint: str, options: ChromaOptions) -> ItemIndex:
    """The workspace's index, complete and of the items it has now.

    Raises:
        IndexMismatchError: there is none, another encoder, other parameters or an older whyrec made it, or it holds
            other items than the catalog.
        WorkspaceError: the folder is damaged, or no server answers.
    """
    index = ItemIndex(workspace.index_path, encoder_fingerprint, options)
    if index.is_older:
        raise IndexMismatchError(
            f"the index was made by an older whyrec, which kept less of it; run: {command('index', workspace.root)}"
        )
    if index.made_from != workspace.catalog_fingerprint:
        raise IndexMismatchError(
            f"the index ({len(index):,} items) is not up to date with the catalog ({len(workspace.catalog):,}); "
            f"run: {command('index', workspace.root)}"
        )
    return index


def _sample(ids: Sequence[str]) -> list[str]:
    """At most 4,000 ids, always the same ones of the same catalog."""
    return [ids[row] for row in sample(len(ids))]


def _by_length(ids: Sequence[str], catalog: Catalog) -> list[str]:
    """Texts of like length together, the longest first: a batch is padded to its longest."""
    return sorted(ids, key=lambda item_id: len(catalog.text(item_id)), reverse=True)
