"""Figures of a task whose lists are fixed, against values worked out by hand."""

import time

import numpy as np
import polars as pl
import pytest

from agent.evaluation.measure import Key, Measured, Surroundings, measure, peak_memory
from agent.evaluation.report import Rows
from agent.evaluation.strata import genres, item_strata, user_strata
from retrieval.cf.config import Config
from retrieval.cf.scorer import Scorer
from retrieval.data.catalog import Catalog
from retrieval.data.histories import Histories
from retrieval.data.splits import Task
from retrieval.errors import ScoreError

ITEMS = tuple("abcdefgh")
TRAIN = {"t0": "ab", "t1": "abc", "t2": "ad", "u0": "a"}  # popularity: a 4, b 2, c 1, d 1
KNOWN = {"u0": {"a": 5}, "u1": {"b": 4, "c": 2}, "u2": {}}
HELD_OUT = {"u0": {"b": 5, "e": 2}, "u1": {"a": 4, "d": 1, "f": 5}, "u2": {"g": 1}}
SCORES = {  # of the items a to h
    "u0": [9, 7, 8, 5, 6, 4, 3, 2],  # lists c b e d f g h
    "u1": [3, 9, 9, 8, 6, 7, 5, 4],  # lists d f e g h a
    "u2": [8, 7, 6, 5, 4, 3, 1, 2],
}
SECOND, FOURTH, SIXTH = 1 / np.log2(3), 1 / np.log2(5), 1 / np.log2(7)  # gains at these places


class Fixed(Scorer):
    """Gives every user the scores that the test says."""

    name = "fixed"
    config_type = Config

    def __init__(self, scores, *, values=False):
        super().__init__(Config(), len(ITEMS))
        self.scores = scores
        self.predicts_values = values

    @classmethod
    def fit(cls, data, config):  # noqa: ARG003
        return cls(SCORES)

    def _score(self, histories):
        return np.array([self.scores[user] for user in histories.users], dtype=np.float32).reshape(-1, len(ITEMS))

    def arrays(self):
        return {}

    @classmethod
    def from_arrays(cls, config, items, arrays):  # noqa: ARG003
        return cls(SCORES)


def histories(of, items=ITEMS):
    rows = [(user, item, float(value), 0) for user, had in of.items() for item, value in had.items()]
    events = pl.DataFrame(
        rows,
        schema={"user_id": pl.String, "item_id": pl.String, "value": pl.Float64, "timestamp": pl.Int64},
        orient="row",
    )
    return Histories.from_events(events, items, list(of))


def task(known=KNOWN, held_out=HELD_OUT, candidates=None):
    train = histories({user: dict.fromkeys(had, 4) for user, had in TRAIN.items()})
    return Task(train, histories(known), histories(held_out).values, candidates)


def around(of, **more):
    relevant = of.relevant(4)
    rest = {"item_strata": item_strata(of), "user_strata": user_strata(of, None), "genres": None, "vectors": None}
    return Surroundings(of, relevant, relevant, **(rest | more))


def measured(scores=SCORES, threshold=6.5, values=False, of=None, **more):
    return measure(Fixed(scores, values=values), around(task() if of is None else of, **more), 0, threshold)


def figure(found, metric, k=10, stratum="all"):
    return found.by_user[Key(stratum, metric, k)]


def rows_of(found):
    return {(row.stratum, row.metric, row.k): row for row in Rows("data", "split").of([found])}


def test_ranking_figures_are_those_worked_out_by_hand():
    found = measured()
    np.testing.assert_allclose(figure(found, "ndcg", 5), [SECOND, SECOND / (1 + SECOND), np.nan])
    np.testing.assert_allclose(figure(found, "ndcg", 10), [SECOND, (SECOND + SIXTH) / (1 + SECOND), np.nan])
    np.testing.assert_allclose(figure(found, "recall", 5), [1, 0.5, np.nan])
    np.testing.assert_allclose(figure(found, "recall", 20), [1, 1, np.nan])
    np.testing.assert_allclose(figure(found, "mrr"), [0.5, 0.5, np.nan])
    assert found.users == ("u0", "u1", "u2")


def test_users_without_a_relevant_item_are_left_out_of_the_mean_and_of_the_count():
    row = rows_of(measured())["all", "ndcg", 10]
    assert row.n_users == 2
    assert row.mean == pytest.approx((SECOND + (SECOND + SIXTH) / (1 + SECOND)) / 2, abs=1e-5)


def test_item_groups_are_cold_and_warm_and_thirds_of_the_training_events():
    members = {name: "".join(np.array(ITEMS)[inside]) for name, inside in item_strata(task()).items()}
    assert members == {
        "item=warm": "abcd",
        "item=cold": "efgh",
        "popularity=head": "a",
        "popularity=mid": "b",
        "popularity=tail": "cd",
    }


def test_item_groups_without_a_held_out_event_are_left_out():
    of = task(held_out={"u0": {"b": 5}, "u1": {"a": 4}, "u2": {"b": 1}})
    assert set(item_strata(of)) == {"item=warm", "popularity=head", "popularity=mid"}


def test_figures_of_an_item_group_count_its_items_alone_and_keep_their_places():
    found = measured()
    np.testing.assert_allclose(figure(found, "ndcg", 10, "item=cold"), [np.nan, SECOND, np.nan])
    np.testing.assert_allclose(figure(found, "ndcg", 10, "item=warm"), [SECOND, SIXTH, np.nan])
    np.testing.assert_allclose(figure(found, "recall", 10, "popularity=head"), [np.nan, 1, np.nan])


def test_figures_of_a_user_group_are_those_of_its_users():
    found = measured()
    np.testing.assert_allclose(figure(found, "recall", 10, "user=known"), [1, np.nan, np.nan])
    np.testing.assert_allclose(figure(found, "ndcg", 10, "user=new"), [np.nan, (SECOND + SIXTH) / (1 + SECOND), np.nan])


def test_users_are_grouped_by_the_length_of_their_history():
    lengths, items = [0, 1, 5, 6, 20, 21, 100, 101], [f"{n:03}" for n in range(120)]
    known = {f"u{n:03}": dict.fromkeys(items[:n], 1) for n in lengths}
    of = Task(histories({"t": {"000": 1}}, items), histories(known, items), histories(known, items).values)
    strata = user_strata(of, None)
    assert {name: [n for n, inside in zip(lengths, members, strict=True) if inside] for name, members in strata.items()
            if name.startswith("history")} == {
        "history=0-5": [0, 1, 5], "history=6-20": [6, 20], "history=21-100": [21, 100], "history=101+": [101],
    }  # fmt: skip


def people(**columns):
    users = [f"u{n:02}" for n in range(40)]
    one = {user: {"a": 1} for user in users}
    of = Task(histories({"t": {"a": 1}}), histories(one), histories(one).values)
    strata = user_strata(of, pl.DataFrame({"user_id": users, **columns})[:-1])
    return {name: members for name, members in strata.items() if not name.startswith(("user=", "history="))}


def test_attributes_make_a_group_for_each_value_and_strangers_are_in_none():
    found = people(gender=["F", "M"] * 20, vip=[True] + [None] * 39)
    assert set(found) == {"gender=F", "gender=M", "vip=True"}
    assert (found["gender=F"].sum(), found["gender=M"].sum(), found["vip=True"].sum()) == (20, 19, 1)


def test_numbers_of_many_values_are_cut_into_quarters():
    found = people(age=list(range(100, 140)))
    assert len(found) == 4
    assert all(9 <= members.sum() <= 11 for members in found.values())
    np.testing.assert_array_equal(np.sum(list(found.values()), axis=0), [1] * 39 + [0])


def test_words_of_many_values_are_left_out_and_few_numbers_are_not_cut():
    assert people(street=[f"{n} High Street" for n in range(40)]) == {}
    assert len(people(children=[n % 30 for n in range(40)])) == 30


def test_auc_is_the_mean_over_users_and_accuracy_the_share_of_all_events():
    found = measured()
    np.testing.assert_allclose(figure(found, "auc", 0), [1, 0, np.nan])
    rows = rows_of(found)
    assert (rows["all", "auc", 0].mean, rows["all", "auc", 0].n_users) == (0.5, 2)
    # u0: both right; u1: f alone; u2: g, which was disliked and scores low
    assert rows["all", "accuracy", 0].mean == pytest.approx(4 / 6, abs=1e-5)


def test_rmse_is_over_all_events_and_only_of_what_predicts_values():
    rows = rows_of(measured(values=True))
    squares = [(7 - 5) ** 2, (6 - 2) ** 2, (3 - 4) ** 2, (8 - 1) ** 2, (7 - 5) ** 2, (1 - 1) ** 2]
    assert rows["all", "rmse", 0].mean == pytest.approx(np.sqrt(np.mean(squares)), abs=1e-4)
    assert not any(metric == "rmse" for _, metric, _ in rows_of(measured()))


def test_without_a_threshold_there_is_no_accuracy_and_without_dislikes_no_auc():
    assert ("all", "accuracy", 0) not in rows_of(measured(threshold=None))
    liked = {user: dict.fromkeys(had, 5) for user, had in HELD_OUT.items()}
    assert Key("all", "auc", 0) not in measured(of=task(held_out=liked)).by_user


def test_a_score_that_is_no_number_names_the_scorer():
    with pytest.raises(ScoreError, match="fixed gave a score that is not a number"):
        measured({**SCORES, "u1": [1.0] * 7 + [float("nan")]})


def test_constant_scores_list_by_id_and_the_totals_follow():
    found = measured(dict.fromkeys(SCORES, [1.0] * 8))
    # u0: b c d e f; u1: a d e f g; u2: a b c d e
    np.testing.assert_allclose(figure(found, "ndcg", 5), [1, (1 + FOURTH) / (1 + SECOND), np.nan])
    assert found.totals[Key("all", "coverage", 5)] == pytest.approx(7 / 8)
    assert found.totals[Key("all", "gini", 5)] == pytest.approx(31 / 120)


def test_latencies_are_milliseconds_for_lists_of_ten():
    totals = measured().totals
    low, high = (totals[Key("all", f"latency-p{share}", 10)] for share in (50, 95))
    assert 0 < low <= high < 1000


def test_only_candidates_are_listed_and_totals_are_shares_of_them():
    found = measured(of=task(candidates=np.isin(ITEMS, list("efgh"))))
    np.testing.assert_allclose(figure(found, "ndcg", 10), [0, 1 / (1 + SECOND), np.nan])
    assert found.totals[Key("all", "coverage", 10)] == 1
    assert found.totals[Key("all", "gini", 10)] == pytest.approx(0)  # all four stand in all three lists


def test_diversity_and_calibration_come_with_text_and_genres():
    vectors = np.eye(8, dtype=np.float32)
    frame = pl.DataFrame({"item_id": ITEMS, "title": ITEMS, "genres": [["x"], *[["x", "y"]] * 7]})
    found = measured(vectors=vectors, genres=genres(Catalog(frame), ITEMS))
    np.testing.assert_allclose(figure(found, "diversity"), 1)  # all texts are at right angles
    mixed = np.log(1 / (0.99 * 0.5 + 0.01))  # u0 had x alone and is given half x, half y
    np.testing.assert_allclose(figure(found, "miscalibration", 5), [mixed, 0, np.nan], atol=1e-12)
    assert Key("all", "diversity", 10) not in measured().by_user


def test_genres_are_shares_and_none_without_a_list_field():
    frame = pl.DataFrame(
        {"item_id": ["a", "b"], "title": ["A", "B"], "genres": [["x", "y"], None], "about": ["q", "q"]}
    )
    np.testing.assert_allclose(genres(Catalog(frame), ("b", "a")).toarray(), [[0, 0], [0.5, 0.5]])
    assert genres(Catalog(frame.drop("genres")), ("a", "b")) is None


def test_progress_counts_every_user_once():
    told = []
    measure(Fixed(SCORES), around(task()), 0, None, told.append)
    assert sum(told) == 3


def test_what_is_saved_comes_back_the_same(tmp_path):
    found = measured(values=True)
    found.save(tmp_path / "one.npz")
    again = Measured.load(tmp_path / "one.npz")
    assert (again.system, again.seed, again.users, again.totals) == ("fixed", 0, found.users, found.totals)
    assert list(again.by_user) == list(found.by_user)
    for key, values in found.by_user.items():
        np.testing.assert_array_equal(again.by_user[key], values)
    assert [path.name for path in tmp_path.iterdir()] == ["one.npz"]


def test_peak_memory_sees_what_was_freed_again():
    found = {}
    with peak_memory(found):
        block = np.ones(200 * 2**20 // 8)
        time.sleep(0.2)
        del block
    assert 190 < found[Key("all", "peak-memory", 0)] < 400
