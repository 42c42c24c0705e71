"""Words looked up as they stand: BM25 over the items' text; the only module that imports bm25s."""

import math
import re
import shutil
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import bm25s
import numpy as np

from retrieval.artefacts import atomic_folder
from retrieval.data.catalog import Catalog
from retrieval.data.workspace import Workspace
from retrieval.errors import IndexMismatchError, WorkspaceError, command, first_line
from retrieval.ranking import Floats

MOST_WORDS = 200  # of a query; what is asked for stands in its first sentences
_WORD = re.compile(r"\w+")


class LexicalIndex:
    """How well items' texts match words: BM25 (Robertson & Zaragoza 2009, equation 3.15; k1 = 1.5, b = .75).

    A title's words stand in the text as any others. Case and accents do not matter; nothing is stemmed.
    """

    def __init__(self, found: bm25s.BM25, ids: Sequence[str]):
        self._found = found
        self._ids = tuple(ids)
        self._row_of = {item_id: row for row, item_id in enumerate(ids)}

    @classmethod
    def build(cls, catalog: Catalog) -> "LexicalIndex":
        """From the texts of all items."""
        found = bm25s.BM25()
        found.index([words(catalog.text(item_id)) for item_id in catalog.ids], show_progress=False)
        return cls(found, catalog.ids)

    def save(self, folder: Path) -> None:
        """Write it into an existing folder."""
        self._found.save(folder, show_progress=False)

    def scores(self, query: str) -> Floats:
        """(m,) of all items in the order of the catalog: BM25 over the most that the query allows, within [0, 1).

        0 where no word matches; a rare word counts more than a common one, and one that no item has counts as well.
        """
        asked = words(query)[:MOST_WORDS]
        if not asked:
            return np.zeros(len(self._ids), dtype=np.float32)
        found = np.asarray(self._found.get_scores(asked), dtype=np.float32)
        return found / np.float32(sum(self._rarity(word) for word in asked))

    def _rarity(self, word: str) -> float:
        """Inverse document frequency, as in BM25."""
        token = self._found.vocab_dict.get(word)
        starts = self._found.scores["indptr"]
        having = 0 if token is None else int(starts[token + 1] - starts[token])
        return math.log(1 + (len(self._ids) - having + 0.5) / (having + 0.5))

    def best(
        self, scores: Floats, k: int, among: Sequence[str] | None, exclude: frozenset[str] = frozenset()
    ) -> list[str]:
        """Ids of at most k items with the highest scores above 0, only ``among`` if given; ties by id."""
        rows = (self._row_of[item_id] for item_id in among) if among is not None else np.flatnonzero(scores).tolist()
        matching = [(-scores[row], self._ids[row]) for row in rows if scores[row] > 0]
        return [item_id for _, item_id in sorted(matching) if item_id not in exclude][:k]

    def of(self, scores: Floats, ids: Sequence[str]) -> Floats:
        """(n,) those of some items."""
        return scores[[self._row_of[item_id] for item_id in ids]]


def words(text: str) -> list[str]:
    """The words of a text in small letters, without accents."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return _WORD.findall("".join(letter for letter in plain if not unicodedata.combining(letter)))


def write_lexical(workspace: Workspace) -> None:
    """Build the index of the workspace's catalog in ``lexical/<fingerprint>/`` where it is not there yet."""
    folder = workspace.root / "lexical"
    current = folder / workspace.catalog_fingerprint
    if not current.is_dir():
        with atomic_folder(current) as work:
            LexicalIndex.build(workspace.catalog).save(work)
    for old in folder.iterdir():
        if old != current:
            shutil.rmtree(old)


def open_lexical(workspace: Workspace) -> LexicalIndex:
    """The index of the workspace's catalog.

    Raises:
        IndexMismatchError: there is none of the items that there are now.
        WorkspaceError: it cannot be read.
    """
    folder = workspace.root / "lexical" / workspace.catalog_fingerprint
    if not folder.is_dir():
        raise IndexMismatchError(f"the words of these items were not indexed; run: {command('index', workspace.root)}")
    try:
        return LexicalIndex(bm25s.BM25.load(folder), workspace.catalog.ids)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkspaceError(
            f"{folder} cannot be read ({first_line(error)}); delete it and run: {command('index', workspace.root)}"
        ) from error
