"""What a remote language model costs: each try is reserved, and the cap holds whatever the endpoint does."""

import multiprocessing
import sqlite3
import threading
import time
from itertools import pairwise

import pytest
from scripted_endpoint import ask, completion, says

from agent.remote import retries
from agent.remote.endpoint import Endpoint
from agent.remote.ranker import AT_ONCE, RemoteRanker
from agent.remote.spending import Spending
from retrieval.contracts import RankRequest
from retrieval.errors import RemoteError, WorkspaceError

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_it_is_tried_again_after_a_pause(scripted, made_endpoint, status):
    moments = []

    def script(_body):
        moments.append(time.monotonic())
        return (200, completion("hi"), {}) if len(moments) == 3 else (status, {}, {})

    scripted.script = script
    assert ask(made_endpoint(retries=2)).message.content == "hi"
    first, second = (later - earlier for earlier, later in pairwise(moments))
    assert 0.3 < first < second


def test_an_answer_that_breaks_off_may_have_to_be_paid(scripted, made_endpoint):
    scripted.script = lambda _body: (200, b"{}", {"Content-Length": 9, "Connection": "close"})
    endpoint = made_endpoint()
    with pytest.raises(RemoteError, match="breaks off"):
        ask(endpoint)
    assert endpoint.spending.total().tokens > 0


def test_what_is_spent_is_what_the_server_counts(scripted, made_endpoint):
    endpoint = made_endpoint(price_read=2.0, price_written=10.0, most_cost=1.0)
    for _ in range(3):
        ask(endpoint)
    spent = endpoint.spending.total()
    assert (spent.requests, spent.tokens) == (3, 180)
    assert spent.cost == pytest.approx(3 * (50 * 2 + 10 * 10) / 1e6)
    scripted.script = says("hi", usage=None)  # no count: as much as it may have been
    ask(endpoint)
    assert endpoint.spending.total().tokens > 180 + 256
    assert Endpoint(endpoint.settings).spending.total().requests == 4


def test_at_the_cap_nothing_is_sent(scripted, made_endpoint, tmp_path):
    endpoint = made_endpoint(most_tokens=400)
    with pytest.raises(RemoteError, match=r"cap of the language model .* is reached: 0 of 400 tokens"):
        ask(endpoint, longest=300)
    ask(endpoint)
    ask(endpoint)
    with pytest.raises(RemoteError, match="120 of 400 tokens"):
        ask(endpoint)
    dear = made_endpoint(most_cost=0.0001, price_read=1.0, price_written=1.0, spending=str(tmp_path / "other.sqlite"))
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


def test_processes_never_exceed_the_cap_together(made_endpoint, tmp_path):
    settings = made_endpoint(most_tokens=5_000).settings
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    people = [context.Process(target=_reserve, args=(settings, tmp_path / "spent.sqlite", found)) for _ in range(3)]
    for one in people:
        one.start()
    assert sum(found.get(timeout=60) for _ in people) == 50
    for one in people:
        one.join()
    assert Spending(settings, tmp_path / "spent.sqlite").total().tokens == 5_000


def test_a_damaged_count_stops_everything(made_endpoint, tmp_path):
    (tmp_path / "spent.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(WorkspaceError, match="cannot be used"):
        ask(made_endpoint())


@pytest.mark.parametrize("usage", [{"prompt_tokens": -5, "completion_tokens": 1}, {"prompt_tokens": 2**80}])
def test_an_odd_count_lowers_nothing(scripted, made_endpoint, usage):
    scripted.script = says("hi", usage=usage)
    endpoint = made_endpoint()
    with pytest.raises(RemoteError, match="no chat completion"):
        ask(endpoint)
    assert endpoint.spending.total().tokens > 0
    reserved = endpoint.spending.reserve("trying", 10, 10)
    endpoint.spending.settle(reserved, 2**70, -3)
    with sqlite3.connect(endpoint.spending.path) as database:
        assert database.execute("SELECT sum(read) FROM spent").fetchone()[0] >= 10**12


BREAKS_OFF = (200, b"{}", {"Content-Length": 9, "Connection": "close"})
ONE_TRY = 10 + 256 + 42  # tokens at most: of the answer, put around the greeting, and of the greeting as JSON


@pytest.fixture
def at_once(monkeypatch):
    """Tries follow each other after a hundredth of a second, where the server asks for no more."""
    monkeypatch.setattr(retries, "FIRST", 0.01)


def one_after_another(scripted, *answers):
    """Each answer once, then a greeting."""
    left = list(answers)
    scripted.script = lambda _body: left.pop(0) if left else (200, completion("hi"), {})


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("answer", "paid"),
    [(BREAKS_OFF, ONE_TRY), ((503, {}, {}), ONE_TRY), ((429, {}, {}), 0), ((408, {}, {}), 0), ((409, {}, {}), 0)],
)
def test_a_try_stays_paid_where_an_answer_may_have_been_begun(scripted, made_endpoint, answer, paid):
    one_after_another(scripted, answer, answer)
    endpoint = made_endpoint(retries=2)
    assert ask(endpoint).message.content == "hi"
    assert len(scripted.asked) == 3
    assert endpoint.spending.total().tokens == 2 * paid + 60


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("most", [ONE_TRY, 2 * ONE_TRY, 3 * ONE_TRY - 1])
def test_tries_that_break_off_never_exceed_the_cap_together(scripted, made_endpoint, most):
    scripted.script = lambda _body: BREAKS_OFF
    endpoint = made_endpoint(retries=5, most_tokens=most)
    with pytest.raises(
        RemoteError, match=r"breaks off \(\w+\).*; it is not tried again: the spending cap .* is reached"
    ):
        ask(endpoint)
    assert len(scripted.asked) == most // ONE_TRY
    assert endpoint.spending.total().tokens == len(scripted.asked) * ONE_TRY
    assert endpoint.spending.total().requests == len(scripted.asked)


@pytest.mark.usefixtures("at_once")
def test_the_cap_on_money_holds_over_tries_too(scripted, made_endpoint):
    scripted.script = lambda _body: BREAKS_OFF
    endpoint = made_endpoint(retries=5, price_read=1.0, price_written=1.0, most_cost=2.5 * ONE_TRY / 1e6)
    with pytest.raises(RemoteError, match=r"tries: 2; it is not tried again: .* in money.*raise most_cost"):
        ask(endpoint)
    assert len(scripted.asked) == 2


EIGHT = [RankRequest((), tuple("abcdefgh"), tuple(f"story {place}" for place in range(8)))]


@pytest.mark.usefixtures("at_once")
def test_after_a_failure_that_is_final_no_other_request_is_tried_again(scripted, made_endpoint):
    def script(body):
        first = "story 0" in body["messages"][0]["content"]
        return (400, {}, {}) if first else (503, {}, {"Retry-After": "1"})

    scripted.script = script
    with pytest.raises(RemoteError, match="status 400"):
        RemoteRanker(made_endpoint(retries=5)).score(EIGHT)
    assert len(scripted.asked) <= AT_ONCE


@pytest.mark.usefixtures("at_once")
def test_what_is_halted_waits_no_longer_and_later_requests_are_tried(scripted, made_endpoint):
    scripted.script = lambda _body: (429, {}, {"Retry-After": "20"})
    endpoint, failed = made_endpoint(retries=5), []

    def wait():
        with pytest.raises(RemoteError, match="it is not tried again, as others failed"):
            ask(endpoint)
        failed.append(True)

    with endpoint.together() as halt:
        thread = threading.Thread(target=wait)
        thread.start()
        while not scripted.asked:
            time.sleep(0.01)
        halt()
        thread.join(10)
    assert failed == [True]
    assert len(scripted.asked) == 1
    one_after_another(scripted, (429, {}, {}))
    assert ask(endpoint).message.content == "hi"


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("answer", [(200, b" " * 2**21, {}), (200, b"x", {"Content-Encoding": "gzip"})])
def test_an_answer_that_is_not_read_is_not_asked_for_again(scripted, made_endpoint, answer):
    scripted.script = lambda _body: answer
    with pytest.raises(RemoteError, match="gives no answer that is read"):
        ask(made_endpoint(retries=3))
    assert len(scripted.asked) == 1


@pytest.mark.usefixtures("at_once")
def test_what_is_refused_as_it_is_is_sent_once(scripted, made_endpoint):
    for answer in ((400, {}, {}), (401, {}, {}), (404, {}, {}), (501, {}, {}), (429, {}, {"x-should-retry": "false"})):
        scripted.asked.clear()
        scripted.script = lambda _body, answer=answer: answer
        with pytest.raises(RemoteError, match=f"status {answer[0]}"):
            ask(made_endpoint(retries=3))
        assert len(scripted.asked) == 1


@pytest.mark.usefixtures("at_once")
def test_the_pause_that_a_server_asks_for_is_kept(scripted, made_endpoint):
    one_after_another(scripted, (429, {}, {"Retry-After": "0.4"}))
    start = time.monotonic()
    assert ask(made_endpoint(retries=1)).message.content == "hi"
    assert time.monotonic() - start > 0.4
    one_after_another(scripted, (429, {}, {"Retry-After": "3600"}))
    with pytest.raises(RemoteError, match="status 429"):
        ask(made_endpoint(retries=1))


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("30", 30),
        ("31", None),
        ("7", 7),
        ("-7", 0),
        ("nan", 0),
        ("soon", 0),
        ("", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("1e999", None),
    ],
)
def test_a_retry_after_that_is_odd(said, seconds):
    assert retries.pause_after(429, {"retry-after": said}) == seconds


def test_a_retry_after_may_be_a_date():
    for zone in ("GMT", "-0000"):
        date = time.strftime(f"%a, %d %b %Y %H:%M:%S {zone}", time.gmtime(time.time() + 20))
        assert retries.pause_after(503, {"retry-after": date}) == pytest.approx(20, abs=5)


def test_pauses_grow_to_a_longest():
    assert all(0.75 * most <= retries.pause(tries) <= most for tries, most in [(1, 0.5), (2, 1), (4, 4), (99, 8)])
