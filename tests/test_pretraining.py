"""Pre-training: sequences in their order, and that tables learn from them what comes next."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from finetune.pretraining import Pretraining, _Pretraining, pretrain
from retrieval.cf.student import Student, StudentConfig
from retrieval.data.histories import Histories
from retrieval.data.sequences import Sequences
from retrieval.data.splits import make_split
from retrieval.errors import InputError

RING, COLD, LENGTH = 30, 3, 7
IDS = [f"i{item:02}" for item in range(RING + COLD)]
ALL = Pretraining(epochs=40, people=32, rate=0.05)
ALONE = {
    name: replace(ALL, **{"masked": 0.0, "next": 0.0, "contrast": 0.0, name: 1.0})
    for name in ("masked", "next", "contrast")
}


def rows_of(starts):
    """Each user goes around the ring, one item after the other; the last items are had by nobody."""
    return pl.DataFrame(
        [
            (f"u{user:03}", IDS[(start + step) % RING], 5.0, 100 * step)
            for user, start in enumerate(starts)
            for step in range(LENGTH)
        ],
        ["user_id", "item_id", "value", "timestamp"],
        orient="row",
    )


@pytest.fixture(scope="module")
def sequences():
    return Sequences.from_events(rows_of(np.random.default_rng(0).integers(0, RING, 120)), IDS)


@pytest.fixture(scope="module")
def untrained():
    parts, vectors = np.random.default_rng(1).normal(scale=0.1, size=(2, len(IDS), 16)).astype(np.float32)
    return Student.of_tables(StudentConfig(), parts, vectors)


def hits(student):
    """How often the next item of the ring is the first one listed for somebody who has had three."""
    events = rows_of(range(RING)).filter(pl.col("timestamp") < 300)
    found = student.top(Histories.from_events(events, IDS), 1).columns[:, 0]
    return np.mean(found == (np.arange(RING) + 3) % RING)


def near(student):
    """How often it is one of the two neighbours of what somebody has had."""
    events = rows_of(range(RING)).filter(pl.col("timestamp") < 300)
    found = student.top(Histories.from_events(events, IDS), 1).columns[:, 0]
    return np.mean(np.isin((found - np.arange(RING)) % RING, [3, RING - 1]))


def test_sequences_are_in_the_order_of_time():
    columns = ["user_id", "item_id", "value", "timestamp"]
    rows = [("b", "x", 1.0, 5), ("a", "z", 2.0, 1), ("a", "x", 3.0, 9), ("a", "y", 4.0, 4), ("a", "z", 5.0, 7)]
    found = Sequences.from_events(pl.DataFrame(rows, columns, orient="row"), ["x", "y", "z"])
    told = [found.histories.values.indices[found.of(row)].tolist() for row in range(2)]
    assert told == [[1, 2, 0], [0]]  # of z the latest event
    assert found.histories.values.data[found.of(0)].tolist() == [4.0, 5.0, 3.0]
    assert found.timed


def test_what_comes_next_is_learnt(sequences, untrained):
    assert hits(untrained) < 0.2
    assert hits(pretrain(untrained, sequences, ALL)) > 0.8
    assert hits(pretrain(untrained, sequences, ALONE["next"])) > 0.9


@pytest.mark.parametrize("loss", ["masked", "contrast"])
def test_what_is_had_together_is_learnt(sequences, untrained, loss):
    assert near(pretrain(untrained, sequences, ALONE[loss])) > near(untrained) + 0.5


def test_every_loss_is_told_and_falls(sequences, untrained):
    told = []
    pretrain(untrained, sequences, ALL, told.append)
    assert [set(one) for one in told] == [{"masked", "next", "contrast"}] * ALL.epochs
    assert all(told[-1][name] < 0.8 * told[0][name] for name in told[0])
    only = []
    pretrain(untrained, sequences, replace(ALONE["masked"], epochs=2), only.append)
    assert [set(one) for one in only] == [{"masked"}] * 2


def test_the_same_seed_gives_the_same_tables(sequences, untrained):
    first, again, other = (pretrain(untrained, sequences, replace(ALL, epochs=2, seed=seed)) for seed in (0, 0, 1))
    for name, table in first.arrays().items():
        np.testing.assert_array_equal(table, again.arrays()[name])
    assert not np.array_equal(first.vectors, other.vectors)


def test_items_that_nobody_has_had_keep_their_direction(sequences, untrained):
    found = pretrain(untrained, sequences, replace(ALL, epochs=3))
    np.testing.assert_array_equal(found.parts[RING:], untrained.parts[RING:])
    scale = found.vectors[RING:] / untrained.vectors[RING:]
    np.testing.assert_allclose(scale, scale[0, 0], rtol=1e-4)
    assert found.bias[RING:] == pytest.approx(found.bias[:RING].mean(), abs=1e-5)
    assert not np.allclose(found.parts[:RING], untrained.parts[:RING])


def test_each_row_stays_within_its_bound(sequences, untrained):
    start = pretrain(untrained, sequences, replace(ALL, epochs=1, rate=1e-12))
    found = pretrain(untrained, sequences, replace(ALL, epochs=5, bound=0.05, rate=0.02))
    scale = found.vectors[-1, 0] / untrained.vectors[-1, 0]
    moved = found.vectors[:RING] - scale * untrained.vectors[:RING]
    assert np.linalg.norm(moved, axis=1).max() == pytest.approx(0.05, rel=0.02)
    np.testing.assert_allclose(start.parts, untrained.parts, atol=1e-6)


def test_events_that_do_not_speak_for_an_item_count_less(untrained):
    events = rows_of(np.random.default_rng(0).integers(0, RING, 60))
    disliked = pl.col("timestamp") == 600
    events = events.with_columns(value=pl.when(disliked).then(1.0).otherwise(5.0))
    sequences = Sequences.from_events(events, IDS)
    none = Student.of_tables(StudentConfig(positive_from=4.0, weak=0.0), untrained.parts, untrained.vectors)
    counted = _Pretraining(none, sequences, np.arange(sequences.histories.values.shape[0]), ALONE["next"])._weights
    liked = sequences.histories.values.data >= 4.0
    assert 0 < liked.sum() < len(liked)
    assert (set(counted[liked]), set(counted[~liked])) == ({1.0}, {0.0})


def test_events_without_times_say_nothing_of_what_comes_next(untrained):
    events = rows_of(range(20)).with_columns(timestamp=pl.lit(None, dtype=pl.Int64))
    sequences = Sequences.from_events(events, IDS)
    assert not sequences.timed
    with pytest.raises(InputError, match="events without times"):
        pretrain(untrained, sequences, ALL)
    assert near(pretrain(untrained, sequences, ALONE["masked"])) > near(untrained)


def test_without_sequences_there_is_nothing_to_learn(sequences, untrained):
    one = Sequences.from_events(rows_of(range(5)).filter(pl.col("timestamp") == 0), IDS)
    with pytest.raises(InputError, match="histories of two items or more"):
        pretrain(untrained, one, ALL)
    with pytest.raises(InputError, match="no loss to learn from"):
        pretrain(untrained, sequences, replace(ALL, masked=0.0, next=0.0, contrast=0.0))


@pytest.mark.parametrize("stage", ["validation", "test"])
def test_sequences_are_of_what_may_be_learnt_from_alone(stage):
    split = make_split("temporal", rows_of(range(20)).with_columns(pl.col("timestamp") + 10), 0, "seconds")
    assert split.sizes()[stage] > 0
    sequences, task = Sequences.from_events(split.before(stage), IDS), split.task(stage, IDS)
    assert sequences.histories.users == task.train.users
    np.testing.assert_array_equal(sequences.histories.values.toarray(), task.train.values.toarray())
