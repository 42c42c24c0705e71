"""A remote language model: what it costs, what goes wrong, and that its key is told to nobody else."""

import json
import logging
import subprocess
import sys
import time
import traceback

import pytest
from pydantic import ValidationError
from scripted_endpoint import HELLO, KEY, MODEL, ask, completion, says

from agent.remote import endpoint as endpoint_module
from agent.remote.options import RemoteSettings
from agent.settings import load_settings
from retrieval.errors import RemoteError, WorkspaceError

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]


def test_a_request_is_sent_with_the_key_and_nothing_of_the_surroundings(scripted, made_endpoint, monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/elsewhere")
    told = []
    endpoint = made_endpoint()
    endpoint._say = told.append
    for _ in range(2):
        assert ask(endpoint).message.content == "hi"
    assert scripted.asked[0] == {"model": MODEL, "messages": HELLO, "max_tokens": 10}
    assert scripted.headers[0]["authorization"] == f"Bearer {KEY}"
    assert "secret" not in str(scripted.headers)
    assert told == [f"Asking the language model {endpoint.settings.name}: trying"]
    ask(made_endpoint(key_env="", limit="max_completion_tokens"))
    assert "authorization" not in scripted.headers[-1]
    assert scripted.asked[-1]["max_completion_tokens"] == 10


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
        ((200, b" " * 2**21, {}), "gives no answer that is read: it is too long"),
        ((200, b"x", {"Content-Encoding": "gzip"}), "gives no answer that is read: it is compressed"),
        ((200, b"{}", {"Content-Length": 9, "Connection": "close"}), "cannot be reached or breaks off"),
    ],
)
def test_what_goes_wrong_is_said_without_the_key(scripted, made_endpoint, caplog, capfd, answer, said):
    caplog.set_level(logging.DEBUG)
    scripted.script = lambda _body: answer
    endpoint = made_endpoint(timeout=2.0)
    with pytest.raises(RemoteError) as raised:
        ask(endpoint)
    assert said in str(raised.value)
    assert "\x1b" not in str(raised.value)
    everything = "".join(traceback.format_exception(raised.value)) + caplog.text + "".join(capfd.readouterr())
    assert KEY not in everything + repr(endpoint) + repr(vars(endpoint)) + repr(endpoint.settings)


def test_an_answer_that_takes_too_long_is_not_waited_for(scripted, made_endpoint):
    def script(_body):
        time.sleep(1.5)
        return 200, completion("late"), {}

    scripted.script = script
    start = time.monotonic()
    endpoint = made_endpoint(timeout=0.3, retries=1)
    with pytest.raises(RemoteError, match=r"gave no answer in time \(0.3 s\), tries: 2"):
        ask(endpoint)
    assert time.monotonic() - start < 6
    with pytest.raises(RemoteError, match="gave no answer in time"):  # it is not asked again at once
        ask(endpoint)
    assert len(scripted.asked) == 2
    assert endpoint.spending.total().tokens > 0  # an answer may have been begun, and have to be paid


def test_nor_is_one_that_comes_byte_by_byte(scripted, made_endpoint):
    scripted.drip = 0.1
    start = time.monotonic()
    with pytest.raises(RemoteError, match="gave no answer in time"):
        ask(made_endpoint(timeout=0.5))
    assert time.monotonic() - start < 3


def test_after_a_pause_it_is_asked_again(scripted, made_endpoint, monkeypatch):
    monkeypatch.setattr(endpoint_module, "PAUSE", 0.2)
    endpoint = made_endpoint()
    scripted.script = lambda _body: (500, {}, {})
    with pytest.raises(RemoteError, match="status 500"):
        ask(endpoint)
    scripted.script = says("hi")
    with pytest.raises(RemoteError, match="status 500"):
        ask(endpoint)
    time.sleep(0.25)
    assert ask(endpoint).message.content == "hi"


def test_an_endpoint_that_is_not_there_costs_nothing(made_endpoint):
    endpoint = made_endpoint(base_url="http://127.0.0.1:9/v1")
    with pytest.raises(RemoteError, match="cannot be reached"):
        ask(endpoint)
    assert endpoint.spending.total().tokens == 0
    with pytest.raises(RemoteError, match="cannot be reached"):
        endpoint.models()


def test_the_key_is_taken_from_the_environment_alone(made_endpoint, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(RemoteError, match=r"the environment variable OPENAI_API_KEY, .* is not set"):
        ask(made_endpoint())
    monkeypatch.setenv("OPENAI_API_KEY", "two\nlines")
    with pytest.raises(RemoteError, match="is no key: it has blanks") as raised:
        ask(made_endpoint())
    assert "two" not in str(raised.value)


def test_without_the_client_the_message_says_what_to_install(made_endpoint, monkeypatch):
    monkeypatch.setattr(endpoint_module, "find_spec", lambda _name: None)
    with pytest.raises(RemoteError, match=r"pip install 'whyrec\[remote\]'"):
        ask(made_endpoint())


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
