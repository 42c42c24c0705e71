"""Parameters of the index's graph in a folder: what changes takes effect or is refused, and is never passed over."""

import shutil
from pathlib import Path

import pytest
from conftest import WordEncoder
from test_index import numbered

from retrieval.errors import IndexMismatchError
from retrieval.text.index import ItemIndex
from retrieval.text.options import ChromaOptions


@pytest.fixture(scope="module")
def poor_path(tmp_path_factory) -> Path:
    """An index of 3,000 items whose graph is searched so poorly that it shows. Read only."""
    path = tmp_path_factory.mktemp("poor") / "index"
    catalog = numbered(3000)
    index = ItemIndex(path, WordEncoder.fingerprint, ChromaOptions("", 1, 50, 4), create=True)
    index.update(catalog, index.changes(catalog), WordEncoder())
    return path


def found_first(path, ef_search) -> int:
    """How many of 200 items are found when exactly they are looked for."""
    index = ItemIndex(path, WordEncoder.fingerprint, ChromaOptions("", ef_search, 50, 4))
    items = [f"{i:04}" for i in range(200)]
    return sum(
        index.search(vector[None], 1) == [item_id] for item_id, vector in zip(items, index.vectors(items), strict=True)
    )


def test_another_ef_search_takes_effect_in_a_folder_at_once(poor_path, tmp_path):
    path = shutil.copytree(poor_path, tmp_path / "index")
    assert found_first(path, 1) < 100
    assert found_first(path, 500) > 190
    assert found_first(path, 1) < 100


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ef_construction": 20}, "ef_construction = 50, the settings say ef_construction = 20"),
        ({"max_neighbors": 9}, "max_neighbors = 4, the settings say max_neighbors = 9"),
        (
            {"ef_search": 7, "max_neighbors": 9},
            "ef_search = 1, max_neighbors = 4, the settings say ef_search = 7, max_neighbors = 9",
        ),
    ],
)
@pytest.mark.parametrize("create", [True, False])
def test_a_graph_made_with_other_parameters_is_refused(poor_path, changed, message, create):
    options = ChromaOptions(**({"ef_search": 1, "ef_construction": 50, "max_neighbors": 4} | changed))
    with pytest.raises(IndexMismatchError, match=rf"was made with {message}; rebuild it with: whyrec index --rebuild"):
        ItemIndex(poor_path, WordEncoder.fingerprint, options, create=create)
