"""The tools of `whyrec mcp`, asked by the SDK's own client in this process, on the planted world."""

import json
import logging
import threading
import time

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_session import answer, failure, ids
from planted_models import PLANTED_SETTINGS, PlantedModels

from agent.mcp.feedback import feedback_tool
from agent.mcp.server import make_server
from agent.mcp.tools import TOOLS, Tool
from agent.mcp.untrusted import quoted
from agent.recommender import Recommender
from retrieval.errors import InputError


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return PlantedModels(tmp_path_factory.mktemp("lm"))


@pytest.fixture
def server(planted, models):
    recommender = Recommender(planted, PLANTED_SETTINGS, models)
    return make_server(TOOLS, lambda: recommender)


def test_the_tools_say_what_they_take_and_that_they_change_nothing(server):
    async def session():
        async with Client(server) as client:
            assert "untrusted data" in client.instructions
            return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in anyio.run(session)}
    assert set(tools) == {"recommend", "explain", "similar", "search"}
    for tool in tools.values():
        assert tool.annotations.read_only_hint
        assert not tool.annotations.destructive_hint
        assert not tool.annotations.open_world_hint
        assert tool.input_schema["additionalProperties"] is False
        assert all("description" in one or "$ref" in one for one in tool.input_schema["properties"].values())
        assert tool.output_schema["type"] == "object"
    k = tools["recommend"].input_schema["properties"]["k"]
    assert (k["minimum"], k["maximum"], k["default"]) == (1, 100, 10)
    assert tools["explain"].input_schema["required"] == ["user", "item"]


def test_recommend_for_a_user(server):
    result = answer(server, "recommend", user="user-0", k=4)
    assert set(ids(result)[:2]) == {"space-4", "space-5"}
    first = result.structured_content["items"][0]
    assert first["place"] == 1
    assert first["by"] == ["retrieve"]
    assert "explanation" not in first
    lines = result.content[0].text.splitlines()
    assert lines[0].startswith(f'1. {quoted(first["title"])} (id "{first["item_id"]}"), score ')
    assert result.structured_content["notes"] == [json.loads(line.removeprefix("note: ")) for line in lines[4:]]


def test_recommend_for_likes_for_words_and_within_limits(server):
    liked = answer(server, "recommend", likes=["bread days", "Salt and Lemon"], k=4)
    assert {item.split("-")[0] for item in ids(liked)} == {"cooking"}
    assert ids(answer(server, "recommend", query="garlic road", k=1)) == ["cooking-5"]
    western = answer(server, "recommend", user="user-0", k=5, where="topics ~ western and year < 2005")
    assert set(ids(western)) == {f"western-{place}" for place in range(5)}


def test_recommend_says_why(server):
    result = answer(server, "recommend", user="user-0", k=2, explain=True)
    for item in result.structured_content["items"]:
        assert item["evidence"]["item_id"] == item["item_id"]
        assert f"   why: {quoted(item['explanation'])}" in result.content[0].text.splitlines()


def test_explain(server):
    result = answer(server, "explain", user="user-0", item="Orbit of Fire")
    found = result.structured_content
    assert found["item_id"] == "space-4"
    assert "Orbit of Fire" in found["explanation"]
    assert {cited["item_id"] for cited in found["evidence"]["cited"]} <= {f"space-{place}" for place in range(4)}
    assert result.content[0].text.startswith('"Orbit of Fire (1984)" (id "space-4")\n   why: "')


def test_similar_and_search(server):
    similar = answer(server, "similar", item="Moon Base", k=5)
    assert {item.split("-")[0] for item in ids(similar)} == {"space"}
    assert "space-1" not in ids(similar)
    assert ids(answer(server, "search", query="pastry wars", k=1)) == ["cooking-3"]
    assert ids(answer(server, "search", query="story", k=1, where="item_id = western-2")) == ["western-2"]


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("recommend", {"user": "nobody"}, "no user 'nobody'; there are, for instance, user-"),
        ("recommend", {}, "nothing to go on"),
        ("recommend", {"user": "user-0", "where": "nope = 1"}, "'nope'"),
        ("recommend", {"user": "user-0", "where": "year > 3000"}, "no item is left to recommend"),
        ("recommend", {"likes": ["riders"]}, "id:space-2"),
        ("explain", {"user": "user-0", "item": "Zzyzx Quux"}, "'Zzyzx Quux'"),
        ("similar", {"item": "Moon Base", "where": "year > 3000"}, "no other item fits the filter"),
        ("search", {"query": "  "}, "nothing to go on"),
        ("recommend", {"user": "user-0", "k": 0}, "k: Input should be greater than or equal to 1"),
        ("recommend", {"user": "user-0", "k": 101}, "k: Input should be less than or equal to 100"),
        ("recommend", {"user": "user-0", "k": "many"}, "k: Input should be a valid integer"),
        ("recommend", {"user": "user-0", "wher": "x"}, "wher: Extra inputs are not permitted"),
        ("recommend", {"likes": [""]}, "likes.0: String should have at least 1 character"),
        ("recommend", {"likes": ["Moon Base"] * 101}, "likes: List should have at most 100 items"),
        ("search", {"query": "x" * 1001}, "query: String should have at most 1000 characters"),
        ("similar", {"item": None, "k": 0}, "item: Input should be a valid string; k: Input should be greater"),
        ("explain", {"user": "user-0"}, "item: Field required"),
    ],
)
def test_what_cannot_be_answered_is_one_sentence(server, name, arguments, words):
    assert words in failure(server, name, **arguments)


def test_a_tool_that_is_not_there_is_a_protocol_error(server):
    async def session():
        async with Client(server) as client:
            with pytest.raises(MCPError, match="no tool 'feedback'; there are recommend, explain, similar, search"):
                await client.call_tool("feedback", {})

    anyio.run(session)


def test_a_fault_of_whyrec_shows_its_traceback_to_the_servers_owner_alone(caplog):
    def broken():
        raise KeyError("secret path")

    with caplog.at_level(logging.ERROR):
        text = failure(make_server(TOOLS, broken), "search", query="x")
    assert text == "whyrec itself failed (KeyError); the server's standard error says more"
    assert "secret path" in caplog.text


def test_an_error_of_the_system_is_a_sentence():
    def damaged():
        raise PermissionError(13, "Permission denied", "items.parquet")

    assert failure(make_server(TOOLS, damaged), "search", query="x") == "items.parquet: Permission denied"


def test_requests_are_served_one_at_a_time_and_nothing_is_loaded_before_the_first(planted, models):
    inside, most, opened = [], [], []
    lock = threading.Lock()

    def slow(_recommender, _asked):
        with lock:
            inside.append(1)
            most.append(len(inside))
        time.sleep(0.02)
        with lock:
            inside.pop()
        return TOOLS[3].answer(Recommender(planted, PLANTED_SETTINGS, models), TOOLS[3].arguments(query="story"))

    server = make_server([Tool("slow", "", TOOLS[3].arguments, TOOLS[3].result, slow)], lambda: opened.append(1))

    async def session():
        async with Client(server) as client:
            await client.list_tools()
            assert opened == []
            async with anyio.create_task_group() as group:
                for _ in range(8):
                    group.start_soon(client.call_tool, "slow", {"query": "story"})

    anyio.run(session)
    assert most == [1] * 8


class Shelf:
    """A store of reactions in memory that knows one user."""

    def __init__(self):
        self.kept = []

    def add(self, user, item, reaction):
        if user != "ann":
            raise InputError(f"no user {user!r}")
        self.kept.append((user, item, reaction))


def test_a_store_of_reactions_can_be_connected():
    shelf = Shelf()
    open_server = make_server([*TOOLS, feedback_tool(lambda: shelf)], lambda: None)
    result = answer(open_server, "feedback", user="ann", item="Moon\x07 Base", reaction="like")
    assert shelf.kept == [("ann", "Moon\x07 Base", "like")]
    assert result.structured_content == {"user": "ann", "item": "Moon  Base", "reaction": "like"}
    assert failure(open_server, "feedback", user="bob", item="x", reaction="like") == "no user 'bob'"

    async def session():
        async with Client(open_server) as client:
            return {tool.name: tool.annotations.read_only_hint for tool in (await client.list_tools()).tools}

    assert anyio.run(session) == {**{tool.name: True for tool in TOOLS}, "feedback": False}
