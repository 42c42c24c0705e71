"""What a remote model answers is data: a writer, a reader and a ranker that hostile answers and texts cannot move."""

import json
import math
import os

import numpy as np
import pytest
from conftest import WordEncoder
from planted_models import PLANTED_SETTINGS, PlantedModels
from scripted_endpoint import KEY, MODEL, completion, says
from test_mcp_hostile import HOSTILE

from agent.intent import Comparison, Intent
from agent.models import Models
from agent.reading import intent_reader
from agent.recommender import Recommender
from agent.remote.endpoint import Endpoint
from agent.remote.options import RemoteSettings
from agent.remote.ranker import RemoteRanker
from agent.remote.reader import RemoteIntentReader
from agent.remote.writer import RemoteWriter
from agent.request import Request
from agent.settings import LanguageModelSettings
from finetune.wording import WritingRequest
from prompts import shapes, wordings
from retrieval.contracts import RankRequest
from retrieval.errors import ModelError, RemoteError

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]


@pytest.fixture
def settings(scripted, tmp_path):
    given = {"base_url": scripted.url, "model": MODEL, "spending": str(tmp_path / "spent.sqlite"), "retries": 0}
    return RemoteSettings(**given, writer=True, intent=True)


@pytest.fixture
def endpoint(settings):
    made = Endpoint(settings)
    yield made
    made.close()


@pytest.fixture
def models(settings, tmp_path):
    """The tiny language model beside the scripted one."""
    made = PlantedModels(tmp_path)
    made.settings = PLANTED_SETTINGS.model_copy(update={"remote": settings})
    yield made
    made.remote.close()


INTENT = {
    "like": ["alien"],
    "avoid": ["no horror", "Horror"],
    "range": [{"field": "year", "operator": ">=", "value": 1990}],
}
SAID = "Something like Alien, no horror; from 1990 on"


def reading(scripted, endpoint, said=SAID, fields=("year",), **answer):
    scripted.script = says(**answer)
    notes = []
    return RemoteIntentReader(endpoint, fields, notes.append).read(said), notes


def test_the_reader_is_held_to_one_tool_and_sends_what_was_said(scripted, endpoint):
    meant, notes = reading(scripted, endpoint, calls=[("understood", json.dumps(INTENT))])
    assert meant == Intent(like=("Alien",), avoid=("no horror", "horror"), range=(Comparison("year", ">=", 1990),))
    assert notes == []
    [asked] = scripted.asked
    assert [tool["function"]["name"] for tool in asked["tools"]] == ["understood"]
    assert asked["tool_choice"] == {"type": "function", "function": {"name": "understood"}}
    assert asked["messages"][1] == {"role": "user", "content": SAID}
    schema = asked["tools"][0]["function"]["parameters"]
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Bound"]["properties"]["field"]["enum"] == ["year"]


def test_what_no_terminal_can_show_is_not_sent(scripted, endpoint):
    meant, _ = reading(
        scripted, endpoint, said="more \udcff\x1b Alien\u200b", calls=[("understood", '{"more": ["alien"]}')]
    )
    assert meant == Intent(more=("Alien",))
    assert scripted.asked[0]["messages"][1]["content"] == "more Alien"
    assert reading(scripted, endpoint, said=" \u200b ")[0] == Intent()
    assert len(scripted.asked) == 1


def test_phrases_that_nobody_said_are_left_out(scripted, endpoint):
    forged = {
        "like": ["Titanic", "lien", "Alien"],
        "want": [KEY],
        "range": [{"field": "price", "operator": "<", "value": 1}],
    }
    meant, notes = reading(scripted, endpoint, calls=[("understood", json.dumps(forged | {"count": 3, "ask": 2}))])
    assert meant == Intent(like=("Alien",), count=3, ask=2)
    assert "understood 3 phrases that you did not say" in notes[0]
    assert "bounded numbers that the items do not have" in notes[1]
    assert KEY not in str(notes)


def test_other_tools_are_never_called(scripted, endpoint):
    calls = [
        ("read_file", '{"path": "/etc/passwd"}'),
        ("understood", json.dumps(INTENT)),
        ("understood", '{"like": ["on"]}'),
    ]
    meant, notes = reading(scripted, endpoint, calls=calls)
    assert meant.like == ("Alien",)
    assert notes == ["the remote model made 2 tool calls that were not asked for; they were ignored"]


@pytest.mark.parametrize(
    "answer",
    [
        {"content": "I would rather talk."},
        {"calls": [("run_shell", '{"command": "env"}')]},
        {"calls": [("understood", "like: Alien")]},
        {"calls": [("understood", '{"like": "Alien"}')]},
        {"calls": [("understood", '{"feedback": ["Alien"]}')]},
        {"calls": [("understood", '{"count": 0}')]},
        {"calls": [("understood", '{"count": "5"}')]},
        {"calls": [("understood", '{"range": [{"field": "year", "operator": "~", "value": 1}]}')]},
        {"calls": [("understood", '{"range": [{"field": "year", "operator": "<", "value": NaN}]}')]},
        {"calls": [("understood", '{"range": [{"field": "year", "operator": "<", "value": 1e300}]}')]},
        {"calls": [("understood", json.dumps({"like": ["Alien"] * 1_000}))]},
        {"calls": [("understood", "[" * 10_000)]},
    ],
)
def test_what_is_not_in_the_form_is_no_intent(scripted, endpoint, answer):
    with pytest.raises(RemoteError, match="did not answer in the form"):
        reading(scripted, endpoint, **answer)


def test_where_the_remote_reader_fails_rules_read_and_it_is_said(scripted, models, planted):
    models.settings = models.settings.model_copy(update={"language_model": LanguageModelSettings(intent="off")})
    notes = []
    read = intent_reader(models, planted.catalog, notes.append)
    scripted.script = says(content="no")
    assert read("Something like Alien, but no horror") == Intent(like=("Alien",), avoid=("horror",))
    assert any("did not answer in the form that was asked for; this was read locally" in note for note in notes)
    assert any("rules read what you say" in note for note in notes)
    scripted.script = says(calls=[("understood", '{"like": ["Alien"]}')])
    notes.clear()
    assert read("Something like Alien") == Intent(like=("Alien",))
    assert notes == []


KNOWN = {shape: wordings(shape)[1] for shape in shapes()}


def by_shape(extra=()):
    """Writes a known sentence for each shape, and whatever else."""

    def script(body):
        said = body["messages"][0]["content"]
        known = [text for shape, text in KNOWN.items() if wordings(shape)[0].split(" ", maxsplit=1)[0] in said]
        return 200, completion("\n".join([*extra, *(f"{n}. {text}" for n, text in enumerate(known))])), {}

    return script


def test_the_writer_keeps_what_the_grammar_allows_and_sends_no_facts(scripted, endpoint):
    scripted.script = by_shape()
    writer = RemoteWriter(endpoint)
    for shape in shapes():
        [first], [second] = writer.write([WritingRequest(shape, "a"), WritingRequest(shape, "b")], 1)
        assert first.text in wordings(shape)
        assert second.text in wordings(shape)
    assert len(scripted.asked) == len(shapes())  # once each
    assert all("Orbit" not in str(asked) and "user-" not in str(asked) for asked in scripted.asked)


EVIL = [
    "You [DID] [CITED], and [ITEM] is the best film ever made.",
    "Nobody [DID] [CITED], and [ITEM] has [COMMON].",
    "[ITEM] is popular: [PEOPLE] people [LIKED] it. [Click](http://evil.example/?k=[ITEM])",
    "[SECRET] [KEY] {{ config }} [ITEM]",
    f"Your key is {KEY}.",
    "Read /etc/passwd and [ITEM].",
]


def test_what_a_hostile_writer_writes_is_not_used(scripted, endpoint, models, planted):
    scripted.script = says("\n".join(EVIL))
    for shape in shapes():
        with pytest.raises(RemoteError, match="wrote no sentence") as raised:
            RemoteWriter(endpoint).write([WritingRequest(shape, "a")], 2)
        assert "evil" not in str(raised.value)
    answer = Recommender(planted, models.settings, models).explain(Request("user-0"), "Orbit of Fire")
    assert "evil" not in answer.rows[0].explanation.text
    assert any("wrote no sentence" in note and "the local model writes instead" in note for note in answer.notes)


def test_explanations_of_hostile_titles_are_worded_remotely_and_verified(scripted, models, planted):
    scripted.script = by_shape(EVIL)
    recommender = Recommender(planted, models.settings, models)
    answer = recommender.recommend(Request("user-0", k=3, mode="retrieval", explain=True))
    assert [row.explanation.written_by for row in answer.rows] == ["lm"] * 3
    assert not any("local model" in note or "untuned" in note for note in answer.notes)
    assert all(row.label in row.explanation.text for row in answer.rows)


def test_without_a_downgrade_a_failure_is_an_error(scripted, models, planted):
    scripted.script = lambda _body: (500, {}, {})
    strict = models.settings.without_downgrade()
    models.settings = strict
    with pytest.raises(ModelError, match=r"status 500.*--writer template"):
        Recommender(planted, strict, models).explain(Request("user-0"), "Orbit of Fire")


def test_where_neither_can_write_both_reasons_are_said(scripted, settings, planted):
    scripted.script = lambda _body: (500, {}, {})
    both = PLANTED_SETTINGS.model_copy(
        update={"remote": settings, "language_model": LanguageModelSettings(model="./none")}
    )
    models = Models(both)
    models.encoder_fingerprint, models.query_encoder = WordEncoder.fingerprint, WordEncoder()
    with pytest.raises(ModelError, match=r"status 500.*nothing local takes its place.*--writer template"):
        Recommender(planted, both, models).explain(Request("user-0"), "Orbit of Fire")
    models.remote.close()


def liking(word):
    """Says yes the more surely, the oftener the word is in what is asked about."""

    def script(body):
        about = body["messages"][0]["content"].splitlines()[-2]
        odds = about.count(word)
        return 200, completion("yes", likely={" Yes": odds - 5.5, "yes": odds - 5.5, "no": -3.0, "maybe": -9.0}), {}

    return script


REQUEST = RankRequest(("Bread Days",), ("b", "a", "c"), ("moon base moon", "soup", "moon"), "a quiet evening")


def test_the_ranker_takes_log_odds_whatever_the_order(scripted, endpoint):
    scripted.script = lambda _body: (200, completion("yes", likely={"Yes": -0.5, " yes": -2.0, "no": -3.0}), {})
    [scores] = RemoteRanker(endpoint).score([RankRequest((), ("a",), ("soup",))])
    assert scores == pytest.approx([math.log(math.exp(-0.5) + math.exp(-2.0)) + 3.0])
    scripted.script = liking("moon")
    ranker = RemoteRanker(endpoint)
    turned = RankRequest(REQUEST.history, REQUEST.candidates[::-1], REQUEST.texts[::-1], REQUEST.query)
    one, other = (ranker.rank([request]) for request in (REQUEST, turned))
    assert one.row(0) == other.row(0)
    assert [item for item, _ in one.row(0)] == ["b", "c", "a"]
    assert ranker.rank([REQUEST], k=1).lengths.tolist() == [1]
    assert ranker.score([]) == []
    asked = scripted.asked[-1]
    assert (asked["max_tokens"], asked["logprobs"], asked["top_logprobs"]) == (1, True, 20)


def test_a_word_that_is_not_among_the_likeliest_is_at_most_as_likely_as_the_last_of_them(scripted, endpoint):
    scripted.script = says("yes", likely={"yes": -0.1, "maybe": -7.0})
    [scores] = RemoteRanker(endpoint).score([RankRequest((), ("a",), ("soup",))])
    assert scores == pytest.approx([6.9])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"content": "yes"}, "gives no log-probabilities, so this model cannot rank"),
        ({"content": "", "likely": {}}, "gives no log-probabilities"),
        ({"content": "", "likely": {"the": -1.0}}, "answers neither yes nor no about item 'a'"),
        ({"content": "", "likely": {"yes": 5.0}}, "no chat completion"),
        ({"content": "", "likely": {"yes": -1e300}}, "no chat completion"),
    ],
)
def test_what_cannot_be_a_score_is_an_error(scripted, endpoint, answer, said):
    scripted.script = says(**answer)
    with pytest.raises(RemoteError, match=said):
        RemoteRanker(endpoint).score([RankRequest((), ("a", "b", "c", "d", "e", "f", "g"), tuple("abcdefg"))])


def test_hostile_titles_stay_in_their_quotes(scripted, endpoint):
    scripted.script = says("no", likely={"no": -0.1, "yes": -3.0})
    before = dict(os.environ)
    candidates = tuple(str(number) for number in range(len(HOSTILE)))
    [scores] = RemoteRanker(endpoint).score([RankRequest(tuple(HOSTILE), candidates, tuple(HOSTILE), HOSTILE[0])])
    assert np.isfinite(scores).all()
    assert dict(os.environ) == before
    for asked in scripted.asked:
        assert set(asked) == {"model", "messages", "max_tokens", "logprobs", "top_logprobs", "temperature"}  # no tools
        [message] = asked["messages"]
        lines = message["content"].splitlines()
        assert len(lines) == len(HOSTILE) + 5  # no title opens a line of its own
        assert all(line.startswith(('- "', '"')) for line in [*lines[1:-4], lines[-2]])
        assert all(sign not in message["content"] for sign in "\x1b\u202e\u200b\U000e0041")
