"""A Chroma server that is down, or is none, is named in one line, and used again when it comes back."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from chroma_server import COMMAND, Server, fill, finding_of_index
from conftest import WordEncoder

from retrieval.data.workspace import Workspace
from retrieval.errors import WorkspaceError
from retrieval.text.chroma import delete_collection, has_collection
from retrieval.text.index import ItemIndex
from retrieval.text.options import ChromaOptions

pytestmark = [
    pytest.mark.usefixtures("no_sockets_left"),
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # Chroma's client closes none of its own
]


@pytest.fixture
def workspace(unindexed_root) -> Workspace:
    return Workspace(unindexed_root)


def test_a_server_that_dies_is_named_and_one_that_comes_back_is_used_again(workspace, tmp_path):
    server = Server(tmp_path)
    options = ChromaOptions(server.url)
    index = fill(workspace, options)
    server.stop()
    down = rf"no Chroma server answers at {server.url} \(.*Connection refused\); start it .*WHYREC_CHROMA__URL="
    with pytest.raises(WorkspaceError, match=down):
        index.search(np.ones((1, WordEncoder.dimension), dtype=np.float32), 3)
    for work in (
        lambda: ItemIndex(workspace.index_path, WordEncoder.fingerprint, options),
        lambda: delete_collection(workspace.index_path, options),
        lambda: has_collection(workspace.index_path, options),
    ):
        with pytest.raises(WorkspaceError, match=down):
            work()
    server.start()
    assert len(ItemIndex(workspace.index_path, WordEncoder.fingerprint, options)) == 18
    server.stop()


def test_what_answers_and_is_no_chroma_is_named(workspace, tmp_path):
    web = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        url = web.stdout.readline().split("(")[1].split("/)")[0]
        with pytest.raises(WorkspaceError, match=rf"no Chroma server answers at {url} \(what answers .* HTTP 404\)"):
            ItemIndex(workspace.index_path, WordEncoder.fingerprint, ChromaOptions(url), create=True)
    finally:
        web.kill()
        web.communicate()


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        pytest.param("minilm", ["index"], marks=pytest.mark.realdata),
        pytest.param("minilm", ["index", "--rebuild"], marks=pytest.mark.realdata),
        ("./any", ["recommend", "user-0"]),
        ("./any", ["similar", "Moon Base"]),
    ],
)
def test_a_command_without_its_server_ends_with_one_line(workspace, tmp_path, encoder, words):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and not listened to
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        (tmp_path / "any").mkdir()
        (tmp_path / "any" / "config.json").write_text("{}")
        workspace.index_path.with_name("index.name").write_text("whyrec-there-before\n")
        environment = {**os.environ, "WHYREC_CHROMA__URL": url, "WHYREC_ENCODER__MODEL": encoder}
        result = subprocess.run(
            [*COMMAND, *words, "-w", str(workspace.root)],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
    assert result.returncode == 1
    assert [line for line in result.stderr.splitlines() if url in line] == [result.stderr.strip()]
    assert result.stderr.startswith(f"error: no Chroma server answers at {url}")


def test_doctor_says_that_the_server_is_down(workspace, monkeypatch):
    workspace.index_path.with_name("index.name").write_text("whyrec-there-before\n")
    found = finding_of_index(workspace, monkeypatch, url="http://127.0.0.1:1")
    assert found.state == "wrong"
    assert found.found.startswith("no Chroma server answers at http://127.0.0.1:1")
