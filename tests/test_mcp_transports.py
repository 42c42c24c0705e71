"""`whyrec mcp` as a process, asked by the SDK's own client over standard input and output, and over HTTP."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import anyio
import httpx
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from ranker_world import environment, indexed_world, said_by, whyrec

from agent.mcp.transports import token_from
from agent.settings import load_settings
from retrieval.errors import InputError

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]
MAIN = ("-c", "from agent.cli import main; main()", "mcp")
TOKEN = "a-token-of-the-environment"
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
READY = {"jsonrpc": "2.0", "method": "notifications/initialized"}


@pytest.fixture(scope="module")
def world(tmp_path_factory, folders):
    return indexed_world(tmp_path_factory.mktemp("mcp") / "workspace", folders)


@pytest.fixture(scope="module")
def variables(folders):
    return environment(folders)


@contextmanager
def started(*arguments, **variables):
    with subprocess.Popen(
        [sys.executable, *MAIN, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200", **variables},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def call(number, name, **arguments):
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": name, "arguments": arguments}}


def test_a_client_that_starts_it_is_answered(world, variables):
    parameters = StdioServerParameters(
        command=sys.executable, args=[*MAIN, "-w", str(world)], env=os.environ | variables
    )

    async def session():
        async with Client(stdio_client(parameters)) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            listed = await client.call_tool("recommend", {"user": "user-01", "k": 3, "explain": True})
            again = await client.call_tool("recommend", {"user": "user-01", "k": 3, "explain": True})
            reason = await client.call_tool("explain", {"user": "user-01", "item": "Space Tale 03"})
            wrong = await client.call_tool("explain", {"user": "nobody", "item": "Space Tale 03"})
        return tools, listed, again, reason, wrong

    tools, listed, again, reason, wrong = anyio.run(session)
    assert tools == ["recommend", "explain", "similar", "search"]
    printed = whyrec("recommend", "user-01", "-k", "3", "--explain", "-f", "json", "-w", world, **variables)
    assert listed.structured_content["items"] == json.loads(printed.stdout)
    assert again.structured_content == listed.structured_content
    assert "Space Tale 03" in reason.structured_content["explanation"]
    assert wrong.is_error
    assert wrong.content[0].text.startswith("no user 'nobody'; there are, for instance, user-")


def test_standard_output_is_protocol_alone_and_its_end_ends_the_server(world, variables):
    with started("-w", world, **variables) as process:
        process.stdin.write("".join(json.dumps(one) + "\n" for one in (HELLO, READY, call(2, "search", query="space"))))
        process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for _ in range(2)]
        assert [one["id"] for one in answers] == [1, 2]
        assert answers[0]["result"]["serverInfo"]["name"] == "whyrec"
        assert answers[1]["result"]["structuredContent"]["items"]
        rest, messages = process.communicate(timeout=60)
        assert process.returncode == 0, messages
        assert rest == ""
        assert messages == ""


def test_ctrl_c_ends_it_at_once(tmp_path):
    with started("-w", tmp_path) as process:
        process.stdin.write(json.dumps(HELLO) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        assert process.communicate() == ("", "error: interrupted\n")


def test_a_workspace_that_is_not_there_is_told_to_the_client_until_it_is(tmp_path, world, variables):
    with started("-w", tmp_path / "shop", **variables) as process:

        def said(number):
            process.stdin.write(json.dumps(call(number, "search", query="space")) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())["result"]

        process.stdin.write(json.dumps(HELLO) + "\n" + json.dumps(READY) + "\n")
        process.stdin.flush()
        process.stdout.readline()
        missing = said(2)
        assert missing["isError"]
        assert "shop is not a workspace; make one with: whyrec init" in missing["content"][0]["text"]
        (tmp_path / "shop").symlink_to(world)
        assert not said(3).get("isError", False)
        process.communicate(timeout=60)
        assert process.returncode == 0


@pytest.fixture(scope="module")
def served(world, variables):
    """A server over HTTP with a token of its own: process, address, token."""
    with started("--http", "0", "-w", world, **variables) as process:
        token = process.stderr.readline().removeprefix("Token: ").strip()
        address = re.search(r"http://127\.0\.0\.1:\d+/mcp", process.stderr.readline())[0]
        yield process, address, token
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130


def test_clients_with_the_token_are_answered_over_http(served):
    _, address, token = served
    assert len(token) >= 32

    async def session(mode):
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60) as http,
            Client(streamable_http_client(address, http_client=http), mode=mode) as client,
        ):
            listed = [tool.name for tool in (await client.list_tools()).tools]
            return listed, await client.call_tool("similar", {"item": "Space Tale 03", "k": 2})

    for mode in ("legacy", "auto"):  # of the protocol: with a session, and without
        tools, result = anyio.run(session, mode)
        assert tools == ["recommend", "explain", "similar", "search"]
        assert [item["place"] for item in result.structured_content["items"]] == [1, 2]


def test_requests_without_the_token_or_from_elsewhere_are_refused(served):
    _, address, token = served
    plain = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    good = plain | {"Authorization": f"Bearer {token}"}

    def status(headers, method="POST", path=address):
        return httpx.request(method, path, headers=headers, json=HELLO if method == "POST" else None).status_code

    assert status(good) == 200
    for wrong in (
        "",
        "Bearer",
        f"Bearer {token}x",
        f"Bearer {token[:-1]}",
        f"Basic {token}",
        token,
        "Bearer é",
    ):
        given = plain | {"Authorization": wrong.encode("utf-8")}
        assert status(given) == 401, wrong
    for method in ("POST", "GET", "DELETE", "OPTIONS"):
        assert status(plain, method) == 401
    assert status(plain, path=address.replace("/mcp", "/other")) == 401
    assert httpx.post(address, headers=plain).headers["www-authenticate"] == "Bearer"
    assert status(good | {"Host": "evil.example"}) == 421
    assert status(good | {"Origin": "http://evil.example"}) == 403


def test_a_token_of_the_environment_is_not_printed_and_the_port_must_be_free(world, variables):
    with started("--http", "0", "-w", world, **variables, WHYREC_MCP_TOKEN=TOKEN) as process:
        line = process.stderr.readline()
        port = re.fullmatch(r"Serving at http://127\.0\.0\.1:(\d+)/mcp; Ctrl-C ends it\n", line)[1]
        headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/json, text/event-stream"}
        assert httpx.post(f"http://127.0.0.1:{port}/mcp", headers=headers, json=HELLO).status_code == 200
        second = whyrec("mcp", "--http", port, "-w", world, WHYREC_MCP_TOKEN=TOKEN)
        assert second.exit_code == 1
        assert f"port {port} cannot be used (Address already in use); choose another one: --http PORT" in said_by(
            second
        )
        process.send_signal(signal.SIGINT)
        out, messages = process.communicate(timeout=60)
        assert process.returncode == 130
        assert out == ""
        assert TOKEN not in messages
        with socket.socket() as free:
            assert free.connect_ex(("127.0.0.1", int(port))) != 0


@pytest.mark.parametrize("given", ["short", "with a blank in its middle", "ein-Schlüssel-mit-Umlaut", "x" * 20 + "\n"])
def test_a_token_that_cannot_be_used_is_refused(given, tmp_path):
    with pytest.raises(InputError, match="WHYREC_MCP_TOKEN is no usable token"):
        token_from({"WHYREC_MCP_TOKEN": given})
    assert whyrec("mcp", "--http", "0", "-w", tmp_path, WHYREC_MCP_TOKEN=given).exit_code == 1


def test_a_new_token_is_made_each_time():
    (first, new), (second, _) = token_from({}), token_from({"WHYREC_MCP_TOKEN": ""})
    assert new
    assert first != second
    assert token_from({"WHYREC_MCP_TOKEN": TOKEN}) == (TOKEN, False)


def test_the_variable_of_the_token_is_no_setting(monkeypatch):
    monkeypatch.setenv("WHYREC_MCP_TOKEN", TOKEN)
    load_settings(None)


@pytest.mark.parametrize("gone", ["mcp", "mcp_types"])
def test_without_the_package_the_way_to_get_it_is_said(gone, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, gone, None)
    result = whyrec("mcp", "-w", tmp_path)
    assert result.exit_code == 1
    assert said_by(result).endswith("pip install 'whyrec[mcp]'")
