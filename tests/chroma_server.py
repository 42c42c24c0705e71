"""A Chroma server on loopback, and workspaces of the planted world whose index is on it."""

import socket
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import httpx
from conftest import WordEncoder

from agent.diagnosis import diagnose
from agent.models import Models
from retrieval.text.index import ItemIndex

COMMAND = [sys.executable, "-c", "from agent.cli import main; main()"]


class Server:
    """A Chroma server on loopback that can be stopped and started."""

    def __init__(self, folder: Path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self.start()

    def start(self):
        chroma = Path(sysconfig.get_path("scripts")) / "chroma"
        command = [chroma, "run", "--path", self._folder / "data", "--host", "127.0.0.1", "--port", str(self.port)]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)
        for _ in range(300):
            assert self._process.poll() is None, (self._folder / "log").read_text()
            try:
                httpx.get(f"{self.url}/api/v2/heartbeat")
            except httpx.TransportError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError("the server did not start")

    def stop(self):
        self._process.kill()
        self._process.wait()


def fill(workspace, options, *, complete=True) -> ItemIndex:
    index = ItemIndex(workspace.index_path, WordEncoder.fingerprint, options, create=True)
    index.update(workspace.catalog, index.changes(workspace.catalog), WordEncoder())
    if complete:
        index.complete(workspace.catalog_fingerprint)
    return index


class Planted(Models):
    encoder_fingerprint = WordEncoder.fingerprint


def finding_of_index(workspace, monkeypatch, **chroma):
    for name, value in chroma.items():
        monkeypatch.setenv(f"WHYREC_CHROMA__{name.upper()}", str(value))
    monkeypatch.setattr("agent.diagnosis.Models", Planted)
    return next(row for row in diagnose(workspace.root, workspace.root) if row.what == "index")
