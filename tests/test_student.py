"""The student's tables: what they are in closed form, whom they serve, and what a teacher can make of them."""

import numpy as np
import pytest
from contracts import check_recommends, check_refuses_other_items
from scipy.sparse import csr_array
from scipy.stats import kendalltau
from scorer_worlds import ITEMS, PLACES, random_histories, some_histories, topic_user, topic_world

from finetune.distill import Distillation, TeacherLists, distil
from retrieval.cf import twin as twin_tables
from retrieval.cf.ease import Ease, EaseConfig
from retrieval.cf.scorer import TrainingData
from retrieval.cf.student import Student, StudentConfig
from retrieval.data.events import History
from retrieval.data.histories import Histories
from retrieval.errors import InputError
from retrieval.text.facts import Facts
from retrieval.text.text_ease import TextEase, TextEaseConfig
from retrieval.text.text_map import predicted

CONFIG = StudentConfig(own=1.0)
THOROUGH = Distillation(epochs=200, people=4, decay=0.0, temperature=2.0)  # so that all of a list counts


@pytest.fixture(scope="module")
def twin():
    return Student.fit(topic_world(), CONFIG)


def cold_world(users=60, items=30, cold=(7, 20)):
    """Random events, none of them of the cold items; texts at random."""
    rng = np.random.default_rng(4)
    known = random_histories(users, items, 3)
    keep = ~np.isin(known.values.indices, cold)
    vectors = rng.normal(size=(items, 12))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return TrainingData(known.keeping(keep), vectors.astype(np.float32), seed=1)


def test_it_keeps_the_contract_of_scorers(twin):
    check_recommends(twin, some_histories(), tolerance=1e-4)
    check_refuses_other_items(twin, ITEMS)


def test_the_twin_finds_the_item_that_was_withheld(twin):
    users = Histories.of([topic_user(item) for item in range(len(ITEMS))], ITEMS)
    assert twin.recommend(users, 1).ids[:, 0].tolist() == list(ITEMS)


def test_items_with_events_are_ordered_as_ease_orders_them():
    data = cold_world()
    config = StudentConfig(weak=1.0, own=20.0, near=0.0)
    scores, ease = (
        s.score(data.histories) for s in (Student.fit(data, config), Ease.fit(data, EaseConfig(strength=20)))
    )
    warm = np.setdiff1d(np.arange(30), [7, 20])
    lengths = np.linalg.norm(data.histories.positives(None) @ Student.fit(data, config).parts, axis=1)
    np.testing.assert_allclose((scores * lengths[:, None])[:, warm], ease[:, warm], atol=1e-4)


def test_items_without_events_are_ordered_as_their_text_says():
    data = cold_world()
    config = StudentConfig(weak=0.4, own=20.0, near=0.0)
    student, reader = Student.fit(data, config), TextEase.fit(data, TextEaseConfig(weak=0.4))
    cold = np.array([7, 20])
    people = student.people(data.histories)
    lengths = np.linalg.norm(data.histories.positives(None) @ student.parts, axis=1)
    np.testing.assert_allclose(
        people @ student.vectors[cold].T * lengths[:, None], reader.score(data.histories, cold), atol=1e-4
    )


def test_that_texts_are_close_counts_beside_what_people_do():
    data, near = cold_world(), 0.2
    told = data.histories.positives(None)
    by_events, both = (
        (told @ one.parts) @ one.vectors.T
        for one in (Student.fit(data, StudentConfig(near=w, flat=0.0)) for w in (0.0, near))
    )
    np.testing.assert_allclose(both - by_events, near * (told @ data.vectors) @ data.vectors.T, atol=1e-5)


def test_how_the_tables_are_computed_changes_nothing(monkeypatch):
    data, config = cold_world(), StudentConfig(own=20.0, near=0.0)
    whole = Student.fit(data, config).score(data.histories)
    monkeypatch.setattr(twin_tables, "BLOCK", 7)
    np.testing.assert_allclose(Student.fit(data, config).score(data.histories), whole, atol=1e-5)


def test_beyond_the_most_popular_items_the_text_decides_alone(monkeypatch):
    data, config = cold_world(), StudentConfig(own=20.0, near=0.0)
    monkeypatch.setattr(twin_tables, "MOST_ITEMS", 10)
    student, reader = Student.fit(data, config), TextEase.fit(data, TextEaseConfig())
    counts = np.bincount(data.histories.values.indices, minlength=30)
    rest = np.sort(np.argsort(-counts, kind="stable")[10:])
    own = student.parts.shape[1] - reader.arrays()["parts"].shape[1]
    assert own > 0
    assert (student.parts[rest, -own:] == 0).all()
    assert (student.vectors[rest, -own:] == 0).all()
    np.testing.assert_array_equal(student.vectors[:, :-own], reader.arrays()["vectors"])


def test_rows_of_further_items_are_the_mean_of_a_gaussian_process():
    rng = np.random.default_rng(6)
    texts = rng.normal(size=(40, 12))
    texts = (texts / np.linalg.norm(texts, axis=1, keepdims=True)).astype(np.float32)
    known, values, noise = rng.permutation(40)[:30], rng.normal(size=(30, 3)).astype(np.float32), 0.5
    new, nothing = np.setdiff1d(np.arange(40), known), Facts(np.empty((40, 0), np.float32), csr_array((40, 0)))
    found = predicted(StudentConfig(sharpness=1.5, facts=0.0), noise, texts, nothing, known, values)
    kernel = np.exp(-1.5 * ((texts[:, None] - texts[None]) ** 2).sum(axis=2)).astype(np.float64)
    by_hand = kernel[np.ix_(new, known)] @ np.linalg.solve(
        kernel[np.ix_(known, known)] + noise * np.eye(30), values.astype(np.float64)
    )
    np.testing.assert_allclose(found[new], by_hand, atol=2e-3)
    np.testing.assert_array_equal(found[known], values)


def test_without_a_history_what_everybody_likes_decides(twin):
    bias = np.linspace(0, 1, len(ITEMS), dtype=np.float32)
    nobody = Histories.of([History((), ())], ITEMS)
    assert twin.taught(twin.vectors, bias).recommend(nobody, 3).ids[0].tolist() == list(ITEMS[:-4:-1])


def test_where_nobody_had_anything_the_texts_decide():
    data = cold_world()
    nothing = TrainingData(data.histories.keeping(np.zeros(data.histories.values.nnz, dtype=np.bool_)), data.vectors)
    student = Student.fit(nothing, StudentConfig(own=1.0, flat=0.0))
    told = data.histories.positives(None)
    assert kendalltau(student.score(data.histories)[0], (told @ data.vectors @ data.vectors.T)[0]).statistic > 0.999
    assert (Student.fit(nothing, StudentConfig(near=0.0)).score(data.histories) == 0).all()


def planted_lists(among=None):
    """A teacher that knows how good each item is, whoever asks, and ranks everything that a person has not had."""
    people = topic_world().histories
    worth = np.random.default_rng(8).permutation(len(ITEMS)).astype(np.float32)
    rows = [np.setdiff1d(np.arange(len(ITEMS)), people.values[[row]].indices) for row in range(len(people))]
    if among is not None:
        rows = [row[among[row]] for row in rows]
    columns = np.full((len(rows), max(map(len, rows))), -1, dtype=np.int64)
    for place, row in enumerate(rows):
        columns[place, : len(row)] = row
    return TeacherLists(people, columns, worth[columns], among), worth


def test_a_teachers_order_is_recovered(twin):
    lists, worth = planted_lists()
    student = distil(twin, lists, THOROUGH)
    scores = student.score(lists.histories)
    agreement = [
        kendalltau(scores[row, columns[columns >= 0]], worth[columns[columns >= 0]]).statistic
        for row, columns in enumerate(lists.columns)
    ]
    before = [
        kendalltau(twin.score(lists.histories)[row, columns[columns >= 0]], worth[columns[columns >= 0]]).statistic
        for row, columns in enumerate(lists.columns)
    ]
    assert min(agreement) >= 0.95
    assert max(before) < 0.95


def test_it_recovers_it_for_people_whose_lists_it_has_not_seen(twin):
    lists, worth = planted_lists()
    half = np.arange(0, len(ITEMS), 2)
    seen = TeacherLists(lists.histories.take(half), lists.columns[half], lists.scores[half])
    student = distil(twin, seen, THOROUGH)
    others = lists.histories.take(half + 1)
    scores = student.score(others)
    columns = [row[row >= 0] for row in lists.columns[half + 1]]
    after, before = (
        np.mean([kendalltau(s[c], worth[c]).statistic for s, c in zip(given, columns, strict=True)])
        for given in (scores, twin.score(others))
    )
    assert after > before + 0.3


def test_what_the_teacher_does_not_list_goes_below_what_it_lists(twin):
    lists, _ = planted_lists()
    short = TeacherLists(lists.histories, lists.columns[:, :3], lists.scores[:, :3])
    student = distil(twin, short, THOROUGH)
    found = student.top(lists.histories, 3)
    assert all(
        set(row) == set(wanted) for row, wanted in zip(found.columns.tolist(), short.columns.tolist(), strict=True)
    )


def test_only_what_may_be_listed_is_learnt(twin):
    among = np.zeros(len(ITEMS), dtype=np.bool_)
    among[:PLACES] = True
    lists, _ = planted_lists(among)
    some = [row for row in range(len(lists.columns)) if (lists.columns[row] >= 0).any()]
    lists = TeacherLists(lists.histories.take(np.array(some)), lists.columns[some], lists.scores[some], among)
    student = distil(twin, lists, Distillation(epochs=5, decay=0.0))
    scale = np.abs(student.vectors[-1]).max() / np.abs(twin.vectors[-1]).max()
    np.testing.assert_allclose(student.vectors[PLACES:], twin.vectors[PLACES:] * scale, atol=1e-4)
    assert (student.bias[PLACES:] == 0).all()
    assert (student.bias[:PLACES] != 0).all()


def test_a_further_lesson_begins_where_the_one_before_ended(twin):
    lists, _ = planted_lists()
    first, second = [], []
    student = distil(twin, lists, THOROUGH, first.append)
    still = distil(student, lists, Distillation(epochs=1, rate=1e-12), second.append)
    assert (student.bias != 0).any()
    spread = still.vectors[0] @ still.vectors[0] / (student.vectors[0] @ student.vectors[0])
    np.testing.assert_allclose(still.bias, student.bias * np.sqrt(spread), rtol=1e-3)
    order, again = (np.argsort(-one.score(lists.histories), axis=1) for one in (student, still))
    np.testing.assert_array_equal(again[:, :3], order[:, :3])
    assert second[0]["teacher"] < first[0]["teacher"]


def test_an_empty_list_teaches_nothing(twin):
    lists, _ = planted_lists()
    columns = lists.columns.copy()
    columns[0] = -1
    with_empty = distil(twin, TeacherLists(lists.histories, columns, lists.scores), Distillation(epochs=3))
    rest = TeacherLists(lists.histories.take(slice(1, None)), columns[1:], lists.scores[1:])
    np.testing.assert_array_equal(with_empty.vectors, distil(twin, rest, Distillation(epochs=3)).vectors)


def test_the_same_seed_gives_the_same_student(twin):
    lists, _ = planted_lists()
    first, again, other = (
        distil(twin, lists, Distillation(epochs=3, people=5, forgotten=0.3, seed=seed)).vectors for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_what_is_learnt_stays_within_its_bound(twin):
    lists, _ = planted_lists()
    start = distil(twin, lists, Distillation(epochs=1, rate=1e-12)).vectors  # the twin's, as sharp as the teacher
    moved = distil(twin, lists, Distillation(epochs=30, bound=0.1)).vectors - start
    assert np.linalg.norm(moved, axis=1).max() == pytest.approx(0.1, rel=1e-2)


def test_every_loss_is_told_and_falls(twin):
    lists, _ = planted_lists()
    told = []
    distil(twin, lists, Distillation(epochs=20, liked=0.5, adversarial=0.5), told.append)
    assert [set(one) for one in told] == [{"teacher", "liked", "adversarial"}] * 20
    assert all(told[0][name] > told[-1][name] for name in ("teacher", "adversarial"))
    assert all(one["adversarial"] > one["teacher"] for one in told)
    plain = []
    distil(twin, lists, Distillation(epochs=2), plain.append)
    assert [set(one) for one in plain] == [{"teacher"}] * 2


def test_a_wish_for_what_is_liked_is_learnt_too(twin):
    lists, _ = planted_lists()
    told = []
    distil(twin, lists, Distillation(epochs=60, liked=5.0), told.append)
    assert told[-1]["liked"] < told[0]["liked"]


def test_without_a_list_there_is_nothing_to_learn(twin):
    nobody = topic_world().histories.take(slice(0, 0))
    with pytest.raises(InputError, match="no list to learn from"):
        distil(twin, TeacherLists(nobody, np.zeros((0, 0), np.int64), np.zeros((0, 0), np.float32)), Distillation())
