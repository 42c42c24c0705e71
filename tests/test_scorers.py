"""Each scorer keeps the contract and computes what its formula says."""

from dataclasses import replace

import numpy as np
import pytest
from contracts import check_refuses_other_items, check_scorer
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
from scorer_worlds import ITEMS, SMALL, fitted, random_histories, some_histories, topic_world
from threadpoolctl import threadpool_limits

from retrieval.cf.bias_knn import BiasKnn, BiasKnnConfig
from retrieval.cf.ease import Ease, EaseConfig
from retrieval.cf.ials import Ials, IalsConfig
from retrieval.cf.item_knn import ItemKnn, ItemKnnConfig
from retrieval.cf.mf import MatrixFactorisation, MatrixFactorisationConfig
from retrieval.cf.popularity import Popularity, PopularityConfig
from retrieval.cf.scorer import TrainingData
from retrieval.cf.scorers import SCORERS
from retrieval.data.events import History
from retrieval.data.histories import Histories, sparse
from retrieval.errors import InputError, ScoreError

every_scorer = pytest.mark.parametrize("name", SCORERS)


def single_items(items):
    """One user for each item, who has that item alone."""
    return Histories.of([History((item_id,), (5.0,)) for item_id in items], items)


def dense(histories):
    return (histories.values.toarray() != 0).astype(np.float64)


@every_scorer
def test_the_contract(name, tmp_path):
    check_scorer(fitted(name), some_histories(), tmp_path)


class BatchScorer(Popularity):
    """Lets the other users of a batch change the scores."""

    def _score(self, histories):
        return super()._score(histories) + np.float32(len(histories))


class SeenScorer(Popularity):
    """Recommends what the user has had."""

    def recommend(self, histories, k, *, exclude=None, candidates=None):
        nothing = csr_matrix(histories.values.shape) if exclude is None else exclude
        return super().recommend(histories, k, exclude=nothing, candidates=candidates)


@pytest.mark.parametrize("kind", [BatchScorer, SeenScorer])
def test_the_check_of_scorers_notices_bad_ones(kind, tmp_path):
    with pytest.raises(AssertionError):
        check_scorer(kind(PopularityConfig(), np.arange(24, dtype=np.float32)), some_histories(), tmp_path)


@every_scorer
def test_histories_of_other_items_are_refused(name):
    check_refuses_other_items(fitted(name), ITEMS)


@every_scorer
def test_users_in_chunks_get_the_same_lists(name, monkeypatch):
    whole = fitted(name).top(some_histories(), 4)
    monkeypatch.setattr("retrieval.cf.scorer.AT_ONCE", 2 * len(ITEMS))
    parts = fitted(name).top(some_histories(), 4)
    np.testing.assert_allclose(parts.scores, whole.scores, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["item-knn", "mf", "ease", "ials", "cosine", "soft-knn"])
def test_the_withheld_item_of_the_topic_comes_first(name):
    scorer = SCORERS[name].fit(topic_world(), replace(fitted(name).config, positive_from=4.0))
    found = scorer.recommend(topic_world().histories, 3)
    assert found.ids[:, 0].tolist() == list(ITEMS)


@every_scorer
def test_the_same_data_and_seed_give_the_same_scores(name):
    kind = SCORERS[name]
    again = kind.fit(topic_world(), SMALL.get(name, kind.config_type()))
    np.testing.assert_array_equal(again.score(some_histories()), fitted(name).score(some_histories()))


def test_a_score_that_is_not_a_number_is_named():
    scorer = Popularity(PopularityConfig(), np.array([1, np.nan, 2], dtype=np.float32))
    histories = Histories.of([History(("a",), (1.0,))], "abc")
    for ask in (scorer.score, lambda asked: scorer.recommend(asked, 2)):
        with pytest.raises(ScoreError, match="popularity gave a score that is not a number"):
            ask(histories)


def test_popularity_counts_users():
    people = [History(("a", "b"), (1.0, 5.0)), History(("b",), (2.0,)), History(("b", "d"), (0.0, -1.0))]
    scorer = Popularity.fit(TrainingData(Histories.of(people, "abcd")), PopularityConfig())
    nobody = Histories.of([History((), ())] * 2, "abcd")
    assert scorer.score(nobody).tolist() == [[1, 3, 0, 1]] * 2


@pytest.mark.parametrize(
    ("values", "positive"),
    [
        ((5.0, 4.0, 1.0), (1, 1, 0)),  # what reaches 4
        ((3.0, 2.0, 1.0), (1, 0, 0)),  # nothing does: above the own mean
        ((2.0, 2.0, 2.0), (1, 1, 1)),  # nothing does and all are the same
    ],
)
def test_positive_from_falls_back_by_what_the_user_preferred(values, positive):
    data = TrainingData(Histories.of([History(tuple("abc"), values), History((), ())], "abc"))
    assert Popularity.fit(data, PopularityConfig(4.0)).arrays()["counts"].tolist() == list(positive)


@every_scorer
def test_positive_from_decides_what_a_history_says(name):
    """Histories that differ only in events that do not count get the same scores, but for who predicts values."""
    config = replace(fitted(name).config, positive_from=4.0)
    strict = replace(config, weak=0.0) if hasattr(config, "weak") else config
    scorer = SCORERS[name].fit(topic_world(), strict)
    short, long = History(("a-0", "a-1"), (5.0, 4.0)), History(("a-0", "a-1", "c-3"), (5.0, 4.0, 3.0))
    scores = scorer.score(Histories.of([short, long], ITEMS))
    assert np.allclose(scores[0], scores[1], atol=1e-6) != scorer.predicts_values


@pytest.mark.parametrize(("users", "items", "strength"), [(40, 12, 0.5), (200, 150, 20.0), (900, 3000, 300.0)])
def test_ease_equals_the_formula_in_double_precision(users, items, strength):
    histories = random_histories(users, items, seed=items)
    people = [[column for column in row if column % 5 != 4] for row in np.split(histories.values.indices, users)]
    rows = np.repeat(np.arange(users), [len(row) for row in people])
    values = sparse(rows, np.concatenate(people).astype(int), np.ones(len(rows)), shape=(users, items))
    histories = Histories(histories.users, histories.items, values)  # nobody had every fifth item

    x = dense(histories)
    inverse = np.linalg.inv(x.T @ x + strength * np.eye(items))
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    scorer = Ease.fit(TrainingData(histories), EaseConfig(strength=strength))
    np.testing.assert_allclose(scorer.score(histories), x @ weights, atol=1e-5)
    assert not scorer.score(histories)[:, 4::5].any()


def test_ease_without_any_event_scores_0(capfd):
    nothing = Histories.of([History((), ())] * 2, "abc")
    scorer = Ease.fit(TrainingData(nothing), EaseConfig())
    assert scorer.score(single_items("abc")).tolist() == [[0] * 3] * 3
    assert capfd.readouterr() == ("", "")


def cosines_of_sets(x, shrink):
    """Item-knn's similarity, pair by pair."""
    found = np.zeros((x.shape[1],) * 2)
    for i in range(len(found)):
        for j in range(len(found)):
            common = (x[:, i] * x[:, j]).sum()
            if i != j and common:
                found[i, j] = common / np.sqrt(x[:, i].sum() * x[:, j].sum()) * common / (common + shrink)
    return found


@pytest.mark.parametrize("shrink", [0, 3])
@pytest.mark.parametrize("at_once", [1, 2**24])
def test_item_knn_similarity_is_the_shrunk_cosine(shrink, at_once, monkeypatch):
    monkeypatch.setattr("retrieval.cf.neighbours.AT_ONCE", at_once)
    histories = random_histories(60, 20, seed=1)
    scorer = ItemKnn.fit(TrainingData(histories), ItemKnnConfig(shrink=shrink))
    expected = cosines_of_sets(dense(histories), shrink)
    np.testing.assert_allclose(scorer.score(single_items(histories.items)), expected, atol=1e-6)
    np.testing.assert_allclose(scorer.score(histories), dense(histories) @ expected, atol=1e-5)


def test_item_knn_keeps_the_nearest_neighbours_of_the_item_that_is_scored():
    histories = random_histories(60, 20, seed=2)
    full = cosines_of_sets(dense(histories), 3)
    scorer = ItemKnn.fit(TrainingData(histories), ItemKnnConfig(neighbours=4, shrink=3))
    found = scorer.score(single_items(histories.items))  # (neighbour, item)
    for item in range(20):
        kept = found[:, item] > 0
        assert kept.sum() == 4
        np.testing.assert_allclose(found[kept, item], full[kept, item], atol=1e-6)
        assert found[kept, item].min() >= full[~kept, item].max() - 1e-6


def test_of_equally_near_neighbours_the_first_are_kept():
    together = Histories.of([History(tuple("abcd"), (1.0,) * 4)] * 3, "abcd")
    scorer = ItemKnn.fit(TrainingData(together), ItemKnnConfig(neighbours=2, shrink=0))
    found = scorer.score(single_items("abcd"))
    assert (found > 0).T.tolist() == [[0, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 0], [1, 1, 0, 0]]


def ratings(seed=0, users=80, items=24):
    """Users and items have biases, and each user prefers odd or even items: (users, items), and which are known."""
    rng = np.random.default_rng(seed)
    taste = np.where((np.arange(users)[:, None] + np.arange(items)) % 2, 1.0, -1.0)
    values = 3 + rng.normal(size=(users, 1)) * 0.5 + rng.normal(size=items) * 0.5 + taste
    return values + rng.normal(size=values.shape) * 0.1, rng.random(values.shape) < 0.5


def known_histories(values, known):
    entries = np.nonzero(known)
    users = tuple(map(str, range(len(values))))
    items = tuple(f"{item:02}" for item in range(values.shape[1]))
    return Histories(users, items, sparse(*entries, values[entries], shape=values.shape))


def bias_knn_by_loops(values, known, config):
    """The formula of `BiasKnn`, one prediction at a time."""
    users, items = range(values.shape[0]), range(values.shape[1])
    mean = values[known].mean()
    damped = [
        sum(values[u, i] - mean for u in users if known[u, i]) / (known[:, i].sum() + config.damping) for i in items
    ]
    item_bias = np.array(damped)
    left = np.where(known, values - mean - item_bias, 0)
    user_bias = left.sum(axis=1) / (known.sum(axis=1) + config.damping)
    left = np.where(known, left - user_bias[:, None], 0)
    similar = np.zeros((len(items),) * 2)
    for i in items:
        for j in set(items) - {i}:
            common = (known[:, i] & known[:, j]).sum()
            cosine = left[:, i] @ left[:, j] / np.linalg.norm(left[:, i]) / np.linalg.norm(left[:, j])
            similar[i, j] = max(0, cosine * common / (common + config.shrink))
        similar[i, np.argsort(-similar[i])[config.neighbours :]] = 0
    predicted = np.zeros(values.shape)
    for u in users:
        for i in items:
            near = [j for j in items if known[u, j] and similar[i, j] > 0]
            above = sum(similar[i, j] * left[u, j] for j in near) / (sum(similar[i, j] for j in near) or 1)
            predicted[u, i] = mean + user_bias[u] + item_bias[i] + above
    return predicted


@pytest.mark.parametrize(
    "config", [BiasKnnConfig(shrink=2, damping=3), BiasKnnConfig(neighbours=3, shrink=0, damping=0)]
)
def test_bias_knn_equals_its_formula(config):
    values, known = ratings(users=40, items=14)
    histories = known_histories(values, known)
    scorer = BiasKnn.fit(TrainingData(histories), config)
    np.testing.assert_allclose(scorer.score(histories), bias_knn_by_loops(values, known, config), atol=1e-4)


def test_bias_knn_predicts_unknown_ratings_much_better_than_the_mean():
    values, known = ratings()
    histories = known_histories(values, known)
    found = BiasKnn.fit(TrainingData(histories), BiasKnnConfig(shrink=5)).score(histories)
    errors = np.sqrt(np.mean((found - values)[~known] ** 2))
    assert errors < 0.5 * np.sqrt(np.mean((values[known].mean() - values)[~known] ** 2))


@pytest.mark.parametrize("values", [(4.0, 4.0), ()])
def test_bias_knn_refuses_values_that_do_not_differ(values):
    data = TrainingData(Histories.of([History(tuple("ab"[: len(values)]), values)] * 2, "ab"))
    with pytest.raises(InputError, match="these events all have the same value"):
        BiasKnn.fit(data, BiasKnnConfig())


def test_mf_projects_the_history_into_a_space_of_orthonormal_factors():
    histories = random_histories(90, 40, seed=4)
    scorer = MatrixFactorisation.fit(TrainingData(histories), MatrixFactorisationConfig(factors=7))
    factors = scorer.arrays()["factors"]
    assert factors.shape == (40, 7)
    np.testing.assert_allclose(factors.T @ factors, np.eye(7), atol=1e-5)
    np.testing.assert_allclose(scorer.score(histories), dense(histories) @ factors @ factors.T, atol=1e-5)


@pytest.mark.parametrize("popularity", [1.0, 0.4])
def test_mf_finds_the_space_of_the_scaled_matrix(popularity):
    x = dense(topic_world().histories)
    _, _, right = np.linalg.svd(x * np.sqrt(x.sum(axis=0)) ** (popularity - 1))
    config = MatrixFactorisationConfig(factors=4, popularity=popularity)
    factors = MatrixFactorisation.fit(topic_world(), config).arrays()["factors"]
    np.testing.assert_allclose(factors @ factors.T, right[:4].T @ right[:4], atol=1e-4)


def test_mf_has_no_more_factors_than_users():
    scorer = MatrixFactorisation.fit(
        TrainingData(random_histories(3, 20, seed=5)), MatrixFactorisationConfig(factors=64)
    )
    assert scorer.arrays()["factors"].shape == (20, 3)


def test_ials_gives_what_implicit_recommends():
    data, config = topic_world(), IalsConfig(factors=8, regularisation=0.3, alpha=4)
    positives = csr_matrix(data.histories.positives(None))
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(8, 0.3, 4, iterations=15, random_state=data.seed)
        model.fit(positives, show_progress=False)
        columns, scores = model.recommend(np.arange(len(ITEMS)), positives, N=5, recalculate_user=True)
    found = Ials.fit(data, config).top(data.histories, 5)
    assert found.columns[:, 0].tolist() == columns[:, 0].tolist()
    np.testing.assert_allclose(found.scores, scores, atol=1e-4)
