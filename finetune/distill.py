"""Distil a teacher's lists into the student: each item's vector gets what it lacks to rank as the teacher does."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import one_hot

from finetune.augmentation import Compose, Crop, Mask, Substitute, Transform, nearest, seen
from retrieval.cf.student import Student
from retrieval.data.histories import Histories
from retrieval.errors import InputError
from retrieval.ranking import Columns, Floats

NEVER = -1e9  # the score of what must not be listed
ALIKE = 5  # items that can stand for another
SHORTEST = 3  # items of a piece of a history


@dataclass(frozen=True)
class Distillation:
    """How a student is taught.

    epochs: how often each list is seen; people: lists in a step. rate: of AdamW at its highest, then falling as a
    cosine; decay: how strongly what is learnt is drawn back to nothing; bound: how much it may move a score, in which
    1/T is the spread of a list. temperature: T of the teacher's z-scores, the lower, the more the top of a list counts.
    forgotten: the share of a history that is left out at each sight; cropped: of the histories of which a piece is
    seen; substituted: of their items that give way to one of the five most alike. liked, adversarial: λ of these
    losses; reach: ε of the adversary, in scores.
    """

    epochs: int = 100
    people: int = 64
    rate: float = 0.02
    decay: float = 0.01
    bound: float = 30.0
    temperature: float = 0.5
    forgotten: float = 0.0
    cropped: float = 0.0
    substituted: float = 0.0
    liked: float = 0.0
    adversarial: float = 0.0
    reach: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class TeacherLists:
    """What a teacher says to n people.

    histories: of these people. columns: (n, c) what it ranked, -1 beyond a list's end. scores: (n, c), higher is
    better. among: (m,) the items that may be listed at all, None for all.
    """

    histories: Histories
    columns: Columns
    scores: Floats
    among: NDArray[np.bool_] | None = None


def distil(
    twin: Student,
    lists: TeacherLists,
    how: Distillation,
    told: Callable[[Mapping[str, float]], None] = lambda _: None,
) -> Student:
    """The student that ranks as the teacher does; the same seed gives the same student.

    ``L = CE(softmax(z/T), softmax(s)) + λ₁·L_liked + λ₂·L_adversarial``, z the teacher's z-scores over a list, 0 of the
    mass beyond it, s the student's scores of all items that the person may be shown: so what the teacher does not list
    goes below what it lists, whatever the student would have listed. L_liked is the same for one item of the history,
    which is shown without it. L_adversarial is the first loss with each vector moved by ε along its
    gradient (APR; He et al. 2018, equation 8). ``told`` is given the mean of each loss after each epoch.

    Raises:
        InputError: there is no list.
    """
    rows = np.flatnonzero((lists.columns >= 0).any(axis=1))
    if len(rows) == 0:
        raise InputError("there is no list to learn from")
    lists = replace(lists, histories=lists.histories.take(rows), columns=lists.columns[rows], scores=lists.scores[rows])
    return _Teaching(twin, lists, how).run(told)


def augmentation(how: Distillation, twin: Student, histories: Histories) -> Transform:
    """How histories are seen in a lesson; alike are items that say the same of people, if somebody had them."""
    transforms: tuple[Transform, ...] = (Mask(how.forgotten),)
    if how.cropped > 0:
        transforms += (Crop(SHORTEST, share=how.cropped),)
    if how.substituted > 0:
        known = np.zeros(len(twin.parts), dtype=np.bool_)
        known[histories.values.indices] = True
        transforms += (Substitute(nearest(twin.parts, known, ALIKE), how.substituted),)
    return Compose(transforms)


class _Teaching:
    def __init__(self, twin: Student, lists: TeacherLists, how: Distillation):
        self._twin = twin
        self._lists = lists
        self._how = how
        self._rng = np.random.default_rng(how.seed)
        self._sight = augmentation(how, twin, lists.histories)
        items = lists.histories.values.shape[1]
        self._shown = np.arange(items) if lists.among is None else np.flatnonzero(lists.among)
        self._place = np.full(items, -1, dtype=np.int64)  # among those that may be listed
        self._place[self._shown] = np.arange(len(self._shown))
        there = torch.from_numpy(lists.columns >= 0)
        self._columns = torch.from_numpy(self._place[np.maximum(lists.columns, 0)]).clamp_min(0)
        wanted = _standardised(torch.from_numpy(lists.scores), there) / how.temperature
        self._wanted = wanted.masked_fill(~there, -torch.inf).softmax(dim=1)
        self._vectors = torch.from_numpy(twin.vectors[self._shown])
        self._bias = torch.from_numpy(twin.bias[self._shown])
        self._sharp = self._sharpness(there)
        self._begun = self._vectors * self._sharp
        self._delta = torch.zeros_like(self._begun, requires_grad=True)
        self._shift = torch.zeros_like(self._bias, requires_grad=True)

    def _sharpness(self, there: torch.Tensor) -> float:
        """What the twin's scores are multiplied with, so that they tell items of a list apart as the teacher's do."""
        spreads = []
        for start in range(0, len(there), self._how.people):
            rows = slice(start, start + self._how.people)
            people = torch.from_numpy(self._twin.people(self._lists.histories.take(rows)))
            scores = people @ self._vectors.T + self._bias
            spreads.append(_moments(scores.gather(1, self._columns[rows]), there[rows])[1])
        spread = float(torch.cat(spreads).mean())
        return 1 / (self._how.temperature * spread) if spread > 0 else 1.0

    def run(self, told: Callable[[Mapping[str, float]], None]) -> Student:
        how, total = self._how, len(self._columns)
        optimizer = torch.optim.AdamW([self._delta, self._shift], lr=how.rate, weight_decay=how.decay)
        steps = how.epochs * -(-total // how.people)
        rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
        for _ in range(how.epochs):
            sums: dict[str, float] = {}
            for rows in self._drawn(total):
                losses = self._losses(rows)
                weights = {"teacher": 1.0, "liked": how.liked, "adversarial": how.adversarial}
                optimizer.zero_grad()
                torch.autograd.backward(torch.stack([weights[name] * loss for name, loss in losses.items()]).sum())
                optimizer.step()
                rate.step()
                with torch.no_grad():
                    self._delta.renorm_(2, 0, how.bound)  # a person's vector has length 1
                for name, loss in losses.items():
                    sums[name] = sums.get(name, 0.0) + loss.item() * len(rows) / total
            told(sums)
        with torch.no_grad():
            vectors, bias = (table * np.float32(self._sharp) for table in (self._twin.vectors, self._twin.bias))
            vectors[self._shown] = (self._begun + self._delta).numpy()
            bias[self._shown] = self._biases().numpy()
            return self._twin.taught(vectors, bias)

    def _biases(self) -> torch.Tensor:
        return self._bias * self._sharp + self._shift

    def _drawn(self, total: int) -> Iterator[NDArray[np.int64]]:
        order = self._rng.permutation(total)
        return (np.sort(order[start : start + self._how.people]) for start in range(0, total, self._how.people))

    def _losses(self, rows: NDArray[np.int64]) -> dict[str, torch.Tensor]:
        known = self._lists.histories.take(rows)
        vectors = self._begun + self._delta
        barred = self._barred(known)
        people = torch.from_numpy(self._twin.people(seen(known, self._sight, self._rng)))
        wanted, columns = self._wanted[rows], self._columns[rows]

        def taught(moved: torch.Tensor) -> torch.Tensor:
            likely = (people @ moved.T + self._biases()).masked_fill(barred, NEVER).log_softmax(dim=1)
            return -(wanted * likely.gather(1, columns)).sum(dim=1).mean()

        losses = {"teacher": taught(vectors)}
        if self._how.adversarial > 0:
            (slope,) = torch.autograd.grad(losses["teacher"], vectors, retain_graph=True)
            losses["adversarial"] = taught(vectors + self._how.reach * torch.nn.functional.normalize(slope, dim=1))
        if self._how.liked > 0:
            losses["liked"] = self._liked(known, vectors, barred)
        return losses

    def _liked(self, known: Histories, vectors: torch.Tensor, barred: torch.Tensor) -> torch.Tensor:
        """Of each history an item at random, which the others should tell; nothing where none of them may be listed."""
        values, counts = known.values, known.counts
        left_out = values.indptr[:-1] + self._rng.integers(0, np.maximum(counts, 1))
        told = np.where(counts > 1, self._place[values.indices[np.minimum(left_out, values.nnz - 1)]], -1)
        asked = torch.from_numpy(np.flatnonzero(told >= 0))
        if len(asked) == 0:
            return vectors.new_zeros(()) * vectors.sum()
        keep = np.ones(values.nnz, dtype=np.bool_)
        keep[left_out[asked]] = False
        wanted = torch.from_numpy(told)[asked]
        people = torch.from_numpy(self._twin.people(known.keeping(keep)))[asked]
        barred = barred[asked] & ~one_hot(wanted, barred.shape[1]).bool()
        likely = (people @ vectors.T + self._biases()).masked_fill(barred, NEVER).log_softmax(dim=1)
        return -likely.gather(1, wanted[:, None]).mean()

    def _barred(self, known: Histories) -> torch.Tensor:
        """(n, s) of the items that may be listed at all, those that a person had."""
        barred = torch.zeros((len(known), len(self._shown)), dtype=torch.bool)
        rows, places = np.repeat(np.arange(len(known)), known.counts), self._place[known.values.indices]
        barred[rows[places >= 0], places[places >= 0]] = True
        return barred


def _moments(scores: torch.Tensor, there: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, 1) mean and standard deviation of each list (n, c)."""
    count = there.sum(dim=1, keepdim=True).clamp_min(1)
    mean = (scores * there).sum(dim=1, keepdim=True) / count
    return mean, (((scores - mean) * there) ** 2).sum(dim=1, keepdim=True).div(count).sqrt()


def _standardised(scores: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    scores = scores.masked_fill(~there, 0)
    mean, spread = _moments(scores, there)
    return (scores - mean) / torch.where(spread > 0, spread, 1)
