"""What a ranker learns from: nothing leaks, lists look like those that are served, and they can be drawn again."""

import numpy as np
import pytest
from scorer_worlds import topic_world

from finetune.examples import FOLDS, ListSampler, Pool, cold_pools, warm_pools
from retrieval.cf.popularity import Popularity, PopularityConfig
from retrieval.cf.scorer import TrainingData
from retrieval.data.histories import Histories
from retrieval.errors import InputError
from retrieval.text.profile import telling

DATA = topic_world()
TRAIN = DATA.histories
SHOWN = 8


class Watched:
    """Fits popularity, and remembers what it was given and asked."""

    def __init__(self):
        self.given, self.asked = [], []

    def __call__(self, histories):
        self.given.append(histories)
        scorer = Popularity.fit(TrainingData(histories), PopularityConfig())
        top = scorer.top

        def remembered(asked, k, **options):
            self.asked.append(asked)
            return top(asked, k, **options)

        scorer.top = remembered
        return scorer


def entries(histories):
    rows = np.repeat(np.arange(len(histories)), histories.counts)
    return {(histories.users[row], int(column)) for row, column in zip(rows, histories.values.indices, strict=True)}


def test_cold_worlds_hide_every_event_of_their_items():
    watch = Watched()
    pools = cold_pools(TRAIN, 4.0, watch, SHOWN, seed=0)
    assert len(watch.given) == FOLDS
    hidden = [set(entries(TRAIN)) - set(entries(given)) for given in watch.given]
    items = [{column for _, column in one} for one in hidden]
    for one, given, asked in zip(items, watch.given, watch.asked, strict=True):
        assert one
        assert one.isdisjoint(given.values.indices)
        assert one.isdisjoint(asked.values.indices)
    assert sum(map(len, items)) == len(set().union(*items))  # no item is cold twice
    for pool in pools:
        cold = next(one for one in items if set(pool.positives.tolist()) <= one)
        assert set(pool.candidates.tolist()) <= cold
        assert cold.isdisjoint(pool.liked.tolist())


def test_positives_are_what_the_user_liked_and_nothing_else():
    for pool in cold_pools(TRAIN, 4.0, Watched(), SHOWN, seed=0):
        row = slice(*TRAIN.values.indptr[pool.user : pool.user + 2])
        liked = TRAIN.values.indices[row][TRAIN.values.data[row] >= 4]
        assert set(pool.positives.tolist()) <= set(liked.tolist())


def test_warm_worlds_learn_nothing_from_those_they_ask():
    watch = Watched()
    pools = warm_pools(TRAIN, 4.0, watch, SHOWN, seed=0)
    assert pools
    asked_of = {pool.user for pool in pools}
    for given, asked in zip(watch.given, watch.asked, strict=True):
        assert set(given.users).isdisjoint(asked.users)
    for pool in pools:
        assert set(pool.positives.tolist()).isdisjoint(pool.liked.tolist())
    assert len(asked_of) > len(TRAIN) // 2


def sampler(seed=0, size=6):
    pools = cold_pools(TRAIN, 4.0, Watched(), SHOWN, seed=0)
    return ListSampler(pools, DATA.vectors, size, seed), pools


def test_a_list_depends_on_its_number_and_the_seed_alone():
    one, _ = sampler()
    two, _ = sampler()
    drawn = [one.draw(number) for number in range(20)]
    assert [two.draw(number) for number in range(19, -1, -1)] == drawn[::-1]
    assert len(set(drawn)) > 10
    other, _ = sampler(seed=1)
    assert [other.draw(number) for number in range(20)] != drawn


def test_lists_are_of_what_the_retriever_found():
    drawn, pools = sampler()
    for number in range(50):
        one = drawn.draw(number)
        assert 2 <= len(set(one.candidates)) == len(one.candidates) == len(one.prior) <= 6
        assert set(one.candidates).isdisjoint(one.history)
        assert 1 <= len(one.history) <= 12
        shown = [pool for pool in pools if set(one.candidates) <= set(pool.candidates.tolist())]
        assert any(
            one.candidates[0] in pool.positives and set(one.candidates[1:]).isdisjoint(pool.positives.tolist())
            for pool in shown
        )


def worlds_of(rng, sharpness, users=300):
    """Pools in which a candidate is the liked one with the probability ``softmax(sharpness · z)``."""
    for user in range(users):
        scores = np.sort(rng.normal(size=SHOWN))[::-1]
        z = (scores - scores.mean()) / scores.std()
        chances = np.exp(sharpness * z) / np.exp(sharpness * z).sum()
        liked = rng.choice(SHOWN, 1, p=chances)
        yield Pool(user, np.array([SHOWN]), np.arange(SHOWN), scores.astype(np.float32), liked)


@pytest.mark.parametrize("sharpness", [0.0, 0.7, 1.5])
def test_the_prior_is_as_sharp_as_the_retriever_is_good(sharpness):
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(SHOWN + 1, 4)).astype(np.float32)
    drawn = ListSampler(list(worlds_of(rng, sharpness, 2_000)), vectors, SHOWN, 0)
    assert drawn.sharpness == pytest.approx(sharpness, abs=0.2)


def test_too_few_items_or_likes_are_refused():
    few = Histories(TRAIN.users, TRAIN.items, TRAIN.values[:, :].multiply(0).tocsr()).take(slice(0, 1))
    with pytest.raises(InputError, match="5 events or more"):
        cold_pools(few, 4.0, Watched(), SHOWN, seed=0)
    with pytest.raises(InputError, match="candidates found here have none"):
        ListSampler([], np.zeros((3, 2)), 5, 0)


def test_what_says_most_about_the_candidates_comes_last():
    liked = np.eye(4, dtype=np.float32)
    candidates = np.array([[0, 0, 1, 0], [0, 0, 0.9, 0.1], [1, 0, 0, 0]], dtype=np.float32)
    assert telling(liked, candidates, 2).tolist() == [0, 2]
    assert telling(liked, candidates, 9).tolist()[-2:] == [0, 2]
    assert telling(liked[:0], candidates, 3).tolist() == []
    assert len(telling(liked, candidates[:0], 3)) == 3
