"""A remote language model: what it costs, what goes wrong, and that its key is told to nobody else."""

import json
import logging
import multiprocessing
import sqlite3
import subprocess
import sys
import time
import traceback
from itertools import pairwise

import pytest
from pydantic import ValidationError
from scripted_endpoint import KEY, MODEL, ScriptedEndpoint, completion, says

from agent.remote import endpoint as endpoint_module
from agent.remote.endpoint import Endpoint
from agent.remote.options import RemoteSettings
from agent.remote.spending import Spending
from agent.settings import load_settings
from retrieval.errors import RemoteError, WorkspaceError

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def scripted(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with ScriptedEndpoint(says("hi")).running() as running:
        yield running


@pytest.fixture
def made(scripted, tmp_path, request):
    """Makes endpoints, and closes them."""

    def make(**changes):
        given = {"base_url": scripted.url, "model": MODEL, "writer": True, "spending": str(tmp_path / "spent.sqlite")}
        one = Endpoint(RemoteSettings(**given | {"timeout": 5.0, "retries": 0} | changes))
        request.addfinalizer(one.close)
        return one

    return make


def ask(endpoint, longest=10, **options):
    return endpoint.ask("trying", HELLO, longest, options)


def test_a_request_is_sent_with_the_key_and_nothing_of_the_surroundings(scripted, made, monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/elsewhere")
    told = []
    endpoint = made()
    endpoint._say = told.append
    for _ in range(2):
        assert ask(endpoint).message.content == "hi"
    assert scripted.asked[0] == {"model": MODEL, "messages": HELLO, "max_tokens": 10}
    assert scripted.headers[0]["authorization"] == f"Bearer {KEY}"
    assert "secret" not in str(scripted.headers)
    assert told == [f"Asking the language model {endpoint.settings.name}: trying"]
    ask(made(key_env="", limit="max_completion_tokens"))
    assert "authorization" not in scripted.headers[-1]
    assert scripted.asked[-1]["max_completion_tokens"] == 10


@pytest.mark.parametrize("status", [429, 500, 503])
def test_it_is_tried_again_after_a_pause(scripted, made, status):
    moments = []

    def script(_body):
        moments.append(time.monotonic())
        return (200, completion("hi"), {}) if len(moments) == 3 else (status, {}, {})

    scripted.script = script
    assert ask(made(retries=2)).message.content == "hi"
    first, second = (later - earlier for earlier, later in pairwise(moments))
    assert 0.3 < first < second


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, {"error": {"message": f"wrong key {KEY}"}}, {}), "refuses the key in OPENAI_API_KEY (status 401"),
        ((429, {"error": {"message": "slow down\x1b[31m"}}, {}), "too many requests or too little credit"),
        ((404, b"no such model " + KEY.encode() * 100, {}), "refuses the request (status 404"),
        ((400, {"error": {"message": "\u200b".join(KEY)}}, {}), "refuses the request (status 400"),
        ((307, {}, {"Location": "http://127.0.0.1:9/steal"}), "refuses the request (status 307"),
        ((200, b"<html>not JSON</html>", {}), "no chat completion"),
        ((200, {"choices": []}, {}), "no chat completion"),
        ((200, {"choices": [{"message": {"content": 7}}]}, {}), "no chat completion"),
        ((200, b"[" * 100_000, {}), "no chat completion"),
        ((200, b" " * 2**21, {}), "cannot be reached or breaks off (ReadError)"),
        ((200, b"x", {"Content-Encoding": "gzip"}), "cannot be reached or breaks off (ReadError)"),
        ((200, b"{}", {"Content-Length": 9, "Connection": "close"}), "cannot be reached or breaks off"),
    ],
)
def test_what_goes_wrong_is_said_without_the_key(scripted, made, caplog, capfd, answer, said):
    caplog.set_level(logging.DEBUG)
    scripted.script = lambda _body: answer
    endpoint = made(timeout=2.0)
    with pytest.raises(RemoteError) as raised:
        ask(endpoint)
    assert said in str(raised.value)
    assert "\x1b" not in str(raised.value)
    everything = "".join(traceback.format_exception(raised.value)) + caplog.text + "".join(capfd.readouterr())
    assert KEY not in everything + repr(endpoint) + repr(vars(endpoint)) + repr(endpoint.settings)


def test_an_answer_that_takes_too_long_is_not_waited_for(scripted, made):
    def script(_body):
        time.sleep(1.5)
        return 200, completion("late"), {}

    scripted.script = script
    start = time.monotonic()
    endpoint = made(timeout=0.3, retries=1)
    with pytest.raises(RemoteError, match=r"gave no answer in time \(0.3 s, tries: 2\)"):
        ask(endpoint)
    assert time.monotonic() - start < 3
    with pytest.raises(RemoteError, match="gave no answer in time"):  # it is not asked again at once
        ask(endpoint)
    assert len(scripted.asked) == 2
    assert endpoint.spending.total().tokens > 0  # an answer may have been begun, and have to be paid


def test_nor_is_one_that_comes_byte_by_byte(scripted, made):
    scripted.drip = 0.1
    start = time.monotonic()
    with pytest.raises(RemoteError, match="gave no answer in time"):
        ask(made(timeout=0.5))
    assert time.monotonic() - start < 3


def test_after_a_pause_it_is_asked_again(scripted, made, monkeypatch):
    monkeypatch.setattr(endpoint_module, "PAUSE", 0.2)
    endpoint = made()
    scripted.script = lambda _body: (500, {}, {})
    with pytest.raises(RemoteError, match="status 500"):
        ask(endpoint)
    scripted.script = says("hi")
    with pytest.raises(RemoteError, match="status 500"):
        ask(endpoint)
    time.sleep(0.25)
    assert ask(endpoint).message.content == "hi"


def test_an_endpoint_that_is_not_there_costs_nothing(made):
    endpoint = made(base_url="http://127.0.0.1:9/v1")
    with pytest.raises(RemoteError, match="cannot be reached"):
        ask(endpoint)
    assert endpoint.spending.total().tokens == 0
    with pytest.raises(RemoteError, match="cannot be reached"):
        endpoint.models()


def test_an_answer_that_breaks_off_may_have_to_be_paid(scripted, made):
    scripted.script = lambda _body: (200, b"{}", {"Content-Length": 9, "Connection": "close"})
    endpoint = made()
    with pytest.raises(RemoteError, match="breaks off"):
        ask(endpoint)
    assert endpoint.spending.total().tokens > 0


def test_the_key_is_taken_from_the_environment_alone(made, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(RemoteError, match=r"the environment variable OPENAI_API_KEY, .* is not set"):
        ask(made())
    monkeypatch.setenv("OPENAI_API_KEY", "two\nlines")
    with pytest.raises(RemoteError, match="is no key: it has blanks") as raised:
        ask(made())
    assert "two" not in str(raised.value)


def test_without_the_client_the_message_says_what_to_install(made, monkeypatch):
    monkeypatch.setattr(endpoint_module, "find_spec", lambda _name: None)
    with pytest.raises(RemoteError, match=r"pip install 'whyrec\[remote\]'"):
        ask(made())


def test_what_is_spent_is_what_the_server_counts(scripted, made):
    endpoint = made(price_read=2.0, price_written=10.0, most_cost=1.0)
    for _ in range(3):
        ask(endpoint)
    spent = endpoint.spending.total()
    assert (spent.requests, spent.tokens) == (3, 180)
    assert spent.cost == pytest.approx(3 * (50 * 2 + 10 * 10) / 1e6)
    scripted.script = says("hi", usage=None)  # no count: as much as it may have been
    ask(endpoint)
    assert endpoint.spending.total().tokens > 180 + 256
    assert Endpoint(endpoint.settings).spending.total().requests == 4


def test_at_the_cap_nothing_is_sent(scripted, made, tmp_path):
    endpoint = made(most_tokens=400)
    with pytest.raises(RemoteError, match=r"cap of the language model .* is reached: 0 of 400 tokens"):
        ask(endpoint, longest=300)
    ask(endpoint)
    ask(endpoint)
    with pytest.raises(RemoteError, match="120 of 400 tokens"):
        ask(endpoint)
    dear = made(most_cost=0.0001, price_read=1.0, price_written=1.0, spending=str(tmp_path / "other.sqlite"))
    with pytest.raises(RemoteError, match=r"0.0000 of 0.0001 in money, and the next answer may take 0.0003"):
        ask(dear)
    assert len(scripted.asked) == 2


def _reserve(settings, path, found):
    spending, count = Spending(settings, path), 0
    try:
        while True:
            spending.reserve("trying", 90, 10)
            count += 1
    except RemoteError:
        found.put(count)


def test_processes_never_exceed_the_cap_together(made, tmp_path):
    settings = made(most_tokens=5_000).settings
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    people = [context.Process(target=_reserve, args=(settings, tmp_path / "spent.sqlite", found)) for _ in range(3)]
    for one in people:
        one.start()
    assert sum(found.get(timeout=60) for _ in people) == 50
    for one in people:
        one.join()
    assert Spending(settings, tmp_path / "spent.sqlite").total().tokens == 5_000


def test_a_damaged_count_stops_everything(made, tmp_path):
    (tmp_path / "spent.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(WorkspaceError, match="cannot be used"):
        ask(made())


@pytest.mark.parametrize("usage", [{"prompt_tokens": -5, "completion_tokens": 1}, {"prompt_tokens": 2**80}])
def test_an_odd_count_lowers_nothing(scripted, made, usage):
    scripted.script = says("hi", usage=usage)
    endpoint = made()
    with pytest.raises(RemoteError, match="no chat completion"):
        ask(endpoint)
    assert endpoint.spending.total().tokens > 0
    reserved = endpoint.spending.reserve("trying", 10, 10)
    endpoint.spending.settle(reserved, 2**70, -3)
    with sqlite3.connect(endpoint.spending.path) as database:
        assert database.execute("SELECT sum(read) FROM spent").fetchone()[0] >= 10**12


FITTING = {"base_url": "https://example.org/v1", "model": "m", "writer": True}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"api_key": KEY}, "the key may stand in no setting"),
        ({"headers": {"Authorization": KEY}}, "the key may stand in no setting"),
        ({"key_env": KEY}, "it is the name of a variable in capitals"),
        ({"base_url": f"https://user:{KEY}@example.org/v1"}, "without user, password or query"),
        ({"base_url": f"https://example.org/v1?key={KEY}"}, "without user, password or query"),
        ({"base_url": "http://example.org/v1"}, "http:// would send the key in the clear"),
        ({"base_url": ""}, "base_url and model must be set"),
        ({"most_cost": 1.0}, "most_cost needs price_read and price_written"),
        ({"colour": "blue"}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_are_refused(given, said, tmp_path):
    with pytest.raises(ValidationError, match=said):
        RemoteSettings(**FITTING | given)
    lines = [f"{name} = {json.dumps(value)}" for name, value in (FITTING | given).items() if name != "headers"]
    lines += ["[remote.headers]", f'Authorization = "{KEY}"'] if "headers" in given else []
    (tmp_path / "whyrec.toml").write_text("\n".join(["[remote]", *lines]))
    with pytest.raises(WorkspaceError, match=said) as raised:
        load_settings(tmp_path / "whyrec.toml")
    assert KEY not in "".join(traceback.format_exception(raised.value))


def test_settings_that_fit():
    assert RemoteSettings().used == ()
    assert RemoteSettings(**FITTING).name == "m at example.org"
    here = RemoteSettings(**FITTING | {"base_url": "http://[::1]:8000/v1/"})
    assert (here.base_url, here.is_here) == ("http://[::1]:8000/v1", True)
    assert RemoteSettings(**FITTING | {"base_url": "http://gpu:8000/v1", "key_env": ""}).key_env == ""


def test_the_client_is_imported_when_it_is_used_and_not_before():
    code = (
        "import sys, agent.models, agent.reading, agent.recommender, agent.diagnosis; "
        "print([name for name in ('openai', 'httpx2', 'torch') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
