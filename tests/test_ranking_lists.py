"""What a ranker learns from and what it is judged on: nothing of the one is in the other."""

import numpy as np
import pytest
from evaluation_world import make_world, study_of

from agent.ranking_lists import DRAWS, RankingLists, Retrieval, _askable
from retrieval.cf.live import TEXT_ALONE


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("lists") / "ws")


@pytest.fixture(scope="module")
def lists(workspace):
    return RankingLists(study_of(workspace, "cold-items"), Retrieval(TEXT_ALONE))


@pytest.fixture(scope="module")
def by_time(workspace):
    return RankingLists(study_of(workspace, "temporal"), Retrieval(TEXT_ALONE))


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


def test_nothing_is_learnt_that_is_later_than_a_period_that_proves(by_time):
    periods = by_time.study.validations
    assert len(periods) == DRAWS
    held_out = [period.split.events.filter(part="validation") for period in periods]
    assert by_time.learnable["timestamp"].max() < min(one["timestamp"].min() for one in held_out)
    draw = by_time.to_learn_from(4, 0)
    told = {text for number in range(300) for text in draw(number).request.history}
    catalog = by_time.study.workspace.catalog
    assert told <= {catalog.text(item_id) for item_id in by_time.learnable["item_id"]}


def test_who_is_asked_about_in_one_period_alone_judges_there(by_time):
    people = [asked(one)[0] for one in by_time.draws]
    there = [set(_askable(period)) for period in by_time.study.validations]
    assert sum(map(len, people)) == len(set().union(*people))
    assert set().union(*people) == set().union(*there)
    for place, mine in enumerate(people):
        others = set().union(*there[:place], *there[place + 1 :])
        assert mine <= there[place]
        assert mine >= there[place] - others
    assert by_time.everybody.askable == len(there[0]) > 0


def test_nothing_that_proves_something_else_is_learnt_from(workspace, lists, by_time):
    both = RankingLists(lists.study, Retrieval(TEXT_ALONE), proving=by_time.study.validations)
    cold = set().union(*(asked(one)[1] for one in lists.draws))
    catalog = sorted(workspace.catalog.ids)
    learnt = both.learnable
    assert 0 < len(learnt) < len(lists.learnable)
    assert not set(learnt["item_id"]) & {catalog[column] for column in cold}
    assert learnt["timestamp"].max() <= by_time.learnable["timestamp"].max()
