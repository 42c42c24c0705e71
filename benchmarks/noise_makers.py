"""How events, times and titles are made wrong for `benchmarks.noise`; the same seed gives the same."""

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from finetune.augmentation import Reorder, Sight
from retrieval.cf.ease import Ease, EaseConfig
from retrieval.cf.scorer import TrainingData
from retrieval.data.catalog import Catalog
from retrieval.data.histories import Histories
from retrieval.data.splits import Split
from retrieval.ranking import Floats

# Items for a user, from which those are left out that the user had: user, how many are wanted, what draws.
Pick = Callable[[str, int, np.random.Generator], Sequence[str]]


def generator(level: float, seed: int) -> np.random.Generator:
    """Of its own for each level and seed."""
    return np.random.default_rng([seed, round(1000 * level)])


def with_false_likes(split: Split, level: float, seed: int, liked: float, pick: Pick) -> Split:
    """The split with false likes among the part train: of each user's events there a share of ``level``, at most.

    A false like has the value ``liked`` and the time of one of the user's events. Nothing that the user had in any part
    is picked, or it would not be false.
    """
    rng = generator(level, seed)
    had = {user: set(items) for user, items in split.events.group_by("user_id").agg("item_id").iter_rows()}
    false = []
    for (user,), events in _train(split).group_by(["user_id"], maintain_order=True):
        wanted = round(level * len(events))
        picked = [item for item in dict.fromkeys(pick(user, wanted, rng)) if item not in had[user]][:wanted]
        times = rng.choice(events["timestamp"].to_numpy(), len(picked))
        columns = {"user_id": [user] * len(picked), "item_id": picked, "value": [liked] * len(picked)}
        parts = {"timestamp": times, "part": ["train"] * len(picked)}
        false.append(pl.DataFrame({**columns, **parts}, schema=split.events.schema))
    return replace(split, events=pl.concat([split.events, *false]))


def by_chance(split: Split, *, popular: bool) -> Pick:
    """Any item that somebody has; ``popular``: as likely as many have it."""
    counts = _train(split).group_by("item_id").len().sort("item_id")
    items, weights = counts["item_id"].to_numpy(), counts["len"].to_numpy() if popular else np.ones(len(counts))
    return lambda _, wanted, rng: rng.choice(items, wanted, p=weights / weights.sum()).tolist()


def opposed(split: Split, liked: float) -> Pick:
    """The items that by EASE speak most against what the user likes, the worst first.

    By the weights B (w, w) of EASE, learnt from the likes of the part train, an item j counts ``Σ_i B_ji`` over the
    user's likes i: what a false like of j would add to the scores of all that the user likes. The lowest come first.
    """
    histories = _histories(split)
    learnt = Ease.fit(TrainingData(histories), EaseConfig(positive_from=liked)).arrays()
    added = histories.positives(liked)[:, learnt["warm"]] @ learnt["weights"].T
    return _lowest(histories.users, np.array(histories.items, dtype=object)[learnt["warm"]], added)


def unlike(split: Split, liked: float, items: Sequence[str], vectors: Floats) -> Pick:
    """The items least like what the user likes in the part train, by the mean cosine of texts, the least first.

    vectors: (m, d) the texts of ``items``, of length 1. Items that nobody has in the part train are left out.
    """
    histories = _histories(split)
    row_of = {item: row for row, item in enumerate(items)}
    texts = vectors[[row_of[item] for item in histories.items]]
    return _lowest(
        histories.users, np.array(histories.items, dtype=object), histories.positives(liked) @ texts @ texts.T
    )


def with_shuffled_times(split: Split, share: float, seed: int) -> Split:
    """The split with the times of a piece of each user's events in another order; what is known of a test stays."""
    rng, known = generator(share, seed), split.before("test")
    shuffled = []
    for _, events in known.sort("timestamp", "item_id").group_by(["user_id"], maintain_order=True):
        places = Reorder(share)(Sight.of(np.arange(len(events))), rng).places
        shuffled.append(events.with_columns(events["timestamp"].gather(places)))
    return replace(split, events=pl.concat([*shuffled, _after(split)]))


def thinned(split: Split, share: float, seed: int, *, popular: bool) -> Split:
    """The split without a share of the events that are learnt from.

    popular: an event is the likelier to go the more events its item has (drawn one after the other, with weights
    proportional to that number), so popular items lose most; else all are as likely to go.
    """
    known = split.before("test")
    counts = known.select(pl.len().over("item_id")).to_series().to_numpy()
    weights = counts if popular else np.ones(len(counts))
    gone = generator(share, seed).choice(
        len(known), round(share * len(known)), replace=False, p=weights / weights.sum()
    )
    stays = np.ones(len(known), dtype=np.bool_)
    stays[gone] = False
    return replace(split, events=pl.concat([known.filter(stays), _after(split)]))


@dataclass(frozen=True)
class Typos:
    """Each character of a text is changed with the probability ``share``; the text stays where nothing would be left.

    One that is changed is left out or becomes a small letter by chance, either as likely.
    """

    share: float

    def __call__(self, text: str, rng: np.random.Generator) -> str:
        """The text as somebody in a hurry would type it."""
        changed, left_out = rng.random(len(text)) < self.share, rng.choice([True, False], len(text)).tolist()
        letters = rng.choice(list(string.ascii_lowercase), len(text)).tolist()
        found = "".join(
            ("" if out else letter) if change else char
            for char, letter, change, out in zip(text, letters, changed, left_out, strict=True)
        )
        return found if found.strip() else text


def with_typos(catalog: Catalog, share: float, seed: int) -> Catalog:
    """The catalog with `Typos` in its titles; years and fields stay."""
    rng, typos = generator(share, seed), Typos(share)
    return Catalog(catalog.frame.with_columns(title=pl.Series([typos(title, rng) for title in catalog.frame["title"]])))


def share_of(events: pl.DataFrame, items: pl.Series) -> float:
    """The share of the events that are of these items."""
    return events["item_id"].is_in(items.implode()).sum() / len(events)


def most_popular(events: pl.DataFrame, count: int) -> pl.Series:
    """The items with the most events, the lowest ids where they have as many."""
    return events.group_by("item_id").len().sort("len", "item_id", descending=[True, False])["item_id"].head(count)


def _train(split: Split) -> pl.DataFrame:
    return split.events.filter(pl.col("part") == "train")


def _histories(split: Split) -> Histories:
    """Those of the part train, over its own items."""
    events = _train(split)
    return Histories.from_events(events, sorted(events["item_id"].unique()))


def _lowest(users: Sequence[str], items: NDArray[np.object_], figures: Floats) -> Pick:
    """For each user the items (w,) by ``figures`` (n, w), the lowest first, the lowest ids where they are the same."""
    row_of = {user: row for row, user in enumerate(users)}
    return lambda user, _, __: items[np.argsort(figures[row_of[user]], kind="stable")].tolist()


def _after(split: Split) -> pl.DataFrame:
    """What is known of new users in the test, and the test."""
    return split.events.filter(pl.col("part").is_in(["test-history", "test"]))
