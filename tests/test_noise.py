"""Noise of the benchmark: as much as is asked for, the same with the same seed, and what is asked after stays true."""

import numpy as np
import polars as pl
import pytest
from evaluation_world import WordEncoder, WordModels, make_world, study_of
from scipy.sparse import csr_array

from agent.evaluation.report import Row
from benchmarks import noise, noise_makers
from retrieval.cf.ease import Ease, EaseConfig
from retrieval.cf.scorer import TrainingData
from retrieval.data.histories import Histories

LIKED = 4.0


class Remembering(WordModels):
    def remembering_encoder(self, root):  # noqa: ARG002
        return WordEncoder()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    found = study_of(make_world(tmp_path_factory.mktemp("noise") / "world"))
    found.models = Remembering(found.settings)
    return found


PICKS = {
    "random": lambda study: noise_makers.by_chance(study.split, popular=False),
    "popular": lambda study: noise_makers.by_chance(study.split, popular=True),
    "opposed": noise.opposed,
    "unlike": noise.unlike,
}
MAKERS = {name: kind.make for name, kind in noise.KINDS.items()}
NOTHING_DRAWN = {name for name, kind in noise.KINDS.items() if kind.seeds == 1}


def added(study, name, level=0.3, seed=0):
    """The false likes."""
    found = noise_makers.with_false_likes(study.split, level, seed, LIKED, PICKS[name](study)).events
    return found.join(study.split.events, on=["user_id", "item_id"], how="anti")


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_asked_after_stays_and_the_seed_decides(name, study):
    one, again, other = (MAKERS[name](study, 0.3, seed) for seed in (0, 0, 1))
    held_out = pl.col("part").is_in(["test-history", "test"])
    for made in (one, other):
        assert made.split.events.filter(held_out).equals(study.split.events.filter(held_out))
        assert made.task("test").histories.users == study.task("test").histories.users
        assert (made.task("test").held_out != study.task("test").held_out).nnz == 0
    assert one.split.fingerprint == again.split.fingerprint
    np.testing.assert_array_equal(one.vectors, again.vectors)
    same = one.split.fingerprint == other.split.fingerprint and np.array_equal(one.vectors, other.vectors)
    assert not same
    keys = ["user_id", "item_id"]
    if name in NOTHING_DRAWN:  # but times, which none of the scorers reads
        assert one.split.events.select(keys).equals(other.split.events.select(keys))


@pytest.mark.parametrize("name", PICKS)
def test_false_likes_are_as_many_as_asked_for_and_false(name, study):
    train = study.split.events.filter(pl.col("part") == "train")
    found = added(study, name)
    counts, wanted = (dict(one.group_by("user_id").len().iter_rows()) for one in (found, train))
    assert all(count <= round(0.3 * wanted[user]) for user, count in counts.items())
    if name in {"opposed", "unlike"}:
        assert counts == {user: round(0.3 * count) for user, count in wanted.items()}
    assert set(found["part"]) == {"train"}
    assert set(found["value"]) == {LIKED}
    assert found.join(train, on=["user_id", "timestamp"], how="anti").is_empty()


@pytest.mark.parametrize("name", ["opposed", "unlike"])
def test_adversarial_likes_are_of_other_topics(name, study):
    def own(events):
        owner = events["user_id"].str.slice(-2).cast(int) % 4
        topics = pl.Series(["space", "cooking", "western", "jungle"]).gather(owner)
        return (events["item_id"].str.split("-").list.first() == topics).mean()

    assert own(added(study, name)) < 0.05 < own(added(study, "random"))


def test_opposed_items_take_most_from_what_is_liked(study):
    train = study.split.events.filter(pl.col("part") == "train")
    items = sorted(train["item_id"].unique())
    histories = Histories.from_events(train, items)
    ease = Ease.fit(TrainingData(histories), EaseConfig(positive_from=LIKED))
    single = Histories(tuple(items), tuple(items), csr_array(5 * np.eye(len(items), dtype=np.float32)))
    added = ease.score(single)  # (m, m) what each item alone adds to the scores of all
    pick = noise.opposed(study)
    for row in range(0, len(histories), 9):
        figures = added @ histories.positives(LIKED)[[row]].toarray()[0]
        listed = [items.index(item) for item in pick(histories.users[row], 1, np.random.default_rng(0))]
        assert (np.diff(figures[listed]) > -1e-6).all()
        assert len(set(listed)) == len(listed)


def test_times_are_permuted_within_each_user(study):
    found = noise_makers.with_shuffled_times(study.split, 1.0, 0)
    same = ["user_id", "item_id", "value", "part"]
    assert found.events.select(same).sort(same).equals(study.split.events.select(same).sort(same))
    both = [
        one.events.group_by("user_id").agg(pl.col("timestamp").sort()).sort("user_id") for one in (found, study.split)
    ]
    assert both[0].equals(both[1])
    moved = found.events.join(study.split.events, on=[*same, "timestamp"], how="anti")
    assert len(moved) > 0.7 * len(study.split.before("test"))
    shuffled = noise.shuffled(study, 1.0, 0)
    before, after = study.training_data("test").histories, shuffled.training_data("test").histories
    assert (before.values != after.values).nnz == 0  # what reads no time sees no difference
    assert not np.array_equal(study.sequences("test").order, shuffled.sequences("test").order)


def test_popular_items_lose_most(study):
    learnt = study.split.before("test")
    popular = noise_makers.most_popular(learnt, 10)
    assert learnt.group_by("item_id").len().filter(pl.col("item_id").is_in(popular.implode()))["len"].min() >= (
        learnt.group_by("item_id").len().filter(~pl.col("item_id").is_in(popular.implode()))["len"].max()
    )
    left = {
        kind: [noise_makers.thinned(study.split, 0.3, seed, popular=kind).before("test") for seed in range(20)]
        for kind in (True, False)
    }
    assert {len(one) for each in left.values() for one in each} == {len(learnt) - round(0.3 * len(learnt))}
    shares = {kind: np.mean([noise_makers.share_of(one, popular) for one in each]) for kind, each in left.items()}
    before = noise_makers.share_of(learnt, popular)
    assert shares[True] < before - 0.03
    assert shares[False] == pytest.approx(before, abs=0.02)


def test_typos_change_as_many_characters_as_asked_for():
    text = "A" * 10_000
    found = noise_makers.Typos(0.3)(text, np.random.default_rng(0))
    assert found.count("A") == pytest.approx(7_000, abs=150)
    assert len(found) == pytest.approx(8_500, abs=150)
    assert set(found) <= set("Aabcdefghijklmnopqrstuvwxyz")
    assert noise_makers.Typos(0.0)("Alien", np.random.default_rng(0)) == "Alien"
    assert all(noise_makers.Typos(1.0)("M", np.random.default_rng(seed)) for seed in range(20))  # something is left


def test_titles_alone_are_mistyped_and_their_texts_encoded_anew(study):
    catalog = study.workspace.catalog
    changed = noise_makers.with_typos(catalog, 0.3, 0).frame
    assert changed.drop("title").equals(catalog.frame.drop("title"))
    assert (changed["title"] != catalog.frame["title"]).mean() > 0.9
    np.testing.assert_allclose(noise.mistyped(study, 0.0, 0).vectors, study.vectors, atol=1e-6)
    assert np.abs(noise.mistyped(study, 0.3, 0).vectors - study.vectors).max() > 0.1


def row(system, stratum, mean, metric="ndcg"):
    return Row("d", "temporal", system, stratum, metric, 10, mean, 0.0, 1.0, 9, 0)


def test_rows_of_before_stay_as_long_as_the_system_is_the_same():
    earlier = [row("ease", "clean", 0.2), row("ease", "random 5%", 0.1), row("ials", "clean", 0.3)]
    same = [row("ease", "clean", 0.2), row("ease", "popular 5%", 0.15)]
    assert noise.together(earlier, same) == [*earlier, same[1]]
    again = [row("ease", "clean", 0.2), row("ease", "random 5%", 0.12)]
    assert noise.together(earlier, again) == [earlier[0], again[1], earlier[2]]
    another = [row("ease", "clean", 0.25)]
    assert noise.together(earlier, another) == [earlier[2], another[0]]


def test_losses_are_shares_of_what_there_was():
    before = np.linspace(0.1, 1.0, 20)
    after = before / 2
    found = noise.loss_of("temporal", "ease", "random 5%", before, after)
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert noise.loss_of("temporal", "ease", "random 5%", before, before).mean == 0.0
