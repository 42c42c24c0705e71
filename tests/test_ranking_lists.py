"""What a ranker learns from and what it is judged on: nothing of the one is in the other."""

import numpy as np
import pytest
from evaluation_world import make_world, study_of

from agent.ranking_lists import DRAWS, RankingLists, Retrieval
from retrieval.cf.live import TEXT_ALONE


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("lists") / "ws")


@pytest.fixture(scope="module")
def lists(workspace):
    return RankingLists(study_of(workspace, "cold-items"), Retrieval(TEXT_ALONE))


def asked(lists, first=0, most=1_000):
    """Who is asked about, and all items that are found for them."""
    found = lists.asked(first, most)
    users = lists._study.task("validation").histories.users
    return {users[row] for row in found.rows}, set(np.concatenate(found.columns).tolist())


def test_no_item_that_proves_is_learnt_from(lists):
    draw = lists.to_learn_from(4, 0)
    requests = [draw(number).request for number in range(300)]
    learnt = {item_id for one in requests for item_id in one.candidates}
    told = {text for one in requests for text in one.history}
    catalog = lists.study.workspace.catalog
    columns = sorted(catalog.ids)
    for one in lists.draws:
        held_out = {columns[place] for place in asked(one)[1]}
        assert held_out
        assert not held_out & learnt
        assert not {catalog.text(item_id) for item_id in held_out} & told


def test_draws_have_other_items_and_other_people(lists):
    assert len(lists.draws) == DRAWS
    people, items = zip(*map(asked, lists.draws), strict=True)
    assert sum(map(len, people)) == len(set().union(*people)) > 20
    assert sum(map(len, items)) == len(set().union(*items))
    assert min(map(len, people)) > 10


def test_who_is_watched_does_not_judge(lists):
    first = lists.draws[0]
    watched, judging = asked(first, 0, first.askable // 2)[0], asked(first, first.askable // 2)[0]
    assert watched
    assert judging
    assert not watched & judging


def test_known_items_are_judged_once_by_everybody(workspace):
    lists = RankingLists(study_of(workspace, "temporal"), Retrieval(TEXT_ALONE))
    (one,) = lists.draws
    assert one.askable == lists.everybody.askable > 0


def test_items_that_nothing_holds_out_cannot_be_left_out(workspace):
    known, cold = study_of(workspace, "temporal"), study_of(workspace, "cold-items")
    with pytest.raises(ValueError, match="temporal holds out no items"):
        RankingLists(cold, Retrieval(TEXT_ALONE), proving=[known]).to_learn_from(4, 0)
