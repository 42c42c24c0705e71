"""A collection on a server gives the answers of a folder, and each workspace has its own."""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest
from chroma_server import COMMAND, Server, fill, finding_of_index
from conftest import WordEncoder
from planted_models import PLANTED_SETTINGS, PlantedModels
from pydantic import ValidationError

from agent.evaluation.study import Question, Study
from agent.recommender import Recommender
from agent.request import Request
from agent.settings import ChromaSettings
from retrieval.data.workspace import Workspace
from retrieval.errors import IndexMismatchError
from retrieval.text.chroma import delete_collection, has_collection
from retrieval.text.index import ItemIndex
from retrieval.text.options import ChromaOptions

pytestmark = [
    pytest.mark.usefixtures("no_sockets_left"),
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # Chroma's client closes none of its own
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("server"))
    yield running
    running.stop()


@pytest.fixture
def options(server) -> ChromaOptions:
    return ChromaOptions(server.url)


@pytest.fixture
def workspace(unindexed_root) -> Workspace:
    return Workspace(unindexed_root)


def settings_with(**chroma):
    return PLANTED_SETTINGS.model_copy(update={"chroma": ChromaSettings(**chroma)})


def ids(answer):
    return [row.item_id for row in answer.rows]


def test_a_server_finds_what_a_folder_finds(workspace, options, planted_index):
    index = fill(workspace, options)
    everything = workspace.catalog.ids
    np.testing.assert_array_equal(index.vectors(everything), planted_index.vectors(everything))
    assert index.space == planted_index.space
    queries = planted_index.vectors(["space-0", "western-3"])
    for where in (None, {"year": {"$gte": 1990}}, {"topics": {"$contains": "drama"}}):
        for exclude in (frozenset(), frozenset({"space-1"}), frozenset(everything[:7])):
            assert index.search(queries, 4, where, exclude) == planted_index.search(queries, 4, where, exclude)
    assert index.ids({"year": {"$lt": 1983}}) == planted_index.ids({"year": {"$lt": 1983}})
    assert not workspace.index_path.exists()


def test_what_was_written_to_a_server_is_there_when_it_is_opened_again(workspace, options):
    fill(workspace, options)
    again = ItemIndex(workspace.index_path, WordEncoder.fingerprint, options)
    assert again.changes(workspace.catalog).unchanged == len(again) == 18
    assert again.made_from == workspace.catalog_fingerprint
    again.delete(["space-0"])
    assert again.changes(workspace.catalog).write == ["space-0"]


def test_people_are_served_from_a_server_as_from_a_folder(workspace, options, planted, tmp_path):
    fill(workspace, options)
    models = PlantedModels(tmp_path)
    remote = Recommender(workspace, settings_with(url=options.url), models)
    local = Recommender(planted, PLANTED_SETTINGS, models)
    for request in (Request("user-0", k=5), Request(likes=("Moon Base",), k=5), Request(query="garlic", k=3)):
        assert ids(remote.recommend(request)) == ids(local.recommend(request))
    assert ids(remote.similar("Moon Base", k=5)) == ids(local.similar("Moon Base", k=5))
    explained = [one.explain(Request("user-0"), "space-5").rows[0].explanation for one in (remote, local)]
    assert explained[0].text == explained[1].text


def test_an_evaluation_takes_its_vectors_from_the_server(workspace, options, planted_index, tmp_path):
    settings = settings_with(url=options.url)

    def study():
        return Study(workspace, settings, PlantedModels(tmp_path), Question("temporal"), 0)

    assert not study().has_text
    fill(workspace, options)
    assert study().has_text
    np.testing.assert_array_equal(study().vectors, planted_index.vectors(sorted(workspace.catalog.ids)))


def test_workspaces_that_share_a_server_do_not_meet(workspace, options, tmp_path):
    fill(workspace, options)
    other = Workspace(shutil.copytree(workspace.root, tmp_path / "other", ignore=shutil.ignore_patterns("*.name")))
    assert not has_collection(other.index_path, options)
    ItemIndex(other.index_path, "another-encoder", options, create=True)
    delete_collection(other.index_path, options)
    assert not has_collection(other.index_path, options)
    assert len(ItemIndex(workspace.index_path, WordEncoder.fingerprint, options)) == 18


def test_a_workspace_that_is_moved_keeps_its_collection(workspace, options, tmp_path):
    fill(workspace, options)
    moved = Workspace(workspace.root.rename(tmp_path / "moved"))
    assert len(ItemIndex(moved.index_path, WordEncoder.fingerprint, options)) == 18


def test_a_collection_is_deleted_and_made_anew(workspace, options):
    fill(workspace, options)
    delete_collection(workspace.index_path, options)
    delete_collection(workspace.index_path, options)
    with pytest.raises(IndexMismatchError, match=rf"has no index on {options.url} yet; make it with: whyrec index"):
        ItemIndex(workspace.index_path, WordEncoder.fingerprint, options)
    assert fill(workspace, options).changes(workspace.catalog).unchanged == 18


def test_a_workspace_that_was_never_on_the_server_is_told_how_to_get_there(workspace, options):
    with pytest.raises(IndexMismatchError, match=rf"has no index on {options.url} yet; make it with: whyrec index"):
        ItemIndex(workspace.index_path, WordEncoder.fingerprint, options)
    assert not list(workspace.root.glob("*.name"))


def test_an_index_of_another_encoder_is_refused_on_a_server_too(workspace, options):
    fill(workspace, options)
    with pytest.raises(IndexMismatchError, match=r"another encoder \(word-encoder, now other\); rebuild it with"):
        ItemIndex(workspace.index_path, "other", options)


def test_doctor_says_where_the_index_is(workspace, options, monkeypatch):
    fill(workspace, options, complete=False)
    name = (workspace.root / "index.name").read_text().strip()
    found = finding_of_index(workspace, monkeypatch, url=options.url)
    assert found.state == "stale"
    fill(workspace, options)
    found = finding_of_index(workspace, monkeypatch, url=options.url)
    assert (found.state, found.found) == ("ok", f"18 items in collection {name} on {options.url}")
    found = finding_of_index(workspace, monkeypatch, url=options.url, max_neighbors=5)
    assert found.state == "wrong"
    assert "max_neighbors = 16" in found.found


@pytest.mark.parametrize(
    "url",
    ["localhost:8000", "http://localhost", "http://a:b@host:80", "http://host:80/path", "ftp://host:21", "http://"],
)
def test_an_address_that_cannot_be_one_is_refused(url):
    with pytest.raises(ValidationError, match="it is http://HOST:PORT or https://HOST:PORT"):
        ChromaSettings(url=url)


def test_the_settings_reach_the_index():
    settings = ChromaSettings(url="https://host:443", ef_search=11, ef_construction=12, max_neighbors=13)
    assert settings.options == ChromaOptions("https://host:443", 11, 12, 13)
    assert ChromaSettings().options == ChromaOptions()


def test_a_server_takes_no_other_ef_search_and_says_so(workspace, options):
    fill(workspace, options)
    other = ChromaOptions(options.url, ef_search=300)
    with pytest.raises(IndexMismatchError, match=r"ef_search = 200, the settings say ef_search = 300; rebuild it with"):
        ItemIndex(workspace.index_path, WordEncoder.fingerprint, other)
    delete_collection(workspace.index_path, other)
    assert len(fill(workspace, other)) == 18


@pytest.mark.realdata
def test_every_command_works_with_a_server(workspace, options):
    environment = {**os.environ, "WHYREC_CHROMA__URL": options.url, "WHYREC_WORKSPACE": str(workspace.root)}

    def run(*words):
        result = subprocess.run(
            [*COMMAND, *words], env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert result.returncode == 0, result.stderr
        return result

    assert "18 written" in run("index").stderr
    assert "18 unchanged" in run("index").stderr
    rows = json.loads(run("recommend", "user-0", "-k", "3", "--format", "json").stdout)
    assert len(rows) == 3
    assert len(json.loads(run("similar", "Moon Base", "-k", "4", "--format", "json").stdout)) == 4
    assert "18 written" in run("index", "--rebuild").stderr
    assert json.loads(run("recommend", "user-0", "-k", "3", "--format", "json").stdout) == rows
    assert not workspace.index_path.exists()
