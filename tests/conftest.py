"""Fixtures: one seed for everything, and a planted world whose right answers are known."""

import gc
import random
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scripted_endpoint import KEY, MODEL, ScriptedEndpoint, says

from agent.remote.endpoint import Endpoint
from agent.remote.options import RemoteSettings
from retrieval.data.readers import Table
from retrieval.data.workspace import Workspace, create_workspace
from retrieval.ranking import Floats
from retrieval.text.index import ItemIndex
from retrieval.text.lexical import write_lexical

SEED = 20261122


@pytest.fixture(autouse=True)
def _seeded():
    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002 - libraries that still use the global generator


class WordEncoder:
    """A real encoder of the simplest kind: each word has a random direction, a text is the sum of its words."""

    fingerprint = "word-encoder"
    dimension = 64

    def encode(self, texts: Sequence[str]) -> Floats:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.casefold().replace(",", " ").replace(".", " ").split():
                vectors[row] += np.random.default_rng(zlib.crc32(word.encode())).normal(size=self.dimension)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths == 0, 1, lengths)


TOPICS = {
    "space": ["Star Voyage", "Moon Base", "Comet Riders", "Galaxy Nine", "Orbit of Fire", "Silent Planet"],
    "cooking": ["Bread Days", "Salt and Lemon", "The Soup Kitchen", "Pastry Wars", "Honey Table", "Garlic Road"],
    "western": ["Dust Riders", "Red Canyon", "Last Wagon", "Lone Saddle", "Silver Spur", "High Prairie"],
}


def planted_tables() -> tuple[Table, Table]:
    """18 items in three topics, and six users of whom each likes items of one topic and dislikes another's."""
    items, events = [], []
    for number, (topic, titles) in enumerate(TOPICS.items()):
        for place, title in enumerate(titles):
            items.append(
                {
                    "item_id": f"{topic}-{place}",
                    "title": title,
                    "year": 1980 + 10 * number + place,
                    "topics": [topic, "drama"] if place % 2 else [topic],
                    "about": f"a story of {topic}",
                }
            )
    names = list(TOPICS)
    for user in range(6):
        liked, disliked = names[user % 3], names[(user + 1) % 3]
        events.extend((f"user-{user}", f"{liked}-{place}", 5.0, place) for place in range(4))
        events.append((f"user-{user}", f"{disliked}-0", 1.0, 9))
    frame = pl.DataFrame(events, schema=["user_id", "item_id", "rating", "timestamp"], orient="row")
    return Table(pl.DataFrame(items).lazy(), "planted items"), Table(frame.lazy(), "planted events")


@pytest.fixture(scope="session")
def planted_root(tmp_path_factory) -> Path:
    """A workspace of the planted world with an index by `WordEncoder`. Read only: copy it before changing it."""
    root = tmp_path_factory.mktemp("planted") / "workspace"
    create_workspace(root, *planted_tables(), noun="story")
    workspace = Workspace(root)
    index = ItemIndex(workspace.index_path, WordEncoder.fingerprint, create=True)
    index.update(workspace.catalog, index.changes(workspace.catalog), WordEncoder())
    index.complete(workspace.catalog_fingerprint)
    write_lexical(workspace)
    return root


@pytest.fixture
def unindexed_root(planted_root, tmp_path) -> Path:
    """A workspace of the planted world without an index, to be changed."""
    return shutil.copytree(planted_root, tmp_path / "workspace", ignore=shutil.ignore_patterns("index"))


@pytest.fixture
def planted(planted_root) -> Workspace:
    return Workspace(planted_root)


@pytest.fixture
def planted_index(planted) -> ItemIndex:
    return ItemIndex(planted.index_path, WordEncoder.fingerprint)


@pytest.fixture(scope="session")
def planted_histories(planted_root):
    import fusion_world  # most tests need no scorers

    return fusion_world.planted_histories(planted_root)


@pytest.fixture(scope="session")
def planted_scorers(planted_root, planted_histories):
    import fusion_world

    return fusion_world.planted_scorers(planted_root, planted_histories)


@pytest.fixture(scope="session")
def planted_fusions():
    import fusion_world

    return fusion_world.planted_fusions()


@pytest.fixture(scope="session")
def fused_root(planted_root, planted_fusions, planted_scorers, tmp_path_factory) -> Path:
    """A workspace of the planted world with a fusion. Read only: copy it before changing it."""
    from fusion_world import save

    root = shutil.copytree(planted_root, tmp_path_factory.mktemp("fused") / "workspace")
    save(root, planted_fusions, planted_scorers)
    return root


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """A tiny encoder and a tiny language model. Read only."""
    from ranker_world import tiny_models  # most tests need no language model

    return tiny_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def exactly():
    """The encoder computes in float32, and few constants of fusions are tried."""
    from evaluation_world import quickly

    from retrieval.text import encoder

    with pytest.MonkeyPatch.context() as patch, quickly():
        patch.setattr(encoder, "computes_bfloat16", lambda: False)
        yield


@pytest.fixture
def no_sockets_left():
    """Chroma's clients go while their sockets may still be left open, not in somebody else's test."""
    from chromadb.api.shared_system_client import SharedSystemClient

    yield
    SharedSystemClient.clear_system_cache()
    gc.collect()


@pytest.fixture
def scripted(monkeypatch):
    """A remote language model that says what a test writes, and its key in the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with ScriptedEndpoint(says("hi")).running() as running:
        yield running


@pytest.fixture
def made_endpoint(scripted, tmp_path, request):
    """Makes an `Endpoint` that asks ``scripted``, by further settings, and closes it."""

    def make(**changes) -> Endpoint:
        given = {"base_url": scripted.url, "model": MODEL, "writer": True, "spending": str(tmp_path / "spent.sqlite")}
        one = Endpoint(RemoteSettings(**given | {"timeout": 5.0, "retries": 0} | changes))
        request.addfinalizer(one.close)
        return one

    return make
