"""Measure one system on the test part: a figure for each user wherever there can be one."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
from numpy.typing import NDArray
from scipy.sparse import csr_array

from retrieval import metrics
from retrieval.cf.scorer import AT_ONCE, Scorer, System, mask
from retrieval.data.splits import Task
from retrieval.metrics import Figures
from retrieval.ranking import Columns, Floats, top

PLACES = (5, 10, 20)
DEEP = 50  # places at which only recall is measured: the candidates that a language model could order
TIMED_USERS = 50
STRATUM_METRICS = ("ndcg", "recall")


class Key(NamedTuple):
    """What a figure is of; k is 0 where no list length is meant."""

    stratum: str
    metric: str
    k: int


@dataclass
class Measured:
    """The figures of one system on the test part of one split.

    users: their ids. by_user: (n,) each, NaN where it says nothing about a user. totals: figures of the whole list of
    lists, or of the machine.
    """

    system: str
    seed: int
    users: tuple[str, ...]
    by_user: dict[Key, Figures] = field(default_factory=dict)
    totals: dict[Key, float] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write it to ``path`` (.npz without pickle)."""
        head = {
            "system": self.system,
            "seed": self.seed,
            "users": self.users,
            "by_user": list(self.by_user),
            "totals": [[*key, value] for key, value in self.totals.items()],
        }
        part = path.with_suffix(".part.npz")
        values = np.stack(list(self.by_user.values()))
        np.savez(part, allow_pickle=False, head=np.array(json.dumps(head)), by_user=values)
        part.rename(path)

    @classmethod
    def load(cls, path: Path) -> "Measured":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            head = json.loads(str(file["head"]))
            by_user = {Key(*key): values for key, values in zip(head["by_user"], file["by_user"], strict=True)}
        totals = {Key(*key): value for *key, value in head["totals"]}
        return cls(head["system"], head["seed"], tuple(head["users"]), by_user, totals)


@dataclass(frozen=True)
class Surroundings:
    """What all systems of a study are measured against.

    relevant: (n, m) items to be found. liked: (n, m) held-out items that were liked, the others were disliked.
    item_strata, user_strata: for each group of items (m,) or users (n,), which belong to it. genres: (m, g), for
    calibration; vectors: (m, d), for diversity; None where there are none.
    """

    task: Task
    relevant: csr_array
    liked: csr_array
    item_strata: dict[str, NDArray[np.bool_]]
    user_strata: dict[str, NDArray[np.bool_]]
    genres: csr_array | None
    vectors: Floats | None


def measure(
    system: System,
    around: Surroundings,
    seed: int,
    threshold: float | None,
    progress: Callable[[int], None] = lambda _: None,
) -> Measured:
    """All figures of ``system``; ``threshold`` is the score from which it says "liked" (None: it says nothing).

    ``progress`` is told how many users were done since it was told last.

    Raises:
        ScoreError: a score is NaN; names the system.
    """
    task = around.task
    found = Measured(system.name, seed, task.histories.users)
    columns, scores = _lists(system, task, progress)
    _add_ranking(found, columns, around)
    _add_beyond(found, columns, around)
    if scores is not None:
        _add_predictions(found, scores, system, around, threshold)
    for share, value in zip((50, 95), np.percentile(_latencies(system, task, seed), (50, 95)), strict=True):
        found.totals[Key("all", f"latency-p{share}", 10)] = float(value)
    return found


def _lists(system: System, task: Task, progress: Callable[[int], None]) -> tuple[Columns, Floats | None]:
    """The lists of all users, (n, 50), and for scorers the score of each held-out event."""
    size = max(1, AT_ONCE // max(1, len(task.items)))
    if not isinstance(system, Scorer):
        size = min(size, 64)
    lists, scores = [], []
    for start in range(0, len(task.histories), size):
        rows = slice(start, start + size)
        histories, held_out = task.histories.take(rows), task.held_out[rows]
        if isinstance(system, Scorer):
            given = system.score(histories)
            owner = np.repeat(np.arange(len(histories)), np.diff(held_out.indptr))
            scores.append(given[owner, held_out.indices])
            lists.append(top(mask(given, histories.values, task.candidates), DEEP, system.name).columns)
        else:
            lists.append(system.top(histories, DEEP, candidates=task.candidates).columns)
        progress(len(histories))
    return np.concatenate(lists), np.concatenate(scores) if scores else None


def _add_ranking(found: Measured, columns: Columns, around: Surroundings) -> None:
    counts = np.diff(around.relevant.indptr)
    hits = metrics.find_hits(columns, around.relevant)
    for k in PLACES:
        for name, values in metrics.ranking_metrics(hits, counts, k).items():
            found.by_user[Key("all", name, k)] = values
    found.by_user[Key("all", "recall", DEEP)] = metrics.ranking_metrics(hits, counts, DEEP)["recall"]
    for stratum, members in around.item_strata.items():
        keep = members[around.relevant.indices]
        owner = np.repeat(np.arange(len(counts)), counts)
        counts_within = np.bincount(owner[keep], minlength=len(counts))
        hits_within = hits & members[columns]
        for k in PLACES[1:]:
            within = metrics.ranking_metrics(hits_within, counts_within, k)
            found.by_user |= {Key(stratum, name, k): within[name] for name in STRATUM_METRICS}
    for stratum, inside in around.user_strata.items():
        for name in STRATUM_METRICS:
            for k in PLACES[1:]:
                found.by_user[Key(stratum, name, k)] = np.where(inside, found.by_user[Key("all", name, k)], np.nan)


def _add_beyond(found: Measured, columns: Columns, around: Surroundings) -> None:
    task = around.task
    rankable = np.ones(len(task.items), dtype=np.bool_) if task.candidates is None else task.candidates
    place = np.cumsum(rankable) - 1  # among the items that can be listed at all
    for k in PLACES:
        first = columns[:, :k]
        figures = {
            "novelty": metrics.novelty(first, task.popularity, len(task.train)),
            "popularity": metrics.popularity_percentile(first, task.popularity),
        }
        if around.vectors is not None:
            figures["diversity"] = metrics.intra_list_diversity(first, around.vectors)
        if around.genres is not None:
            figures["miscalibration"] = metrics.miscalibration(first, task.histories.values, around.genres)
        found.by_user |= {Key("all", name, k): values for name, values in figures.items()}
        places = np.where(first >= 0, place[first], -1)
        found.totals[Key("all", "coverage", k)] = metrics.coverage(places, int(rankable.sum()))
        found.totals[Key("all", "gini", k)] = metrics.gini(places, int(rankable.sum()))


def _add_predictions(
    found: Measured, scores: Floats, system: System, around: Surroundings, threshold: float | None
) -> None:
    """AUC and accuracy for like or dislike, and the squared error of predicted values.

    Right answers, squared errors and events are sums for each user, so that the report can pool them.
    """
    task = around.task
    counts = np.diff(task.held_out.indptr)
    owner = np.repeat(np.arange(len(counts)), counts)
    found.by_user[Key("all", "events", 0)] = counts.astype(np.float64)
    liked = metrics.is_liked(task.held_out, around.liked)
    if liked.any() and not liked.all():
        found.by_user[Key("all", "auc", 0)] = metrics.auc(scores, task.held_out, around.liked)
        if threshold is not None:
            right = (scores >= threshold) == liked
            found.by_user[Key("all", "right", 0)] = np.bincount(owner, right, minlength=len(counts)).astype(np.float64)
    if isinstance(system, Scorer) and system.predicts_values:
        errors = (scores.astype(np.float64) - task.held_out.data) ** 2
        squared = np.bincount(owner, errors, minlength=len(counts))
        found.by_user[Key("all", "squared-error", 0)] = squared.astype(np.float64)


def _latencies(system: System, task: Task, seed: int) -> list[float]:
    """Milliseconds for lists of ten, one user at a time, after one that is not counted."""
    rows = np.random.default_rng(seed).permutation(len(task.histories))[: TIMED_USERS + 1]
    found = []
    for row in rows:
        one = task.histories.take(np.array([row]))
        start = time.perf_counter()
        system.top(one, 10, candidates=task.candidates)
        found.append(1000 * (time.perf_counter() - start))
    return found[1:] or found


@contextmanager
def peak_memory(into: dict[Key, float]) -> Iterator[None]:
    """Put the MiB that the process needed at most beyond what it had before into ``into``.

    Resident memory is looked at fifty times a second; what earlier work gave back can be used again unseen.
    """
    process, done, seen = psutil.Process(), threading.Event(), [0]
    before = process.memory_info().rss

    def watch() -> None:
        while not done.wait(0.02):
            seen[0] = max(seen[0], process.memory_info().rss)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        most = max(seen[0], process.memory_info().rss)
        into[Key("all", "peak-memory", 0)] = (most - before) / 2**20
