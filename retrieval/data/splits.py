"""Cut the events into what is learnt from, what is chosen by and what is tested on.

A split gives every event one part; nothing else is needed to say what may be seen when:

| part               | meaning                                                         |
|--------------------|-----------------------------------------------------------------|
| train              | learnt from                                                     |
| validation-history | what is known of a new user when validation begins              |
| validation         | to be predicted when parameters are chosen                      |
| test-history       | what is known of a new user when the test begins                |
| test               | to be predicted in the test; nothing else ever sees it          |

To validate, train on ``train`` and fold in ``validation-history``. To test, train on all of these with ``validation``
and fold in ``test-history``: the parameters are fixed by then.

A young workspace (`Split.young`) knows few users before the test: of all others the events before it are
``test-history``.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_array

from retrieval.data.histories import Histories, where
from retrieval.errors import SplitError

Stage = Literal["validation", "test"]
_TRAIN, _VALIDATION, _TEST = 0, 1, 2
_NOBODY = pl.lit(False)
PARTS = ("train", "validation-history", "validation", "test-history", "test")
VALIDATION_SHARE, TEST_SHARE = 0.1, 0.2  # of the events in time, or of the users
FOLD_IN = 10  # at most so many first events of a new user are known
COLD_SHARE = 0.15
FOLDS = 4  # draws of cold items to validate on
WINDOWS = 3  # periods to validate on in time
FEWEST = 3  # events of a user in leave-last: one to learn from, one to validate, one to test
COLD_FROM = 5  # events that an item needs to be held out
RANDOM_SHARE = 0.25


@dataclass(frozen=True)
class Task:
    """What to learn from and what to predict, in one stage of a split.

    train: histories of all users there are to learn from. histories: what is known of the n users to predict for.
    held_out: (n, m) values of their held-out events. candidates: (m,) True for the items to rank, None for all.
    """

    train: Histories
    histories: Histories
    held_out: csr_array
    candidates: NDArray[np.bool_] | None = None

    @property
    def items(self) -> tuple[str, ...]:
        """All item ids, sorted: the columns."""
        return self.histories.items

    @cached_property
    def popularity(self) -> NDArray[np.int64]:
        """(m,) the number of users in training who had each item."""
        return np.bincount(self.train.values.indices, minlength=len(self.items)).astype(np.int64)

    def relevant(self, from_value: float | None) -> csr_array:
        """(n, m) 1 for the held-out items to be found: those with at least ``from_value``, all for None."""
        return where(self.held_out, self.held_out.data >= (-np.inf if from_value is None else from_value))

    def sample(self, users: int, seed: int) -> "Task":
        """The same with at most so many users to predict for, drawn at random; all are still learnt from."""
        if users >= len(self.histories):
            return self
        rows = np.sort(np.random.default_rng(seed).choice(len(self.histories), users, replace=False))
        return Task(self.train, self.histories.take(rows), self.held_out[rows], self.candidates)


@dataclass(frozen=True)
class Split:
    """Events with their part. name, seed: how it was made."""

    name: str
    seed: int
    events: pl.DataFrame

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of all events and their parts, whatever their order."""
        hashes = self.events.select(pl.format("{}\t{}\t{}\t{}\t{}", *self.events.columns)).to_series().sort()
        return hashlib.sha256("\n".join(hashes).encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def sizes(self) -> dict[str, int]:
        """The number of events in each part."""
        counts = dict(self.events.group_by("part").len().iter_rows())
        return {part: counts.get(part, 0) for part in PARTS}

    def validations(self) -> list["Split"]:
        """Splits with the same test part and other validation parts, this one first.

        For cold items they hold out other items: which few hundred these are moves a figure more than any parameter
        does, and users of one draw are no remedy, as they share its items. In time they are earlier periods of the same
        length (rolling origin, Tashman 2000), from which what came later is left out: few people come back in one. Of
        other splits there is one.
        """
        if self.name == "temporal":
            earlier = [self._earlier(periods) for periods in range(1, WINDOWS)] if self.sizes()["train"] else []
            return [self, *(one for one in earlier if one.sizes()["train"] and one.sizes()["validation"])]
        if self.name != "cold-items":
            return [self]
        known = self.events.filter(~pl.col("part").is_in(["test", "test-history"]))
        drawn = known.filter(pl.col("part") == "validation")["item_id"].unique()
        others = known.group_by("item_id").len().filter(pl.col("len") >= COLD_FROM)["item_id"].sort()
        others = others.filter(~others.is_in(drawn.implode()))
        others = others.gather(np.random.default_rng(self.seed).permutation(len(others)))
        groups = [others[start : start + len(drawn)] for start in range(0, len(others), max(1, len(drawn)))]
        whole = [group for group in groups if len(group) == len(drawn)][: FOLDS - 1]
        return [self, *(Split(self.name, self.seed, self._validating_on(group)) for group in whole)]

    def _earlier(self, periods: int) -> "Split":
        """Validation so many periods earlier."""
        known = self.events.filter(part="train")
        moments, share = known["timestamp"].sort(), VALIDATION_SHARE / (1 - VALIDATION_SHARE - TEST_SHARE)
        start, end = (round(len(moments) * (1 - share * ago)) for ago in (periods, periods - 1))
        before = known if end >= len(moments) else known.filter(pl.col("timestamp") < moments[end])
        within = pl.col("timestamp") >= moments[min(start, len(moments) - 1)]
        part = _by_period(before.drop("part"), _period(within, _NOBODY))
        events = before.with_columns(part.cast(pl.Enum(PARTS)).alias("part"))
        tested = self.events.filter(pl.col("part").is_in(["test", "test-history"]))
        return Split(self.name, self.seed, pl.concat([events, tested]))

    def _validating_on(self, items: pl.Series) -> pl.DataFrame:
        """The events with those of ``items`` as validation; what is in the test stays there."""
        held_out = (
            pl.when(pl.col("item_id").is_in(items.implode())).then(pl.lit("validation")).otherwise(pl.lit("train"))
        )
        part = pl.when(pl.col("part").is_in(["test", "test-history"])).then(pl.col("part")).otherwise(held_out)
        return self.events.with_columns(part.cast(pl.Enum(PARTS)).alias("part"))

    def young(self, share: float) -> "Split":
        """The same test, before which only this share of the users, drawn at random, has been seen.

        The others are new users in it: their events are known then, and nothing has learnt from them.

        Raises:
            SplitError: the share leaves no user.
        """
        before = self.events.filter(~pl.col("part").is_in(["test", "test-history"]))
        users = before["user_id"].unique().sort()
        seen = np.random.default_rng(self.seed).permutation(len(users))[: round(share * len(users))]
        if len(seen) == 0:
            raise SplitError(f"a share of {share:g} of {len(users):,} users is nobody; give more with --share")
        stays = pl.col("user_id").is_in(users.gather(seen).implode()) | (pl.col("part") == "test")
        part = pl.when(stays).then(pl.col("part")).otherwise(pl.lit("test-history")).cast(pl.Enum(PARTS))
        return Split(self.name, self.seed, self.events.with_columns(part.alias("part")))

    def before(self, stage: Stage) -> pl.DataFrame:
        """The events that may be learnt from in this stage."""
        return self.events.filter(pl.col("part").is_in(PARTS[: PARTS.index(stage) - 1]))

    def task(self, stage: Stage, items: list[str]) -> Task:
        """What may be seen and what is to be predicted, over the catalog's ``items``.

        Raises:
            SplitError: no user is left to predict for.
        """
        train = self.before(stage)
        held_out = self.events.filter(pl.col("part") == stage)
        columns = sorted(items)
        visible = pl.concat([train, self.events.filter(pl.col("part") == f"{stage}-history")])
        # Of what a user had before nothing can be held out.
        held_out = held_out.join(visible, on=["user_id", "item_id"], how="anti")
        users = tuple(held_out["user_id"].unique().sort())
        if not users or len(train) == 0:
            what = "user to predict for" if len(train) else "event to learn from"
            raise SplitError(
                f"the split {self.name!r} leaves no {what} in its {stage} part ({len(self.events):,} events in all); "
                "choose another with --split or use more data"
            )
        candidates = None
        if self.name == "cold-items":
            candidates = np.isin(np.array(columns, dtype=object), held_out["item_id"].unique().to_list())
        return Task(
            Histories.from_events(train, columns),
            Histories.from_events(visible, columns, users),
            Histories.from_events(held_out, columns, users).values,
            candidates,
        )


def make_split(name: str, events: pl.DataFrame, seed: int, times: str) -> Split:
    """Cut events (user_id, item_id, value, timestamp) into parts.

    ``times`` is what the timestamps are (`Timestamps.kind`). Where a user has an item several times, each event has its
    own part, and what was had before the test is not held out in it.

    Raises:
        SplitError: there is no such split, or it needs times that the events do not have.
    """
    if name not in SPLITS:
        raise SplitError(f"no split {name!r}; there are {', '.join(SPLITS)}")
    if name == "temporal" and times in ("order", "none"):
        raise SplitError("the split 'temporal' needs real times, these events have none; use --split leave-last")
    if name == "leave-last" and times == "none":
        raise SplitError("the split 'leave-last' needs times or positions, these events have none; use --split random")
    if len(events) == 0:
        raise SplitError("this workspace has no events: nothing can be evaluated")
    ordered = events.sort("user_id", "timestamp", "item_id", "value")
    part = SPLITS[name](ordered, np.random.default_rng(seed))
    return Split(name, seed, ordered.with_columns(part.cast(pl.Enum(PARTS)).alias("part")))


def default_split(times: str) -> str:
    """The most honest split that the times allow: temporal, else leave-last, else random."""
    return {"order": "leave-last", "none": "random"}.get(times, "temporal")


def _temporal(events: pl.DataFrame, rng: np.random.Generator) -> pl.Series:  # noqa: ARG001 - nothing is drawn
    """The last fifth of the time-ordered events is the test, the tenth before it validation."""
    moments = events["timestamp"].sort()
    validation = moments[int(len(moments) * (1 - VALIDATION_SHARE - TEST_SHARE))]
    test = moments[int(len(moments) * (1 - TEST_SHARE))]
    return _by_period(events, _period(pl.col("timestamp") >= validation, pl.col("timestamp") >= test))


def _by_period(events: pl.DataFrame, period: pl.Expr) -> pl.Series:
    """The part of each event by its period; events are in order of time.

    Of users who first appear in a period, the first half of their events in it, at most ten, is known.
    """
    place = pl.int_range(pl.len()).over("user_id", "period")
    known = place < ((pl.len().over("user_id", "period") + 1) // 2).clip(upper_bound=FOLD_IN)
    new = (pl.col("period") == pl.col("period").min().over("user_id")) & known
    return events.with_columns(period.alias("period")).select(_part(pl.col("period"), new)).to_series()


def _leave_last(events: pl.DataFrame, rng: np.random.Generator) -> pl.Series:  # noqa: ARG001 - nothing is drawn
    """Each user's last event is the test, the one before it validation; users with fewer than three only train."""
    left = pl.len().over("user_id") - pl.int_range(pl.len()).over("user_id")
    enough = pl.len().over("user_id") >= FEWEST
    return events.select(_part(_period((left < FEWEST) & enough, (left == 1) & enough), _NOBODY)).to_series()


def _users(events: pl.DataFrame, rng: np.random.Generator) -> pl.Series:
    """A fifth of the users is the test, a tenth validation; the last fifth of their events is to be predicted."""
    owner = _drawn("user_id", events["user_id"].unique().sort(), rng, VALIDATION_SHARE, TEST_SHARE)
    known = pl.int_range(pl.len()).over("user_id") < (pl.len().over("user_id") * 4 + 4) // 5
    return events.select(_part(owner, known)).to_series()


def _cold_items(events: pl.DataFrame, rng: np.random.Generator) -> pl.Series:
    """Of the items with at least five events 15 % are the test, with all their events, and 15 % validation."""
    items = events.group_by("item_id").len().filter(pl.col("len") >= COLD_FROM)["item_id"].sort()
    owner = _drawn("item_id", items, rng, COLD_SHARE, COLD_SHARE)
    return events.select(_part(owner, _NOBODY)).to_series()


def _random(events: pl.DataFrame, rng: np.random.Generator) -> pl.Series:
    """Of each user's events a random quarter is the test, and a tenth of the others validation."""
    place = pl.col("draw").rank("ordinal").over("user_id") - 1
    test = (pl.len().over("user_id") * RANDOM_SHARE).round()
    validation = ((pl.len().over("user_id") - test) * VALIDATION_SHARE).round()
    drawn = events.with_columns(pl.Series("draw", rng.random(len(events))))
    return drawn.select(_part(_period(place < test + validation, place < test), _NOBODY)).to_series()


def _drawn(column: str, names: pl.Series, rng: np.random.Generator, validation: float, test: float) -> pl.Expr:
    """1 where the name in ``column`` was drawn for validation, 2 for the test, 0 elsewhere."""
    drawn = names.gather(rng.permutation(len(names)))
    first, second = round(len(names) * test), round(len(names) * (test + validation))
    in_test, in_validation = (pl.col(column).is_in(part.implode()) for part in (drawn[:first], drawn[first:second]))
    return _period(in_validation, in_test)


def _period(validation: pl.Expr, test: pl.Expr) -> pl.Expr:
    """Where an event belongs; ``test`` goes before ``validation``."""
    return pl.when(test).then(_TEST).when(validation).then(_VALIDATION).otherwise(_TRAIN)


def _part(period: pl.Expr, known: pl.Expr) -> pl.Expr:
    """The part of each event; ``known`` marks what is known of a new user when the period begins."""
    return (
        pl.when(period == _TRAIN)
        .then(pl.lit("train"))
        .when(period == _TEST)
        .then(pl.when(known).then(pl.lit("test-history")).otherwise(pl.lit("test")))
        .otherwise(pl.when(known).then(pl.lit("validation-history")).otherwise(pl.lit("validation")))
    )


SPLITS: dict[str, Callable[[pl.DataFrame, np.random.Generator], pl.Series]] = {
    "temporal": _temporal,
    "leave-last": _leave_last,
    "users": _users,
    "cold-items": _cold_items,
    "random": _random,
}
