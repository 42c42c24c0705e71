"""Wishes in the words of a catalog, and conversations in which they add up."""

import pytest
from planted_models import PLANTED_SETTINGS, PlantedModels

from agent.conversation import Conversation
from agent.intent import Comparison, Intent
from agent.intent_rules import read_intent
from agent.recommender import Recommender
from agent.wishes import Wish, WishFinder, dropped
from retrieval.data.catalog import Attribute
from retrieval.errors import InputError


@pytest.fixture
def recommender(planted, tmp_path):
    return Recommender(planted, PLANTED_SETTINGS, PlantedModels(tmp_path))


@pytest.fixture
def finder(recommender):
    return WishFinder(recommender.catalog, recommender.titles)


@pytest.fixture
def talk(recommender):
    return Conversation(recommender, read_intent, mode="retrieval", k=5)


def told(wishes):
    return [str(wish) for wish in wishes]


@pytest.mark.parametrize(
    ("intent", "wishes"),
    [
        (Intent(like=("moon base",)), ["like Moon Base (1981)"]),
        (Intent(unlike=("Red Canyon",)), ["not like Red Canyon (2001)"]),
        (Intent(want=("Space",), avoid=("western",)), ["with topics: space", "without topics: western"]),
        (Intent(want=("westerns",)), ["with topics: western"]),
        (Intent(want=("wetsern",)), ["with “wetsern”"]),
        (Intent(want=("westernn",)), ["with topics: western"]),
        (Intent(want=("slow and sad",)), ["with “slow and sad”"]),
        (Intent(want=("slow drama",)), ["with topics: drama", "with “slow”"]),
        (Intent(like=("cooking",)), ["with topics: cooking"]),
        (Intent(unlike=("no such title",)), ["without “no such title”"]),
        (Intent(more=("drama",), less=("space",)), ["more topics: drama", "less topics: space"]),
        (Intent(range=(Comparison("year", ">", 1990),)), ["year > 1990"]),
    ],
)
def test_phrases_are_found_in_the_catalog(finder, intent, wishes):
    found, doubts = finder.find(intent)
    assert told(found) == wishes
    assert doubts == []


def test_a_doubtful_title_is_asked_back(finder):
    found, doubts = finder.find(Intent(like=("riders",)))
    assert found == []
    assert "Comet Riders" in doubts[0].message
    assert "Dust Riders" in doubts[0].message


@pytest.mark.parametrize(
    ("phrase", "gone"),
    [("space", [0]), ("Topics", [0]), ("the year", [1]), ("moon base", [2]), ("something else", []), ("slow", [3])],
)
def test_what_is_dropped_was_said_or_meant(phrase, gone):
    wishes = [
        Wish("want", "spacey", attribute=Attribute("topics", "space")),
        Wish("range", "year > 1990", bound=Comparison("year", ">", 1990)),
        Wish("like", "moon base", "space-1", "Moon Base (1981)"),
        Wish("want", "slow"),
    ]
    assert dropped(wishes, phrase) == [wishes[place] for place in gone]


def topics(recommender, reply):
    return [recommender.catalog.metadata(row.item_id)["topics"] for row in reply.rows]


def test_wishes_add_up_and_hold_until_dropped(talk, recommender):
    first = talk.say("something like Moon Base, but no drama")
    assert told(first.wishes) == ["like Moon Base (1981)", "without topics: drama"]
    assert all("drama" not in found for found in topics(recommender, first))
    second = talk.say("with western")
    assert all(found == ["western"] for found in topics(recommender, second))
    third = talk.say("forget the western")
    assert told(third.wishes) == ["like Moon Base (1981)", "without topics: drama"]
    assert [row.item_id for row in third.rows] == [row.item_id for row in first.rows]
    fourth = talk.drop(2)
    assert told(fourth.wishes) == ["like Moon Base (1981)"]
    assert any("drama" in found for found in topics(recommender, fourth))
    with pytest.raises(InputError, match="no wish 7"):
        talk.drop(7)


def test_a_doubtful_title_alone_is_asked_back_before_anything_is_listed(talk):
    reply = talk.say("something like riders, give me two")
    assert [doubt.said for doubt in reply.doubts] == ["riders"]
    assert reply.rows == []
    after = talk.say("something like Comet Riders")
    assert told(after.wishes) == ["like Comet Riders (1982)"]
    assert len(after.rows) == 2


def test_of_several_phrases_each_that_drops_nothing_is_told(talk):
    talk.say("something like Moon Base, no drama")
    reply = talk.say("forget the drama, forget the zebra")
    assert told(reply.wishes) == ["like Moon Base (1981)"]
    assert [one for one in reply.notes if "not dropped" in one] == [
        "nothing that was said is like 'zebra', so it was not dropped"
    ]


def test_a_later_bound_takes_the_place_of_an_earlier_one(talk):
    talk.say("something like Moon Base, after 1981")
    reply = talk.say("after 1983 and before 2003")
    assert told(reply.wishes) == ["like Moon Base (1981)", "year > 1983", "year < 2003"]
    assert told(talk.say("from 1984").wishes) == ["like Moon Base (1981)", "year = 1984"]


def test_the_same_thing_is_wanted_or_not(talk):
    talk.say("something like Moon Base, no drama")
    assert told(talk.say("with drama").wishes) == ["like Moon Base (1981)", "with topics: drama"]


def test_a_disliked_item_never_returns(talk):
    reply = talk.say("something like Moon Base")
    gone = reply.rows[0].item_id
    for _ in range(3):
        reply = talk.react(2, "dislike")
        assert gone in [row.item_id for row in reply.rows] or gone in talk.state.disliked
    talk.say("with space")
    assert not {row.item_id for row in talk.say("more drama").rows} & set(talk.state.disliked)


def test_a_reaction_is_kept_and_changes_the_next_list(recommender):
    kept = []

    def keep(*reaction):
        kept.append(reaction)
        return lambda: kept.remove(reaction)

    talk = Conversation(recommender, read_intent, mode="retrieval", keep=keep, k=5)
    before = talk.say("something like Moon Base")
    after = talk.react(1, "like")
    assert kept == [(before.rows[0].item_id, "like")]
    assert before.rows[0].item_id not in [row.item_id for row in after.rows]
    assert told(after.wishes)[-1] == f"like {before.rows[0].label}"
    talk.say("no drama")
    talk.undo()
    assert len(kept) == 1
    talk.undo()
    assert kept == []


def test_why_is_answered_from_the_last_list(talk):
    reply = talk.say("something like Moon Base")
    reason = talk.say("why the second?")
    assert reason.reason.item_id == reply.rows[1].item_id
    assert reply.rows[1].label in reason.reason.explanation.text
    assert talk.why(1).reason.item_id == reply.rows[0].item_id
    with pytest.raises(InputError, match="no item 9"):
        talk.why(9)


def test_undo_goes_back_turn_by_turn(talk):
    first = talk.say("something like Moon Base")
    talk.say("no drama")
    talk.react(1, "dislike")
    assert told(talk.undo().wishes) == ["like Moon Base (1981)", "without topics: drama"]
    assert [row.item_id for row in talk.undo().rows] == [row.item_id for row in first.rows]
    assert talk.undo().rows == []
    with pytest.raises(InputError, match="nothing to undo"):
        talk.undo()


def test_what_cannot_be_answered_changes_nothing(talk):
    talk.say("something like Moon Base")
    before = talk.state
    with pytest.raises(InputError):
        talk.say("after 2500")
    assert talk.state == before
    assert any("'zebra', so it was not dropped" in one for one in talk.say("forget the zebra").notes)


def test_more_and_less_order_what_was_found(talk, recommender):
    reply = talk.say("something like Moon Base, more drama")
    found = ["drama" in one for one in topics(recommender, reply)]
    assert found == sorted(found, reverse=True)
    talk.reset()
    assert talk.profile().wishes == ()
    reply = talk.say("something like Moon Base, less drama")
    found = ["drama" in one for one in topics(recommender, reply)]
    assert found == sorted(found)


def test_what_is_named_to_be_unlike_is_left_out_with_what_is_near(talk, recommender):
    near = {row.item_id for row in recommender.similar("Red Canyon", 1).rows}
    reply = talk.say("something like Moon Base, nothing like Red Canyon")
    assert not {row.item_id for row in reply.rows} & ({"western-1"} | near)


def test_a_count_holds(talk):
    assert len(talk.say("something like Moon Base, give me two").rows) == 2
    assert len(talk.say("no drama").rows) == 2
