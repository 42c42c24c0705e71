"""`whyrec label`: ask the teacher for lists until the budget is used up, and keep every one of them."""

import time
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from agent.evaluation.watch import Watch
from agent.teacher import Known, Teacher
from retrieval.data.labels import Label, LabelStore

OTHERS = 5_000  # people whose lists the scorers alone are asked for, at most
PART = 16  # lists in a part
LARGE_PART = 1_000


@dataclass(frozen=True)
class Budget:
    """lists: how many the language model is asked for in all, those it was asked for before included.

    seconds: how long it may take now.
    """

    lists: int = 1_000
    seconds: float = float("inf")


@dataclass(frozen=True)
class Labelled:
    """asked: lists that the language model has a say in; asked_now: those asked for now. others: lists by the scorers.

    seconds: that the language model took now. damaged: parts that could not be read.
    """

    asked: int
    asked_now: int
    others: int
    seconds: float
    damaged: int


class Labeller:
    """Labels lists in an order by chance, so that the first so many are a sample of all."""

    def __init__(self, teacher: Teacher, store: LabelStore, watch: Watch):
        self._teacher = teacher
        self._store = store
        self._watch = watch

    def run(self, budget: Budget) -> Labelled:
        """Label; a list that is there already is neither asked for nor written again.

        Raises:
            ModelError: the language model cannot be loaded.
        """
        teacher = self._teacher
        known, damaged = self._known()
        counts = teacher.histories.counts
        drawn = np.random.default_rng(teacher.study.seed).permutation(np.flatnonzero(counts > 0))
        asks = drawn[teacher.asks_model[drawn]]
        self._watch.start("Asking the language model", min(budget.lists, len(asks)))
        start = time.monotonic()
        rows = asks[: budget.lists].tolist()
        done = asked_now = 0
        while done < len(rows) and time.monotonic() - start < budget.seconds:
            labelled = list(teacher.label(rows[done : done + PART], known, ask=True))
            new = [labels for labels in labelled if self._is_new(labels, known)]
            self._write(new)
            asked_now += len(new)
            done += len(labelled)
            self._watch.advance(len(labelled))
        seconds = time.monotonic() - start
        rest = np.setdiff1d(drawn, asks[:done], assume_unique=True)
        others = self._by_scorers(np.random.default_rng(teacher.study.seed).permutation(rest)[:OTHERS], known)
        return Labelled(done, asked_now, others, seconds, damaged)

    def _by_scorers(self, rows: NDArray[np.int64], known: Known) -> int:
        self._watch.start("Asking the scorers", len(rows))
        for start in range(0, len(rows), LARGE_PART):
            labelled = list(self._teacher.label(rows[start : start + LARGE_PART].tolist(), known, ask=False))
            self._write([labels for labels in labelled if self._is_new(labels, known)])
            self._watch.advance(len(labelled))
        return len(rows)

    @staticmethod
    def _is_new(labels: list[Label], known: Known) -> bool:
        """Whether this list says anything that is not known."""
        if not labels:
            return False
        before = known.get((labels[0].user_id, labels[0].history), {})
        return any(one.item_id not in before or before[one.item_id] != one.ranked for one in labels)

    def _known(self) -> tuple[Known, int]:
        """What this teacher has said before."""
        found, damaged = self._store.read()
        own = found.filter(pl.col("teacher") == self._teacher.fingerprint)
        known: dict[tuple[str, str], dict[str, float | None]] = {}
        for user, history, item, ranked in own.select("user_id", "history", "item_id", "ranked").iter_rows():
            known.setdefault((user, history), {})[item] = ranked
        return known, damaged

    def _write(self, lists: list[list[Label]]) -> None:
        if lists:
            self._store.add([label for labels in lists for label in labels])
