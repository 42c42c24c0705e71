"""Shaped lists of the planted world, in the modes that read the index; those of the student are in test_fast.py."""

import json
from math import log1p

import pytest
from planted_models import PLANTED_SETTINGS, PlantedModels
from ranker_world import environment, indexed_world, said_by, whyrec

from agent.recommender import Recommender
from agent.request import Request
from agent.shaping_stage import PINNED
from retrieval.data.crowd import users_of
from retrieval.data.workspace import Workspace
from retrieval.errors import InputError
from retrieval.shaping import STEPS, Shaping

MODES = ("retrieval", "auto", "full")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return PlantedModels(tmp_path_factory.mktemp("lm"))


@pytest.fixture
def recommender(planted, models):
    return Recommender(planted, PLANTED_SETTINGS, models)


def ids(answer):
    return [row.item_id for row in answer.rows]


def topics(answer):
    return [item_id.split("-")[0] for item_id in ids(answer)]


@pytest.mark.parametrize("mode", MODES)
def test_strengths_of_0_give_the_plain_list(recommender, mode):
    plain = recommender.recommend(Request("user-0", k=6, mode=mode))
    shaped = recommender.recommend(Request("user-0", k=6, mode=mode, shaping=Shaping(seed=7, field="about")))
    assert shaped.rows == plain.rows
    assert shaped.notes == plain.notes


@pytest.mark.parametrize("mode", MODES)
def test_a_diverse_list_has_more_topics_and_says_so(recommender, mode):
    request = Request("user-0", k=4, mode=mode)
    plain = recommender.recommend(request)
    answer = recommender.recommend(Request("user-0", k=4, mode=mode, shaping=Shaping(diversity=0.8)))
    assert ids(answer)[0] == ids(plain)[0]
    assert topics(plain)[:2] == ["space", "space"]
    assert topics(answer)[1] != "space"
    assert all(row.by == ("retrieve", "diversity") for row in answer.rows)
    assert all(row.score == row.stages["diversity"] for row in answer.rows)
    assert [row.score for row in answer.rows] == sorted((row.score for row in answer.rows), reverse=True)
    assert plain.rows[0].stages["retrieve"] == answer.rows[0].stages["retrieve"]


def test_where_the_language_model_orders_its_order_is_shaped(recommender):
    plain = recommender.recommend(Request("user-0", k=13, alpha=1.0))
    answer = recommender.recommend(Request("user-0", k=13, alpha=1.0, shaping=Shaping(diversity=0.5)))
    assert set(ids(plain)) == set(ids(answer))
    assert ids(plain)[0] == ids(answer)[0]
    assert all(row.by == ("retrieve", "rank", "diversity") for row in answer.rows)
    assert {row.item_id: row.stages["fuse"] for row in answer.rows} == {row.item_id: row.score for row in plain.rows}


def test_a_calibrated_list_has_the_mix_of_the_history(recommender):
    """user-0 had four of space, two of them dramas, and one of cooking: 3 : 1 : 1."""
    answer = recommender.recommend(Request("user-0", k=5, shaping=Shaping(calibrated=1.0)))
    assert ids(answer)[:3] == ["space-5", "cooking-2", "space-4"]  # a drama of space, then plain ones
    assert answer.rows[0].score == pytest.approx(0.6 * log1p(0.5 / 0.06) + 0.2 * log1p(0.5 / 0.02))
    assert answer.rows[1].score == pytest.approx(0.2 * log1p(1 / 0.02))
    assert all(row.by == ("retrieve", "calibrated") for row in answer.rows)
    by_name = recommender.recommend(Request("user-0", k=5, shaping=Shaping(calibrated=1.0, field="topics")))
    assert by_name.rows == answer.rows


def test_a_history_without_the_field_is_named(recommender, monkeypatch):
    monkeypatch.setattr(recommender.catalog, "attributes", lambda _: [])
    answer = recommender.recommend(Request("user-0", k=3, mode="retrieval", shaping=Shaping(calibrated=0.9)))
    assert answer.notes == ["calibrated changed nothing: the history's items have no topics"]
    assert all(row.by == ("retrieve",) for row in answer.rows)


def test_what_few_had_rises(recommender, planted):
    counts = users_of(planted, planted.catalog.ids)
    assert (counts["space-0"], counts["space-1"], counts["space-5"]) == (4, 2, 0)
    request = Request(likes=("Moon Base",), k=5, shaping=Shaping(novelty=1.0))
    answer = recommender.recommend(request)
    assert all(counts[item_id] == 0 for item_id in ids(answer))
    assert all(row.by == ("retrieve", "novelty") for row in answer.rows)


def test_what_was_explored_is_marked_and_comes_back_with_the_seed(recommender):
    plain = recommender.recommend(Request("user-0", k=13))
    place = {item_id: number for number, item_id in enumerate(ids(plain))}
    lists = []
    for seed in range(4):
        request = Request("user-0", k=13, shaping=Shaping(explore=1.0, seed=seed))
        answer = recommender.recommend(request)
        assert recommender.recommend(request).rows == answer.rows
        for number, row in enumerate(answer.rows):
            assert row.by == (("retrieve", "explore") if number < place[row.item_id] else ("retrieve",))
        lists.append(ids(answer))
    assert len({tuple(one) for one in lists}) == 4


def test_counts_that_are_given_go_before_those_of_all_events(planted, models):
    everybody = dict.fromkeys(planted.catalog.ids, 10**12)
    known = Recommender(planted, PLANTED_SETTINGS, models, had=everybody)
    plain = known.recommend(Request("user-0", k=9))
    assert ids(known.recommend(Request("user-0", k=9, shaping=Shaping(explore=1.0)))) == ids(plain)


def test_steps_are_taken_in_their_order_and_each_leaves_its_value(recommender):
    shaping = Shaping(explore=0.3, novelty=0.3, calibrated=0.3, diversity=0.3)
    answer = recommender.recommend(Request("user-0", k=5, shaping=shaping))
    for row in answer.rows:
        assert [stage for stage in row.stages if stage in STEPS] == list(STEPS)
        assert [step for step in row.by if step != "explore"] == ["retrieve", *STEPS[1:]]
    assert any("explore" in row.by for row in answer.rows)


@pytest.mark.parametrize("mode", MODES)
def test_pins_stand_first_in_their_order_whatever_else(recommender, mode):
    request = Request(
        "user-0", k=4, mode=mode, where="topics ~ space", pin=("Red Canyon", "space-0", "space-5", "red canyon")
    )
    answer = recommender.recommend(request)
    assert ids(answer) == ["western-1", "space-0", "space-5", "space-4"]
    assert [row.by for row in answer.rows] == [(PINNED,)] * 3 + [("retrieve",)]
    assert [row.score is None for row in answer.rows] == [True, True, False, False]
    assert [row.place for row in answer.rows] == [1, 2, 3, 4]


@pytest.mark.parametrize("mode", MODES)
def test_what_is_banned_is_never_there_and_the_list_stays_full(recommender, mode):
    plain = recommender.recommend(Request("user-0", k=3, mode=mode))
    answer = recommender.recommend(Request("user-0", k=3, mode=mode, ban=(ids(plain)[0], "Silent Planet")))
    assert len(answer.rows) == 3
    assert not {ids(plain)[0], "space-5"} & set(ids(answer))
    assert ids(plain)[0] in ids(recommender.recommend(Request("user-0", k=3, mode=mode, ban=("Garlic Road",))))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request("user-0", pin=("Dust Riders",), ban=("western-0",)), "'western-0' is pinned and banned"),
        (Request("user-0", k=1, pin=("Dust Riders", "Red Canyon")), "2 items are pinned in a list of 1"),
        (Request("user-0", pin=("Zzyzx Quux",)), "'Zzyzx Quux'"),
        (Request("user-0", ban=("riders",)), "id:space-2"),
        (Request("user-0", shaping=Shaping(calibrated=0.5, field="year")), "no text field 'year'; there are: topics"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(recommender, request_, message):
    with pytest.raises(InputError, match=message):
        recommender.recommend(request_)


def test_what_is_pinned_is_explained_too(recommender):
    answer = recommender.recommend(Request("user-0", k=2, pin=("Silent Planet",), explain=True, writer="template"))
    assert all(row.explanation for row in answer.rows)


@pytest.fixture(scope="module")
def root(tmp_path_factory, folders):
    return indexed_world(tmp_path_factory.mktemp("shaped") / "ws", folders)


def recommended(root, folders, *words):
    return whyrec("recommend", *words, "-w", root, **environment(folders), WHYREC_RANKING__RANKER="off")


@pytest.mark.parametrize("mode", MODES)
def test_the_command_shapes_and_says_by_what(root, folders, mode):
    words = ("user-01", "-k", "4", "--mode", mode, "--pin", "Jungle Tale 02", "--ban", "Space Tale 19", "-f", "json")
    steps = ("--diversity", "0.4", "--novelty", "0.2", "--calibrated", ".3", "--explore", "1", "--seed", "3")
    result = recommended(root, folders, *words, *steps)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert [row["place"] for row in rows] == [1, 2, 3, 4]
    assert (rows[0]["item_id"], rows[0]["by"]) == ("jungle-02", ["pin"])
    for row in rows[1:]:
        assert [step for step in row["by"] if step != "explore"] == ["retrieve", "novelty", "calibrated", "diversity"]
        assert row["score"] == row["stages"]["diversity"]
    assert recommended(root, folders, *words, *steps).stdout == result.stdout


def test_a_strength_of_0_prints_the_plain_list(root, folders):
    words = ("user-01", "-k", "6", "--mode", "retrieval", "-f", "json")
    zeros = [word for step in ("diversity", "novelty", "calibrated", "explore") for word in (f"--{step}", "0")]
    assert recommended(root, folders, *words, *zeros).stdout == recommended(root, folders, *words).stdout


@pytest.mark.parametrize("form", ["table", "csv", "ndjson"])
def test_a_pin_that_is_no_candidate_has_no_score(root, folders, form):
    had = Workspace(root).history("user-01").items[0]
    result = recommended(root, folders, "user-01", "-k", "2", "--mode", "retrieval", "--pin", f"id:{had}", "-f", form)
    assert result.exit_code == 0, result.output
    assert had in result.stdout
    if form == "csv":
        assert result.stdout.splitlines()[0] == "place,item_id,title,score,by,stages"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("user-01", "--diversity", "1.5"), 2, "--diversity"),
        (("user-01", "--diversity", "nan"), 2, "--diversity"),
        (("user-01", "--novelty", "-0.1"), 2, "--novelty"),
        (("user-01", "--calibrated", "much"), 2, "--calibrated"),
        (("user-01", "--explore", "nan"), 2, "--explore"),
        (("user-01", "--seed", "-1"), 2, "--seed"),
        (("user-01", "--calibrated-by", "topics"), 2, "--calibrated, which is 0"),
        (("--query", "space", "--calibrated", "0.5"), 2, "keeps to a history"),
        (("user-01", "--calibrated", "0.5", "--calibrated-by", "nope"), 1, "no text field 'nope'"),
        (("user-01", "--pin", "Quux"), 1, "'Quux'"),
        (("user-01", "--pin", "jungle-02", "--ban", "jungle-02"), 1, "pinned and banned"),
    ],
)
def test_wrong_usage_is_told(root, folders, words, code, said):
    result = recommended(root, folders, *words)
    assert result.exit_code == code
    assert said in said_by(result)
