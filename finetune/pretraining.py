"""Self-supervised pre-training of a student's tables: what sequences of events say by themselves, without a teacher."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch.nn.functional import normalize

from finetune.augmentation import Crop, Mask, Sight
from retrieval.cf.student import Student
from retrieval.data.histories import Histories, sparse, strengths
from retrieval.data.sequences import Sequences
from retrieval.errors import InputError

NEVER = -1e9  # the score of what a person has had
PAIRS = 4  # of a history in a step
SPREAD = 2.0  # standard deviation of a person's scores at the beginning

Events = NDArray[np.int64]  # where they are among those that are stored
Tables = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Pretraining:
    """How the tables learn from sequences of events.

    epochs: how often each history is seen; people: histories in a step. rate: of AdamW at its highest, then falling as
    a cosine; decay: how strongly what is learnt is drawn back to nothing; bound: how far each row may go. masked,
    next, contrast: λ of these losses. hidden: the share of a history that is asked for in the masked one. recent: how
    many items the next one is asked of, at most. near: how many places apart items count as had together.
    """

    epochs: int = 10
    people: int = 64
    rate: float = 0.01
    decay: float = 0.01
    bound: float = 30.0
    masked: float = 1.0
    next: float = 1.0
    contrast: float = 0.5
    hidden: float = 0.2
    recent: int = 10
    near: int = 5
    seed: int = 0


def pretrain(
    start: Student,
    sequences: Sequences,
    how: Pretraining,
    told: Callable[[Mapping[str, float]], None] = lambda _: None,
) -> Student:
    """The student whose tables also say what events say; the same seed gives the same student.

    ``L = λ₁·L_masked + λ₂·L_next + λ₃·L_contrast``. L_masked: cross-entropy of the items of a history that are hidden,
    given the others (Devlin et al. 2019; Sun et al. 2019). L_next: of the item that follows a piece of it (Kang &
    McAuley 2018). L_contrast: of ``h_i · v_j`` for items that are had near each other against those of a step (van den
    Oord et al. 2018). Events that do not speak for an item count ``weak``. Learnt are h, v and b of items with events;
    those of all others stay as they are, but for their scale, and b, which becomes the mean of what was learnt.
    ``told`` is given the mean of each loss after each epoch.

    Raises:
        InputError: no history has two items; or order is asked for, and the events have no times.
    """
    if how.next > 0 and not sequences.timed:
        raise InputError("what comes next cannot be learnt from events without times; leave that loss out")
    if not any(weight > 0 for weight in (how.masked, how.next, how.contrast)):
        raise InputError("there is no loss to learn from: one of masked, next and contrast must be above 0")
    rows = np.flatnonzero(sequences.histories.counts > 1)
    if len(rows) == 0:
        raise InputError("sequences are learnt from histories of two items or more, and these events have none")
    return _Pretraining(start, sequences, rows, how).run(told)


class _Pretraining:
    def __init__(self, start: Student, sequences: Sequences, rows: NDArray[np.int64], how: Pretraining):
        self._start = start
        self._sequences = sequences
        self._rows = rows
        self._how = how
        self._rng = np.random.default_rng(how.seed)
        histories = sequences.histories
        told = strengths(histories, start.config.positive_from, start.config.weak)
        self._weights = csr_array(told + histories.positives(None)).data - 1  # an entry of 0 would not be stored
        self._known = np.unique(histories.values.indices)
        self._place = np.full(histories.values.shape[1], -1, dtype=np.int64)
        self._place[self._known] = np.arange(len(self._known))
        self._parts = torch.from_numpy(start.parts[self._known])
        self._vectors = torch.from_numpy(start.vectors[self._known])
        self._bias = torch.from_numpy(start.bias[self._known])
        self._size = float(self._parts.square().mean().sqrt()) or 1.0
        zeros = torch.zeros_like
        self._learnt = [zeros(one, requires_grad=True) for one in (self._parts, self._vectors, self._bias)]
        self._sharp = torch.tensor(math.log(self._sharpness()), requires_grad=True)

    def _sharpness(self) -> float:
        some = self._sequences.histories.take(self._rows[: self._how.people])
        spread = float(np.mean(np.std(self._start.score(some)[:, self._known], axis=1)))
        return SPREAD / spread if spread > 0 else 1.0

    def run(self, told: Callable[[Mapping[str, float]], None]) -> Student:
        how, total = self._how, len(self._rows)
        groups: list[dict[str, Any]] = [{"params": self._learnt}, {"params": [self._sharp], "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=how.rate, weight_decay=how.decay)
        steps = how.epochs * -(-total // how.people)
        rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
        weights = {"masked": how.masked, "next": how.next, "contrast": how.contrast}
        for _ in range(how.epochs):
            sums = {name: 0.0 for name, weight in weights.items() if weight > 0}
            order = self._rng.permutation(self._rows)
            for at in range(0, total, how.people):
                rows = np.sort(order[at : at + how.people])
                tables = self._tables()
                losses = {name: self._loss(name, rows, tables) for name in sums}
                optimizer.zero_grad()
                torch.autograd.backward(torch.stack([weights[name] * loss for name, loss in losses.items()]).sum())
                optimizer.step()
                rate.step()
                with torch.no_grad():
                    for one in self._learnt[:2]:
                        one.renorm_(2, 0, how.bound)
                for name, loss in losses.items():
                    sums[name] += loss.item() * len(rows) / total
            told(sums)
        return self._student()

    def _student(self) -> Student:
        with torch.no_grad():
            scale = float(self._sharp.exp())
            shift = float(self._learnt[2].mean())
            found = self._start.parts.copy(), self._start.vectors * scale, self._start.bias * scale + shift
            for table, learnt in zip(found, self._tables(), strict=True):
                table[self._known] = learnt.numpy()
        parts, vectors, bias = (np.asarray(table, dtype=np.float32) for table in found)
        return Student(self._start.config, parts, vectors, bias)

    def _tables(self) -> Tables:
        """h, v and b of items with events; h is learnt in the unit of its mean entry, v and b in scores."""
        parts, vectors, shift = self._learnt
        scale = self._sharp.exp()
        return self._parts + self._size * parts, self._vectors * scale + vectors, self._bias * scale + shift

    def _loss(self, name: str, rows: NDArray[np.int64], tables: Tables) -> torch.Tensor:
        if name == "contrast":
            return self._contrast(rows, tables)
        ask = self._hidden if name == "masked" else self._next
        return self._surprise([ask(row) for row in rows], tables)

    def _hidden(self, row: int) -> tuple[Events, Events, Events]:
        """Some of a history, and the others, which it is asked for."""
        events = self._sequences.of(row)
        told = Mask(self._how.hidden)(Sight.of(events), self._rng).columns
        return told, np.setdiff1d(events, told), told

    def _next(self, row: int) -> tuple[Events, Events, Events]:
        """A piece of a history, what comes after it, and all that was before."""
        events = self._sequences.of(row)
        piece = Crop(2, self._how.recent + 1)(Sight.of(events), self._rng)
        return piece.columns[:-1], piece.columns[-1:], events[: piece.places[-1]]

    def _surprise(self, asked: list[tuple[Events, Events, Events]], tables: Tables) -> torch.Tensor:
        """Cross-entropy of events, each given those that are told, among all items but those that were had before.

        Asked are, of each person, what is told, what is asked for, and what was had before.
        """
        values = self._sequences.histories.values
        people = [np.repeat(np.arange(len(asked)), [len(one[part]) for one in asked]) for part in range(3)]
        events = [np.concatenate([one[part] for one in asked]) for part in range(3)]
        items = [self._place[values.indices[one]] for one in events]
        shape = (len(asked), len(self._known))
        history = sparse(
            people[0], values.indices[events[0]], values.data[events[0]], shape=(shape[0], values.shape[1])
        )
        barred = torch.zeros(shape, dtype=torch.bool)
        barred[people[2], items[2]] = True
        parts, vectors, bias = tables
        likely = (self._people(history, parts) @ vectors.T + bias).masked_fill(barred, NEVER).log_softmax(dim=1)
        weights = torch.from_numpy(self._weights[events[1]])
        found = (weights * likely[people[1], items[1]]).sum()
        return -found / weights.sum().clamp_min(1e-9)

    def _people(self, history: csr_array, parts: torch.Tensor) -> torch.Tensor:
        """As `Student.people`."""
        config, items = self._start.config, self._sequences.histories.items
        told = Histories(tuple(map(str, range(history.shape[0]))), items, history)
        weights = strengths(told, config.positive_from, config.weak).tocoo()
        places = np.stack([weights.row, self._place[weights.col]])
        shape = (history.shape[0], len(self._known))
        told_of = torch.from_numpy(places), torch.from_numpy(weights.data)
        matrix = torch.sparse_coo_tensor(*told_of, shape, check_invariants=True)
        return normalize(torch.sparse.mm(matrix, parts), dim=1)

    def _contrast(self, rows: NDArray[np.int64], tables: Tables) -> torch.Tensor:
        """Of items that one person had near each other, against what others of this step had."""
        ones, others = [], []
        for row in rows:
            events = self._sequences.of(row)
            first = self._rng.integers(len(events), size=PAIRS)
            apart = self._rng.integers(1, self._how.near + 1, size=PAIRS) * self._rng.choice([-1, 1], size=PAIRS)
            inside = (first + apart >= 0) & (first + apart < len(events))
            ones.append(events[first[inside]])
            others.append(events[(first + apart)[inside]])
        columns = self._sequences.histories.values.indices
        one, other = (torch.from_numpy(self._place[columns[np.concatenate(each)]]) for each in (ones, others))
        parts, vectors, _ = tables
        if len(one) == 0:
            return (parts.sum() + vectors.sum()) * 0.0
        alike = normalize(parts[one], dim=1) @ vectors[other].T
        same = (other[:, None] == other[None, :]) & ~torch.eye(len(other), dtype=torch.bool)
        return -alike.masked_fill(same, NEVER).log_softmax(dim=1).diagonal().mean()
