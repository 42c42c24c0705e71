"""Why an item is not in somebody's list."""

import pytest
from planted_models import PLANTED_SETTINGS, PlantedModels

from agent.recommender import Recommender
from agent.request import Request
from agent.why_not import why_not

CANDIDATES = 5


@pytest.fixture
def asked(planted, tmp_path):
    recommender = Recommender(planted, PLANTED_SETTINGS, PlantedModels(tmp_path))
    return lambda item, **more: why_not(recommender, Request("user-0", **{"k": 3, **more}), CANDIDATES, item)


def listed(planted, tmp_path, k):
    return Recommender(planted, PLANTED_SETTINGS, PlantedModels(tmp_path)).recommend(Request("user-0", k=k)).rows


def test_an_item_of_the_list_has_its_place(asked, planted, tmp_path):
    rows = listed(planted, tmp_path, 3)
    found = asked(rows[1].item_id)
    assert (found.place, found.listed, found.had) == (2, 3, None)
    assert found.said == f"{rows[1].label} is in the list, at place 2."


def test_a_candidate_further_down_has_its_place_and_both_scores(asked, planted, tmp_path):
    rows = listed(planted, tmp_path, CANDIDATES)
    found = asked(rows[4].item_id)
    assert found.said == f"{rows[4].label} is at place 5 of 5 candidates; the list has 3."
    assert found.item == rows[4].stages
    assert (found.last.item_id, found.other) == (rows[2].item_id, rows[2].stages)


def test_what_is_no_candidate_is_scored_beside_the_list(asked, planted, tmp_path):
    far = listed(planted, tmp_path, 12)[-1]
    found = asked(far.item_id)
    assert (found.place, found.candidates) == (None, CANDIDATES)
    assert "is not among the 5 candidates" in found.said
    assert found.item["retrieve"] == pytest.approx(far.score, abs=1e-5)
    assert found.item["retrieve"] < found.other["retrieve"]


def test_what_the_user_has_had_says_so_unless_it_may_come_again(asked):
    found = asked("space-0")
    assert (found.place, found.had) == (None, 5.0)
    assert found.said == "Star Voyage (1980) is left out because the user has had it (value 5)."
    assert asked("space-0", exclude_seen=False, k=6).place is not None
