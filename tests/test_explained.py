"""Measuring explanations: what a text claims is checked against the raw tables, whoever wrote it."""

import json
from dataclasses import replace

import polars as pl
import pytest
from planted_models import PLANTED_SETTINGS, PlantedModels
from ranker_world import environment, indexed_world, said_by, whyrec

from agent.evaluation.claims import ClaimReader
from agent.evaluation.explained import ExplanationStudy, beside_evidence, score_of
from agent.evaluation.explained_page import METRICS, render_page
from agent.recommender import Recommender
from retrieval.data.catalog import Catalog

ITEMS = pl.DataFrame(
    {
        "item_id": ["1", "2", "3", "4"],
        "title": ["Alien", "Aliens", "Heat", "Alien"],
        "year": [1979, 1986, 1995, 2020],
        "genres": [["Horror", "Sci-Fi"], ["Action", "Sci-Fi"], ["Crime"], ["Sci-Fi"]],
    }
)
EVENTS = pl.DataFrame({"user_id": ["a", "b", "a", "c"], "item_id": ["1", "1", "2", "2"], "value": [5.0, 4.0, 5.0, 1.0]})


@pytest.fixture(scope="module")
def reader():
    return ClaimReader(Catalog(ITEMS), EVENTS, 4.0)


@pytest.mark.parametrize(
    ("text", "names", "values", "numbers"),
    [
        ("You liked Alien (1979), and Aliens (1986) has the genre Sci-Fi.", (2, 2), (1, 1), (0, 0)),
        ("You liked Heat (1995), and Aliens (1986) has the genre Sci-Fi.", (2, 1), (1, 1), (0, 0)),
        ("You liked Alien (1979), and Aliens (1986) has the genre Horror.", (2, 2), (1, 0), (0, 0)),
        ("You liked Alien (1979), and Aliens (1986) has the genre Action.", (2, 2), (1, 0), (0, 0)),
        ("You liked Alien (2020), and Aliens (1986) has the genre Sci-Fi.", (2, 1), (1, 1), (0, 0)),
        ("1 people who liked Alien (1979) also liked Aliens (1986).", (2, 2), (0, 0), (1, 1)),
        ("2 people who liked Alien (1979) also liked Aliens (1986).", (2, 2), (0, 0), (1, 0)),
        ("Aliens (1986) is popular: 1 people liked it.", (1, 1), (0, 0), (1, 1)),
        ("Aliens (1986) is for you.", (1, 1), (0, 0), (0, 0)),
    ],
)
def test_claims_are_checked_against_the_tables(reader, text, names, values, numbers):
    claims = reader.read(text, "2", {"1"})
    assert (claims.names, claims.true_names) == names
    assert (len(claims.values), claims.true_values) == values
    assert (claims.numbers, claims.true_numbers) == numbers


class Quiet:
    """A watch that says nothing."""

    def start(self, label, total): ...

    def advance(self, steps=1): ...

    def note(self, message): ...


@pytest.fixture
def study(planted, tmp_path):
    models = PlantedModels(tmp_path)
    recommender = Recommender(planted, PLANTED_SETTINGS, models)
    score = score_of(planted, PLANTED_SETTINGS, models)
    return ExplanationStudy(planted, recommender, PLANTED_SETTINGS.events.liked_from, score, 0, Quiet())


@pytest.mark.parametrize("system", ["writer", "template"])
def test_what_is_written_is_true_and_counted(study, system):
    rows, found = study.run(20, system, "planted")
    means = {row.metric: row.mean for row in rows}
    assert set(means) == set(METRICS)
    assert means["grounded-name-precision"] == 1.0
    assert means["attribute-precision"] == 1.0
    assert means["faithful"] == 1.0
    assert means["lm-written"] == float(system == "writer")
    assert means["lm-written"] + means["fallback"] == 1.0
    assert len(found) >= 20 - round(20 * means["unexplained"])
    assert {row.system for row in rows} == {system}
    assert 0 < means["usr-wording"] <= means["usr"] <= 1


def test_a_lie_is_found(study, monkeypatch):
    """Every text names another item, and what is cited does nothing for the score."""
    told, other = study._recommender.recommend, study._workspace.catalog.label("western-0")

    def lying(request):
        answer = told(request)
        answer.rows = [
            replace(row, explanation=replace(row.explanation, text=f"{row.explanation.text[:-1]}, and {other}."))
            for row in answer.rows
        ]
        return answer

    monkeypatch.setattr(study._recommender, "recommend", lying)
    monkeypatch.setattr(study, "_score", lambda *_: 1.0)
    rows, found = study.run(30, "template", "planted")
    means = {row.metric: row.mean for row in rows}
    assert means["faithful"] == 0.0
    going_by_it = {"user-2", "user-5"}
    lies = [one for one in found if one.user not in going_by_it and one.item_id != "western-0"]
    assert all(one.claims.true_names == one.claims.names - 1 for one in lies)
    assert lies
    assert means["grounded-name-precision"] < 1.0


def test_an_item_is_asked_for_by_id_as_an_id_may_be_a_title(study, monkeypatch):
    asked, explained = [], study._recommender.explain

    def recorded(request, item):
        asked.append(item)
        return explained(request, item)

    monkeypatch.setattr(study._recommender, "explain", recorded)
    study.run(30, "template", "planted")
    assert asked
    assert all(item.startswith("id:") for item in asked)


def test_the_page_shows_them_beside_their_evidence_and_escapes_titles(study):
    rows, found = study.run(10, "template", "planted")
    shown = beside_evidence(found, 3, 0)
    shown[0]["text"] = "<script>alert(1)</script>"
    meta = {
        "command": "whyrec evaluate explanations",
        "seed": 0,
        "versions": {},
        "machine": {"processor": "", "cores": 2},
    }
    page = render_page({"meta": meta, "rows": [vars(row) for row in rows]}, shown)
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    assert all(one["text"] in page for one in shown[1:])
    json.dumps([vars(row) for row in rows], allow_nan=False)


def test_the_command_writes_a_report_and_a_page(folders, tmp_path):
    root = indexed_world(tmp_path / "ws", folders)
    words = (
        "evaluate",
        "explanations",
        "--count",
        "20",
        "--systems",
        "template",
        "--out",
        tmp_path / "out",
        "-w",
        root,
    )
    result = whyrec(*words, "--format", "json", **environment(folders))
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["rows"] == rows
    assert {row["metric"] for row in rows} == set(METRICS)
    assert (tmp_path / "out" / "report.html").is_file()
    again = whyrec(*words, **environment(folders))
    assert again.exit_code == 2
    assert "exists already" in said_by(again)
