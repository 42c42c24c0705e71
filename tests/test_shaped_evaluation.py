"""Shaped lists are measured as any others, by the very pipeline of recommend."""

import numpy as np
import pytest
from evaluation_world import SETTINGS, Notebook, WordModels, make_world, quickly
from test_report_page import Page, full_rows, report

from agent.evaluation.page import render_page
from agent.evaluation.run import Evaluation
from agent.evaluation.seed_run import Plan, unshaped
from agent.evaluation.study import Question
from retrieval.errors import InputError
from retrieval.shaping import Shaping

SHAPED = ("fused+diversity=0.8", "fused+calibrated=0.9", "fused+novelty=0.9", "fused+explore=1")
MEASURED = ("ndcg", "diversity", "novelty", "coverage", "miscalibration")


@pytest.fixture(autouse=True, scope="module")
def _quick():
    with quickly():
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("shaped") / "world")


def evaluation(world, systems, reference=None):
    plan = Plan(Question("temporal", "liked", 30), systems, trials=1, reference=reference)
    return Evaluation(world, SETTINGS, WordModels(SETTINGS), plan, Notebook())


@pytest.fixture(scope="module")
def made(root):
    return evaluation(root, ("fused", "fused+diversity=0", *SHAPED)).run("whyrec evaluate")


def figures(made, system):
    rows = [row for row in made["rows"] if row["system"] == system and row["stratum"] == "all" and row["k"] == 10]
    return {row["metric"]: row["mean"] for row in rows}


def test_each_step_moves_the_figure_that_it_is_for(made):
    plain = figures(made, "fused")
    assert set(MEASURED) <= plain.keys()
    diverse, calibrated, novel, explored = (figures(made, name) for name in SHAPED)
    assert diverse["diversity"] > plain["diversity"] + 0.05
    assert calibrated["miscalibration"] < plain["miscalibration"]
    assert novel["novelty"] > plain["novelty"]
    assert explored["novelty"] > plain["novelty"]
    assert any(found["ndcg"] != plain["ndcg"] for found in (diverse, calibrated, novel, explored))


def test_a_strength_of_0_measures_the_plain_lists(made):
    plain, zero = figures(made, "fused"), figures(made, "fused+diversity=0")
    assert {name: zero[name] for name in MEASURED} == {name: plain[name] for name in MEASURED}


def test_the_page_has_a_curve_for_each_step(made):
    html = render_page(made)
    assert "Accuracy against novelty" in html
    assert "Accuracy against miscalibration" in html


def test_curves_join_what_one_step_shaped_by_strength():
    systems = ["fused", "fused+diversity=0.6", "fused+diversity=0.3", "ease", "fused+novelty=0.5+diversity=0.1"]
    plain, curved = (render_page(report(full_rows(names))) for names in (["ease", "fused+diversity=0.3"], systems))
    assert "Accuracy against novelty" not in plain
    assert Page(curved).tags.count("figure") == Page(plain).tags.count("figure") + 2


@pytest.mark.parametrize(
    ("systems", "message"),
    [
        (("nope+diversity=0.3",), "no system 'nope'"),
        (("ease+diversity=0.3",), "lists of 'ease' cannot be shaped; those of fused and ranked can"),
        (("fused+nope=0.3",), "not shaped by 'nope=0.3'"),
        (("fused+",), "not shaped by ''"),
        (("fused+diversity=2",), "strength of diversity is 0 to 1"),
    ],
)
def test_what_cannot_be_shaped_is_one_sentence(root, systems, message):
    with pytest.raises(InputError, match=message):
        evaluation(root, systems)


def test_a_shaped_reference_must_be_measured(root):
    with pytest.raises(InputError, match="not among the systems fused"):
        evaluation(root, ("fused",), "fused+diversity=0.3")


def test_without_an_index_a_shaped_system_says_what_is_missing(tmp_path):
    world = make_world(tmp_path / "ws", index=False)
    with pytest.raises(InputError, match=r"fused cannot be measured: it needs an index"):
        evaluation(world, ("fused+diversity=0.3",)).run("whyrec evaluate")


def test_names_are_read():
    assert unshaped("fused") == ("fused", Shaping())
    assert unshaped("ranked+explore=0.5+novelty=0.1") == ("ranked", Shaping(explore=0.5, novelty=0.1))


def test_popularity_is_that_of_the_training_events_alone(root, monkeypatch):
    def forbidden(*_):
        raise AssertionError("all events were read")

    monkeypatch.setattr("agent.shaping_stage.users_of", forbidden)
    found = evaluation(root, ("fused+novelty=0.5+explore=0.5",)).run("whyrec evaluate")
    assert np.isfinite(figures(found, "fused+novelty=0.5+explore=0.5")["ndcg"])
