"""The pipeline on the planted world."""

import shutil

import numpy as np
import polars as pl
import pytest
from planted_models import PLANTED_SETTINGS, PlantedModels

from agent.recommender import Recommender
from agent.request import Request
from retrieval.data.events import History
from retrieval.data.workspace import Workspace
from retrieval.errors import AmbiguousTitleError, IndexMismatchError, InputError, UnknownItemError, UnknownUserError
from retrieval.text.chroma import delete_collection
from retrieval.text.index import ItemIndex

UNTUNED = "the language model writes untuned; tune it with: whyrec finetune writer"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return PlantedModels(tmp_path_factory.mktemp("lm"))


@pytest.fixture
def recommender(planted, models):
    return Recommender(planted, PLANTED_SETTINGS, models)


def ids(answer):
    return [row.item_id for row in answer.rows]


def test_a_user_gets_the_unseen_items_of_the_liked_topic_first(recommender):
    answer = recommender.recommend(Request("user-0", k=4))
    assert set(ids(answer)[:2]) == {"space-4", "space-5"}
    assert not set(ids(answer)) & {"space-0", "space-1", "space-2", "space-3", "cooking-0"}
    assert [row.place for row in answer.rows] == [1, 2, 3, 4]


def test_seen_items_come_back_when_asked_for(recommender):
    assert "space-0" in ids(recommender.recommend(Request("user-0", k=6, exclude_seen=False)))


def test_likes_count_as_known_and_are_not_recommended(recommender):
    answer = recommender.recommend(Request(likes=("bread days", "Salt and Lemon"), k=4))
    assert {item.split("-")[0] for item in ids(answer)} == {"cooking"}
    assert not {"cooking-0", "cooking-1"} & set(ids(answer))


def test_words_find_what_they_name(recommender):
    assert ids(recommender.recommend(Request(query="garlic road", k=1))) == ["cooking-5"]


def test_words_are_heard_beside_a_history(recommender):
    answer = recommender.recommend(Request("user-0", query="pastry wars cooking", k=4))
    assert "cooking-3" in ids(answer)
    assert {"space-4", "space-5"} & set(ids(answer))


def test_a_query_that_rules_something_out_is_told_so(recommender):
    answer = recommender.recommend(Request(query="galaxy, but no cooking", k=2))
    assert any("cannot rule out yet (cooking)" in note for note in answer.notes)


def test_a_filter_keeps_the_list_full(recommender):
    answer = recommender.recommend(Request("user-0", k=5, where="topics ~ western and year < 2005"))
    assert set(ids(answer)) == {f"western-{n}" for n in range(5)}


def test_without_a_tuned_ranker_auto_does_not_rank_and_says_so(recommender):
    answer = recommender.recommend(Request("user-0", k=3))
    assert all(set(row.stages) == {"retrieve"} for row in answer.rows)
    assert any("did not order" in note for note in answer.notes)
    assert "rank" not in answer.seconds


def test_retrieval_mode_has_nothing_to_say(recommender):
    assert recommender.recommend(Request("user-0", k=3, mode="retrieval")).notes == []


def test_full_mode_shows_scores_and_leaves_the_order(recommender):
    plain = recommender.recommend(Request("user-0", k=5, mode="retrieval"))
    full = recommender.recommend(Request("user-0", k=5, mode="full"))
    assert ids(full) == ids(plain)
    assert all(set(row.stages) == {"retrieve", "rank"} for row in full.rows)


def test_alpha_one_orders_by_the_language_model_alone(recommender):
    answer = recommender.recommend(Request("user-0", k=8, alpha=1.0))
    ranked = [row.stages["rank"] for row in answer.rows]
    assert ranked == sorted(ranked, reverse=True)
    assert [row.score for row in answer.rows] == [row.stages["fuse"] for row in answer.rows]


def test_alpha_zero_equals_retrieval(recommender):
    plain = recommender.recommend(Request("user-0", k=8, mode="retrieval"))
    assert ids(recommender.recommend(Request("user-0", k=8, alpha=0.0))) == ids(plain)


def test_a_short_list_is_named(recommender):
    answer = recommender.recommend(Request("user-0", k=10, where="topics ~ western and year >= 2004"))
    assert set(ids(answer)) == {"western-4", "western-5"}
    assert "only 2 of 10 items could be found" in answer.notes


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (Request("nobody"), UnknownUserError, "no user 'nobody'; there are, for instance, user-"),
        (Request(), InputError, "nothing to go on"),
        (Request(query="   "), InputError, "nothing to go on"),
        (Request(likes=("Zzyzx Quux",)), UnknownItemError, "'Zzyzx Quux'"),
        (Request(likes=("riders",)), AmbiguousTitleError, r"id:space-2.*id:western-0"),
        (Request("user-0", where="year > 3000"), InputError, "no item is left to recommend"),
    ],
)
def test_what_cannot_be_answered_is_one_sentence(recommender, request_, error, message):
    with pytest.raises(error, match=message):
        recommender.recommend(request_)


def test_a_user_who_liked_nothing_is_served_by_what_they_preferred_and_told(planted, models):
    strict = PLANTED_SETTINGS.model_copy(
        update={"events": PLANTED_SETTINGS.events.model_copy(update={"liked_from": 9.0})}
    )
    answer = Recommender(planted, strict, models).recommend(Request("user-0", k=2, explain=True, writer="template"))
    assert set(ids(answer)) == {"space-4", "space-5"}
    assert any("no event of this user reaches 9" in note for note in answer.notes)
    assert "preferred" in answer.rows[0].explanation.text


def test_what_one_value_was_given_to_is_not_called_preferred(recommender):
    liked, did, notes = recommender.people._liked(History(("space-0", "space-1"), (1.0, 1.0)))
    assert (liked, did) == (("space-0", "space-1"), "rated")
    assert "everything they rated" in notes[0]


def test_an_index_of_other_items_is_refused(planted_root, models, tmp_path):
    root = shutil.copytree(planted_root, tmp_path / "new items")
    items = pl.read_parquet(root / "data" / "items.parquet")
    items.with_columns(title=pl.lit("Same count, other title")).write_parquet(root / "data" / "items.parquet")
    message = r"not up to date with the catalog \(18\); run: whyrec index -w '.*new items'"
    with pytest.raises(IndexMismatchError, match=message):
        Recommender(Workspace(root), PLANTED_SETTINGS, models).recommend(Request("user-0"))


def test_an_index_that_was_never_finished_is_refused(planted_root, models, tmp_path):
    root = shutil.copytree(planted_root, tmp_path / "half")
    workspace = Workspace(root)
    delete_collection(workspace.index_path)
    index = ItemIndex(workspace.index_path, models.encoder_fingerprint, create=True)
    index.update(workspace.catalog, index.changes(workspace.catalog), models.encoder)
    with pytest.raises(IndexMismatchError, match="not up to date"):
        Recommender(workspace, PLANTED_SETTINGS, models).recommend(Request("user-0"))
    index.complete(workspace.catalog_fingerprint)
    assert Recommender(workspace, PLANTED_SETTINGS, models).recommend(Request("user-0", k=1)).rows


def test_nothing_similar_within_the_filter_is_an_error(recommender):
    with pytest.raises(InputError, match="no other item fits the filter"):
        recommender.similar("Moon Base", k=5, where="year > 3000")


def test_explanations_come_with_true_evidence(recommender):
    answer = recommender.recommend(Request("user-0", k=2, explain=True))
    for row in answer.rows:
        evidence = row.explanation.evidence
        assert row.explanation.written_by == "lm"
        assert row.label in row.explanation.text
        assert {cited.item_id.split("-")[0] for cited in evidence.cited} == {"space"}
        assert all(cited.label in row.explanation.text for cited in evidence.cited)


def test_an_item_is_explained_by_title_and_by_id(recommender):
    by_title = recommender.explain(Request("user-0"), "Silent Planet")
    assert by_title.rows == recommender.explain(Request("user-0"), "space-5").rows
    assert by_title.rows[0].explanation.evidence.item_id == "space-5"
    assert by_title.notes == [UNTUNED]


def test_explaining_an_item_that_the_user_has_had_says_so(recommender):
    assert recommender.explain(Request("user-0"), "space-0").notes == [
        UNTUNED,
        "this user has had Star Voyage (1980) already (value 5)",
    ]


def test_similar_items_share_the_topic_and_leave_the_item_out(recommender):
    answer = recommender.similar("Moon Base", k=5)
    assert set(ids(answer)) == {f"space-{n}" for n in (0, 2, 3, 4, 5)}


def test_the_same_request_gives_the_same_answer(recommender):
    first = recommender.recommend(Request("user-1", k=5, explain=True, mode="full"))
    again = recommender.recommend(Request("user-1", k=5, explain=True, mode="full"))
    assert [row.explanation.text for row in first.rows] == [row.explanation.text for row in again.rows]
    np.testing.assert_array_equal([r.score for r in first.rows], [r.score for r in again.rows])


def test_among_and_where_both_limit_what_may_be_recommended(recommender):
    among = frozenset({"space-4", "space-5", "western-5"})
    answer = recommender.recommend(Request("user-0", k=9, among=among))
    assert set(ids(answer)) == among
    assert ids(recommender.recommend(Request("user-0", k=9, among=among, where="title ~ prairie"))) == ["western-5"]
    with pytest.raises(InputError, match="no item is left"):
        recommender.recommend(Request("user-0", among=among, where="title ~ spur"))
