"""`whyrec label`: ask the teacher for lists until the budget is used up, and keep every one of them."""

import math
import time
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from agent.evaluation.watch import Watch
from agent.teacher import Teacher
from retrieval.data.labels import Label, LabelStore

OTHERS = 5_000  # people whose lists the scorers alone are asked for, at most
PART = 16  # lists in a part
LARGE_PART = 1_000
NEAR = 1e-4  # scores that differ by less, relatively, are the same


@dataclass(frozen=True)
class Budget:
    """lists: how many the language model is asked for in all, those it was asked for before included.

    seconds: how long it may take now.
    """

    lists: int
    seconds: float = float("inf")


@dataclass(frozen=True)
class Labelled:
    """asked: lists that the language model has judged; asked_now: those asked for now. others: lists by the scorers.

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
        self._said: dict[tuple[str, str], dict[str, float | None]] = {}
        self._retrieved: dict[tuple[str, str], dict[str, float]] = {}

    def run(self, budget: Budget) -> Labelled:
        """Label; a list that is there already is neither asked for nor written again.

        Raises:
            ModelError: the language model cannot be loaded.
        """
        teacher = self._teacher
        damaged = self._remember()
        drawn = np.random.default_rng(teacher.study.seed).permutation(np.flatnonzero(teacher.histories.counts > 0))
        may = drawn[teacher.may_ask[drawn]]
        self._watch.start("Asking the language model", min(budget.lists, len(may)))
        start = time.monotonic()
        part = 1 if teacher.study.settings.remote.ranker else PART  # a list that was paid for is kept at once
        done = asked = asked_now = 0
        while done < len(may) and asked < budget.lists and time.monotonic() - start < budget.seconds:
            labelled = teacher.label(may[done : done + min(part, budget.lists - asked)].tolist(), self._said, ask=True)
            self._write(labelled)
            judged = [labels for labels in labelled if labels and all(one.ranked is not None for one in labels)]
            asked_now += sum(self._has_said_more(labels) for labels in judged)
            asked += len(judged)
            done += len(labelled)
            self._watch.advance(len(judged))
        seconds = time.monotonic() - start
        rest = np.setdiff1d(drawn, may[:done], assume_unique=True)
        rest = np.random.default_rng(teacher.study.seed).permutation(rest)[:OTHERS]
        self._by_scorers(rest)
        teacher.answers.drop()
        return Labelled(asked, asked_now, len(rest) + done - asked, seconds, damaged)

    def _by_scorers(self, rows: NDArray[np.int64]) -> None:
        self._watch.start("Asking the scorers", len(rows))
        for start in range(0, len(rows), LARGE_PART):
            labelled = self._teacher.label(rows[start : start + LARGE_PART].tolist(), self._said, ask=False)
            self._write(labelled)
            self._watch.advance(len(labelled))

    def _remember(self) -> int:
        """What this teacher has said before; how many parts cannot be read."""
        found, damaged = self._store.read()
        own = found.filter(pl.col("teacher") == self._teacher.fingerprint)
        columns = own.select("user_id", "history", "item_id", "retrieved", "ranked")
        for user, history, item, retrieved, ranked in columns.iter_rows():
            self._said.setdefault((user, history), {})[item] = ranked
            self._retrieved.setdefault((user, history), {})[item] = retrieved
        return damaged

    def _has_said_more(self, labels: list[Label]) -> bool:
        """Whether the language model was asked about any item of this list now."""
        before = self._said.get((labels[0].user_id, labels[0].history), {})
        return any(before.get(one.item_id) is None for one in labels)

    def _is_new(self, labels: list[Label]) -> bool:
        """Whether this list says anything that is not kept."""
        if not labels:
            return False
        key = labels[0].user_id, labels[0].history
        said, retrieved = self._said.get(key, {}), self._retrieved.get(key, {})
        if said.keys() != {one.item_id for one in labels}:
            return True
        return any(
            said[one.item_id] != one.ranked or not math.isclose(retrieved[one.item_id], one.retrieved, rel_tol=NEAR)
            for one in labels
        )

    def _write(self, lists: list[list[Label]]) -> None:
        new = [label for labels in lists if self._is_new(labels) for label in labels]
        if new:
            self._store.add(new)
