"""How much the language model may say in the order of a list: what validation has proven, and no more."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise, product
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import ModelError
from retrieval.fusion import standardise
from retrieval.metrics import Figures, ranking_metrics
from retrieval.ranking import Floats
from retrieval.significance import compare

PLACES = 10
HISTORY_ENDS = (20, 100)  # events; the groups of people that have a weight of their own
KINDS = ("cold", "warm")  # items that nobody has had, and others
GRID = np.linspace(0, 1, 21)
COARSE = np.linspace(0, 1, 11)  # where both kinds are in the lists
EVERYBODY = "everybody"
RARE = 0.02  # of the candidates: fewer of a kind say nothing about it


@dataclass(frozen=True)
class JudgedList:
    """One person's candidates (N,) with both scores, on validation.

    relevant: which are to be found; held_out: how many there are to be found in all. warm: which items had events in
    training. history: the number of events known of the person.
    """

    retrieved: Floats
    ranked: Floats
    relevant: NDArray[np.bool_]
    held_out: int
    warm: NDArray[np.bool_]
    history: int


@dataclass(frozen=True)
class Stratum:
    """α for each kind of item, and what it showed: NDCG@10 before and after on lists it was not chosen on.

    low: the lower end of the gain's 95 % interval.
    """

    alpha: Mapping[str, float]
    before: float
    after: float
    low: float
    lists: int


@dataclass(frozen=True)
class Gate:
    """The language model's weight α for each group of people and kind of item; 0 where no gain is proven.

    ``final = (1 − α) z(retrieved) + α z(language model)``, z over the list of candidates.
    """

    strata: Mapping[str, Stratum] = field(default_factory=dict)

    @property
    def opens(self) -> bool:
        """Whether the language model has a say anywhere."""
        return any(alpha > 0 for stratum in self.strata.values() for alpha in stratum.alpha.values())

    def alphas(self, warm: NDArray[np.bool_], history: int) -> Floats:
        """(N,) α of each candidate, for a person with so many events."""
        stratum = self.strata.get(group_of(history))
        weights = stratum.alpha if stratum else {}
        cold, known = (weights.get(kind, 0.0) for kind in KINDS)
        return np.where(warm, known, cold).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {name: asdict(stratum) for name, stratum in self.strata.items()}

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """From `to_json`.

        Raises:
            ModelError: it is something else.
        """
        try:
            return cls({name: Stratum(**stratum) for name, stratum in values.items()})
        except (AttributeError, TypeError) as error:
            raise ModelError(f"the gate of the ranker cannot be read ({error})") from error


CLOSED = Gate()


def group_of(history: int) -> str:
    """The group of people with so many events."""
    ends = (0, *HISTORY_ENDS)
    for low, high in pairwise(ends):
        if history <= high:
            return f"history={low + bool(low)}-{high}"
    return f"history={ends[-1] + 1}+"


def put_together(retrieved: Floats, ranked: Floats, alphas: Floats) -> Floats:
    """(N,) the final score of one list's candidates."""
    return np.asarray((1 - alphas) * standardise(retrieved) + alphas * standardise(ranked), dtype=np.float32)


def fit_gate(lists: Sequence[JudgedList], seed: int) -> Gate:
    """Choose α on validation lists and keep it where the gain is proven.

    α is chosen on each half of the lists for the other; the gain there must be above 0 with 95 % confidence (paired
    bootstrap). A group of people has its own α if that is proven by itself; else the one of everybody, if that is
    proven and the group does not lose by it; else 0.
    """
    everybody = _judged(JudgedLists.of(lists), seed)
    strata = {EVERYBODY: everybody}
    for name in dict.fromkeys(group_of(one.history) for one in sorted(lists, key=lambda one: one.history)):
        group = JudgedLists.of([one for one in lists if group_of(one.history) == name])
        own = _judged(group, seed)
        if any(own.alpha.values()) or not any(everybody.alpha.values()):
            strata[name] = own
            continue
        before, after = group.figures({}), group.figures(everybody.alpha)
        gain = float((after - before).mean())
        shared = everybody.alpha if gain > 0 else dict.fromkeys(KINDS, 0.0)
        strata[name] = Stratum(shared, float(before.mean()), float(after.mean()), own.low, len(group))
    return Gate(strata)


@dataclass(frozen=True)
class JudgedLists:
    """Lists side by side, padded to the longest, (n, c); scores are z-scores."""

    retrieved: Floats
    ranked: Floats
    relevant: NDArray[np.bool_]
    warm: NDArray[np.bool_]
    there: NDArray[np.bool_]
    held_out: NDArray[np.int64]

    @classmethod
    def of(cls, lists: Sequence[JudgedList]) -> Self:
        """From single ones."""
        width = max((len(one.retrieved) for one in lists), default=0)
        shape = (len(lists), width)
        retrieved, ranked = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
        relevant, warm, there = (np.zeros(shape, dtype=np.bool_) for _ in range(3))
        for row, one in enumerate(lists):
            size = len(one.retrieved)
            retrieved[row, :size], ranked[row, :size] = standardise(one.retrieved), standardise(one.ranked)
            relevant[row, :size], warm[row, :size], there[row, :size] = one.relevant, one.warm, True
        return cls(retrieved, ranked, relevant, warm, there, np.array([one.held_out for one in lists], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.held_out)

    def take(self, rows: NDArray[np.int64]) -> "JudgedLists":
        """Some of them."""
        return JudgedLists(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of items that are not rare here."""
        shares = {"cold": (self.there & ~self.warm).sum(), "warm": (self.there & self.warm).sum()}
        return tuple(kind for kind in KINDS if shares[kind] > RARE * max(1, self.there.sum()))

    def figures(self, alpha: Mapping[str, float]) -> Figures:
        """(n,) NDCG@10 with these weights."""
        cold, warm = (alpha.get(kind, 0.0) for kind in KINDS)
        weights = np.where(self.warm, warm, cold)
        fused = np.where(self.there, (1 - weights) * self.retrieved + weights * self.ranked, -np.inf)
        best = np.argsort(-fused, axis=1, kind="stable")[:, :PLACES]
        hits = np.take_along_axis(self.relevant & self.there, best, axis=1)
        return ranking_metrics(hits, self.held_out, PLACES)["ndcg"]


def _chosen(lists: JudgedLists) -> dict[str, float]:
    """The weights with the highest mean NDCG@10, the least of equal ones."""
    kinds = lists.kinds
    grid = GRID if len(kinds) == 1 else COARSE
    every = [dict(zip(kinds, alphas, strict=True)) for alphas in product(grid.round(2).tolist(), repeat=len(kinds))]
    return max(every, key=lambda alpha: (float(lists.figures(alpha).mean()), -sum(alpha.values())))


def _judged(lists: JudgedLists, seed: int) -> Stratum:
    halves = np.array_split(np.random.default_rng(seed).permutation(len(lists)), 2)
    before = lists.figures({})
    if min(len(half) for half in halves) == 0:
        mean = float(before.mean()) if len(lists) else 0.0
        return Stratum(dict.fromkeys(KINDS, 0.0), mean, mean, 0.0, len(lists))
    after = np.empty(len(lists))
    for chosen, judged in (halves, halves[::-1]):
        after[judged] = lists.take(judged).figures(_chosen(lists.take(chosen)))
    gain = compare(after, [before], seed)[0]
    best = _chosen(lists) if gain.low > 0 else {}
    alpha = {kind: best.get(kind, 0.0) for kind in KINDS}
    return Stratum(alpha, float(before.mean()), float(after.mean()), gain.low, len(lists))
