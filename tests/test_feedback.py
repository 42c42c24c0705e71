"""Reactions: the next request hears them, in every mode, and what cannot be one is refused."""

import shutil

import polars as pl
import pytest
from conftest import planted_tables
from planted_models import PLANTED_SETTINGS, PlantedModels
from ranker_world import said_by, whyrec

from agent.reactions import Reactions
from agent.recommender import Recommender
from agent.request import Request
from agent.settings import EventSettings, Settings
from agent.why_not import why_not
from retrieval.data.feedback import FEEDBACK
from retrieval.data.readers import Table
from retrieval.data.workspace import Workspace, create_workspace
from retrieval.errors import InputError, UnknownUserError


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return PlantedModels(tmp_path_factory.mktemp("lm"))


@pytest.fixture
def root(planted_root, tmp_path):
    return shutil.copytree(planted_root, tmp_path / "ws")


@pytest.fixture
def say(root):
    return lambda user, item, reaction: Reactions(Workspace(root), PLANTED_SETTINGS).add(user, item, reaction)


@pytest.fixture
def listed(root, models):
    def ids(user, **more):
        asked = Request(user, **{"k": 18, "mode": "retrieval", **more})
        return [row.item_id for row in Recommender(Workspace(root), PLANTED_SETTINGS, models).recommend(asked).rows]

    return ids


def test_somebody_known_from_reactions_alone_gets_what_is_like_what_they_like(say, listed, root):
    with pytest.raises(UnknownUserError, match="no user 'newcomer'"):
        Workspace(root).history("newcomer")
    say("newcomer", "bread days", "like")
    assert all(item.startswith("cooking") for item in listed("newcomer", k=4))
    say("newcomer", "Red Canyon", "like")
    say("newcomer", "Last Wagon", "5")
    found = listed("newcomer", k=5)
    assert {"western", "cooking"} == {item.split("-")[0] for item in found}
    assert not {"cooking-0", "western-1", "western-2"} & set(found)


def test_a_history_is_events_and_reactions_in_order_of_time(say, root):
    history = Workspace(root).history("user-0")
    assert history.items == ("space-0", "space-1", "space-2", "space-3", "cooking-0")
    say("user-0", "Comet Riders", "2")
    say("user-0", "Orbit of Fire", "like")
    history = Workspace(root).history("user-0")
    assert history.items == ("space-0", "space-1", "space-3", "cooking-0", "space-2", "space-4")
    assert history.values == (5.0, 5.0, 5.0, 1.0, 2.0, 5.0)


def test_events_with_real_times_may_be_later_than_a_reaction(tmp_path):
    items, _ = planted_tables()
    rows = {"user_id": ["u", "u"], "item_id": ["space-0", "space-1"], "rating": [1.0, 5.0]}
    late = Table(pl.LazyFrame(rows | {"timestamp": [1_500_000_000, 4_000_000_000]}), "events")
    create_workspace(tmp_path / "ws", items, late)
    workspace = Workspace(tmp_path / "ws")
    for item_id, value in (("space-0", 4.0), ("space-1", 2.0), ("space-2", 3.0)):
        workspace.feedback.add("u", item_id, "rating", value)
    history = workspace.history("u")
    assert (history.items, history.values) == (("space-0", "space-2", "space-1"), (4.0, 3.0, 5.0))


@pytest.mark.parametrize("reaction", ["dislike", "hide"])
def test_what_is_disliked_or_hidden_never_returns_until_it_is_liked(say, listed, root, reaction):
    assert "space-4" in listed("user-0")
    say("user-0", "space-4", reaction)
    assert "space-4" not in listed("user-0")
    seen_too = listed("user-0", exclude_seen=False)
    assert "space-4" not in seen_too
    assert "space-0" in seen_too
    assert "space-4" not in listed("user-0", query="orbit of fire", exclude_seen=False)
    assert "space-4" in listed("user-3")  # who likes the same topic and has said nothing
    say("user-0", "space-4", "like")
    assert "space-4" in listed("user-0", exclude_seen=False)
    assert not Workspace(root).history("user-0").never


@pytest.mark.parametrize("mode", ["retrieval", "auto"])
@pytest.mark.parametrize("reaction", ["dislike", "hide"])
def test_what_is_disliked_or_hidden_cannot_be_pinned_until_it_is_liked(say, listed, reaction, mode):
    say("user-0", "Orbit of Fire", reaction)
    said = r"this user disliked or hid Orbit of Fire.*leave --pin out.*whyrec feedback list.*whyrec feedback undo"
    with pytest.raises(InputError, match=said):
        listed("user-0", mode=mode, pin=("Orbit of Fire",))
    assert listed("user-3", mode=mode, pin=("Orbit of Fire",))[0] == "space-4"
    say("user-0", "Orbit of Fire", "like")
    assert listed("user-0", mode=mode, pin=("Orbit of Fire",))[0] == "space-4"


def test_what_was_seen_is_had_and_says_nothing_of_taste(say, listed, root):
    before = Workspace(root).history("user-0")
    say("user-0", "Bread Days", "seen")  # rated 1 before, which stays
    say("user-0", "space-4", "seen")
    history = Workspace(root).history("user-0")
    assert (history.items, history.values) == (before.items, before.values)
    assert history.seen == {"space-4"}
    assert "space-4" not in listed("user-0")
    assert "space-4" in listed("user-0", exclude_seen=False)


def test_hidden_items_are_no_part_of_the_profile(say, root):
    for place in range(4):
        say("user-0", f"space-{place}", "hide")
    history = Workspace(root).history("user-0")
    assert history.items == ("cooking-0",)
    assert history.never == {f"space-{place}" for place in range(4)}


def test_dislikes_alone_are_nothing_to_go_on(say, listed, root):
    say("critic", "space-0", "dislike")
    say("critic", "space-1", "seen")
    history = Workspace(root).history("critic")
    assert (len(history), history.never, history.seen) == (0, {"space-0"}, {"space-1"})
    with pytest.raises(InputError, match="'critic' has said only what not to recommend; add --like"):
        listed("critic")
    assert "space-0" not in listed("critic", likes=("Moon Base",), exclude_seen=False)
    say("critic", "space-2", "3")
    history = Workspace(root).history("critic")
    assert (history.items, history.values) == (("space-0", "space-2"), (1.0, 3.0))


def test_explanations_and_reasons_against_know_what_was_said(say, root, models):
    say("user-0", "space-4", "hide")
    say("user-0", "space-5", "seen")
    recommender = Recommender(Workspace(root), PLANTED_SETTINGS, models)
    hidden, seen = (why_not(recommender, Request("user-0", k=3), 5, item) for item in ("space-4", "space-5"))
    assert hidden.said == "Orbit of Fire (1984) is left out because the user disliked or hid it."
    assert hidden.item["retrieve"] > hidden.other["retrieve"]
    assert seen.said == "Silent Planet (1985) is left out because the user said that they have had it."
    asked = Request("user-0", writer="template")
    assert recommender.explain(asked, "space-5").notes == ["this user has had Silent Planet (1985) already"]
    assert "it is never recommended to them" in recommender.explain(asked, "space-4").notes[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("user-0", "space-0", "love"), "'love' is not like, dislike, seen, hide or a rating from 0.5 to 5"),
        (("user-0", "space-0", "6"), "'6' is not like"),
        (("user-0", "space-0", "0.4"), "a rating from 0.5 to 5"),
        (("user-0", "space-0", "nan"), "'nan' is not like"),
        (("  ", "space-0", "like"), "the user has no name"),
        (("user-0", "Alien", "like"), "no item is called anything like 'Alien'"),
        (("user-0", "riders", "like"), "'riders' may be 2 items, name one by its id: Comet Riders (1982) [id:space-2]"),
        (("user-0", "id:nope", "like"), "no item 'nope'"),
    ],
)
def test_what_cannot_be_kept_is_said_in_a_line_and_leaves_nothing(root, words, said):
    result = whyrec("feedback", "add", *words, "-w", root)
    assert result.exit_code == 1
    assert said in said_by(result)
    assert not (root / FEEDBACK).exists()


def test_a_rating_is_on_the_scale_of_the_events(tmp_path):
    items, events = planted_tables()
    worth = pl.col("rating").replace_strict({5.0: 80.0, 1.0: 10.0})
    create_workspace(tmp_path / "points", items, Table(events.frame.with_columns(worth), "points"))
    create_workspace(tmp_path / "plain", items, Table(events.frame.drop("rating"), "plain"))
    create_workspace(tmp_path / "none", items, None)
    points = Reactions(Workspace(tmp_path / "points"), Settings(events=EventSettings(liked_from=80.0)))
    assert [points.add("u", "space-0", one).value for one in ("like", "dislike", "45.5")] == [80.0, 10.0, 45.5]
    with pytest.raises(InputError, match="a rating from 10 to 80"):
        points.add("u", "space-0", "5")
    for name in ("plain", "none"):
        unrated = Reactions(Workspace(tmp_path / name), Settings())
        assert [unrated.add("u", "space-0", one).value for one in ("like", "dislike")] == [1.0, 0.0]
        with pytest.raises(InputError, match="'4' is not like, dislike, seen or hide; the events here have no ratings"):
            unrated.add("u", "space-0", "4")


def test_somebody_new_is_named_once(root):
    new = "ann is new: there was no event and no reaction of theirs"
    assert new in whyrec("feedback", "add", "ann", "space-1", "like", "-w", root).stderr
    assert new not in whyrec("feedback", "add", "ann", "space-2", "like", "-w", root).stderr
    assert "is new" not in whyrec("feedback", "add", "user-0", "space-5", "like", "-w", root).stderr
