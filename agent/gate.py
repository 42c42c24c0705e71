"""How much the language model may say in the order of a list: what validation has proven, and no more."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
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
COLD, WARM = "cold", "warm"  # lists of items most of which nobody has had, and other lists
GRID = tuple(round(0.05 * step, 2) for step in range(21))
EVERYBODY = "everybody"
FEWEST = 10  # lists that prove anything, of each draw


@dataclass(frozen=True)
class JudgedList:
    """One person's candidates (N,) with both scores, on validation.

    relevant: which are to be found; held_out: how many there are to be found in all. warm: which items had events in
    training. history: the number of events known of the person. draw: the number of the validation that it is of.
    """

    retrieved: Floats
    ranked: Floats
    relevant: NDArray[np.bool_]
    held_out: int
    warm: NDArray[np.bool_]
    history: int
    draw: int = 0


@dataclass(frozen=True)
class Stratum:
    """α for the lists of one kind of one group of people, and what it showed there.

    before, after: NDCG@10 on lists that it was not chosen on. low: the lower end of the gain's 95 % interval. gains:
    the mean gain in each draw of items, or period. Of a group with everybody's weight, after and gains are by that.
    """

    kind: str
    people: str
    alpha: float
    before: float
    after: float
    low: float
    lists: int
    gains: tuple[float, ...]

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """From `dataclasses.asdict`."""
        return cls(**{**values, "gains": tuple(values["gains"])})


@dataclass(frozen=True)
class Gate:
    """The language model's weight α for each kind of lists and group of people; 0 where no gain is proven.

    ``final = (1 − α) z(retrieved) + α z(language model)``, z over the list of candidates. Lists of new items and others
    are proven apart: what helps to order items that many have had says nothing of those that nobody has had.
    """

    strata: tuple[Stratum, ...] = ()

    @property
    def opens(self) -> bool:
        """Whether the language model has a say anywhere."""
        return any(one.alpha > 0 for one in self.strata)

    def alpha(self, warm: NDArray[np.bool_], history: int) -> float:
        """Of the list of these candidates (N,), warm or not, for a person with so many events."""
        found = self._of(kind_of(warm), group_of(history))
        return found.alpha if found else 0.0

    def may_speak(self, history: int) -> bool:
        """Whether it has a say in some list for a person with so many events."""
        return any(found.alpha > 0 for kind in (COLD, WARM) if (found := self._of(kind, group_of(history))))

    @property
    def everybody(self) -> tuple[Stratum, ...]:
        """What all people's lists showed, one for each kind."""
        return tuple(one for one in self.strata if one.people == EVERYBODY)

    @property
    def reached(self) -> float:
        """NDCG@10 with the language model, over all lists that were judged; there must be some."""
        return sum(one.after * one.lists for one in self.everybody) / sum(one.lists for one in self.everybody)

    def _of(self, kind: str, people: str) -> Stratum | None:
        return next((one for one in self.strata if (one.kind, one.people) == (kind, people)), None)

    def to_json(self) -> list[dict[str, Any]]:
        """As plain data."""
        return [asdict(one) for one in self.strata]

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """From `to_json`.

        Raises:
            ModelError: it is something else.
        """
        try:
            return cls(tuple(Stratum.from_json(one) for one in values))
        except (TypeError, KeyError) as error:
            raise ModelError(f"the gate of the ranker cannot be read ({error})") from error


CLOSED = Gate()


def said_gains(gains: Sequence[float]) -> str:
    """The gain in each draw, to be read."""
    return " ".join(f"{gain:+.3f}" for gain in gains)


def group_of(history: int) -> str:
    """The group of people with so many events."""
    ends = (0, *HISTORY_ENDS)
    for low, high in pairwise(ends):
        if history <= high:
            return f"history={low + bool(low)}-{high}"
    return f"history={ends[-1] + 1}+"


def kind_of(warm: NDArray[np.bool_]) -> str:
    """The kind of a list of candidates, by which of them somebody has had."""
    return COLD if 2 * int(warm.sum()) < len(warm) else WARM


def put_together(retrieved: Floats, ranked: Floats, alpha: float) -> Floats:
    """(N,) the final score of one list's candidates."""
    return np.asarray((1 - alpha) * standardise(retrieved) + alpha * standardise(ranked), dtype=np.float32)


def fit_gate(lists: Sequence[JudgedList], draws: Sequence[Sequence[int]], seed: int) -> Gate:
    """Choose α on validation lists and keep it where the gain is proven.

    ``draws``: the numbers of the validations of each study, those that nobody was asked about too.

    Where the lists are of several draws of held-out items, or of several periods, α is chosen on the others for each
    draw, and is that with the largest gain in the draw that gains least; else it is chosen on each half of the lists
    for the other. The gain where it was not chosen must be above 0 with 95 % confidence (paired bootstrap over people),
    and above 0 in every draw: an interval over people says nothing of other items or times. A group of people has its
    own α if that is proven by itself; else the one of everybody, if that is proven and the group loses by it in no
    draw; else 0, as with fewer than ten lists of a draw. Lists of new items and others each have all of this to
    themselves; a study with fewer than ten lists of a kind in a draw says nothing of that kind if another says it.
    """
    strata: list[Stratum] = []
    for kind in (COLD, WARM):
        own = [one for one in lists if kind_of(one.warm) == kind]
        counts = Counter(one.draw for one in own)
        proving = [study for study in draws if all(counts[draw] >= FEWEST for draw in study)] or draws
        asked = [draw for study in proving for draw in study]
        own = [one for one in own if one.draw in asked]
        strata += _strata(kind, own, asked, seed) if own else []
    return Gate(tuple(strata))


def _strata(kind: str, lists: Sequence[JudgedList], draws: Sequence[int], seed: int) -> list[Stratum]:
    everybody = _judged(kind, EVERYBODY, JudgedLists.of(lists), draws, seed)
    strata = [everybody]
    for name in dict.fromkeys(group_of(one.history) for one in sorted(lists, key=lambda one: one.history)):
        group = JudgedLists.of([one for one in lists if group_of(one.history) == name])
        own = _judged(kind, name, group, draws, seed)
        if not own.alpha and everybody.alpha:
            shared = group.figures(everybody.alpha)
            gains = group.by_draw(shared - group.figures(0.0))
            if group.enough(draws) and min(gains) > 0:
                own = replace(own, alpha=everybody.alpha, after=float(shared.mean()), gains=gains)
        strata.append(own)
    return strata


@dataclass(frozen=True)
class JudgedLists:
    """Lists side by side, padded to the longest, (n, c); scores are z-scores."""

    retrieved: Floats
    ranked: Floats
    relevant: NDArray[np.bool_]
    there: NDArray[np.bool_]
    held_out: NDArray[np.int64]
    draw: NDArray[np.int64]

    @classmethod
    def of(cls, lists: Sequence[JudgedList]) -> Self:
        """From single ones."""
        width = max((len(one.retrieved) for one in lists), default=0)
        shape = (len(lists), width)
        retrieved, ranked = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
        relevant, there = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
        for row, one in enumerate(lists):
            size = len(one.retrieved)
            retrieved[row, :size], ranked[row, :size] = standardise(one.retrieved), standardise(one.ranked)
            relevant[row, :size], there[row, :size] = one.relevant, True
        held_out = np.array([one.held_out for one in lists], dtype=np.int64)
        draw = np.array([one.draw for one in lists], dtype=np.int64)
        return cls(retrieved, ranked, relevant, there, held_out, draw)

    def __len__(self) -> int:
        return len(self.held_out)

    def take(self, rows: NDArray[np.int64]) -> "JudgedLists":
        """Some of them."""
        return JudgedLists(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def figures(self, alpha: float) -> Figures:
        """(n,) NDCG@10 with this weight."""
        fused = np.where(self.there, (1 - alpha) * self.retrieved + alpha * self.ranked, -np.inf)
        best = np.argsort(-fused, axis=1, kind="stable")[:, :PLACES]
        hits = np.take_along_axis(self.relevant & self.there, best, axis=1)
        return ranking_metrics(hits, self.held_out, PLACES)["ndcg"]

    def enough(self, draws: Sequence[int]) -> bool:
        """Whether each of these draws has so many lists that they prove something."""
        return all(np.count_nonzero(self.draw == draw) >= FEWEST for draw in draws)

    def by_draw(self, figures: Figures) -> tuple[float, ...]:
        """The mean of figures (n,) in each draw that there is."""
        return tuple(float(figures[self.draw == draw].mean()) for draw in np.unique(self.draw))

    def parts(self, seed: int) -> list[NDArray[np.int64]]:
        """Rows to judge by what was chosen on all others: those of each draw, or the halves of a single one."""
        draws = np.unique(self.draw)
        if len(draws) > 1:
            return [np.flatnonzero(self.draw == draw).astype(np.int64) for draw in draws]
        return np.array_split(np.random.default_rng(seed).permutation(len(self)), 2)


def _chosen(lists: JudgedLists) -> float:
    """The weight with the highest gain in the draw that gains least, the least of equal ones."""
    before = lists.figures(0.0)
    return max(GRID, key=lambda alpha: (min(lists.by_draw(lists.figures(alpha) - before)), -alpha))


def _judged(kind: str, people: str, lists: JudgedLists, draws: Sequence[int], seed: int) -> Stratum:
    before = lists.figures(0.0)
    mean = float(before.mean())
    if not lists.enough(draws):
        return Stratum(kind, people, 0.0, mean, mean, 0.0, len(lists), ())
    after = np.empty(len(lists))
    for judged in lists.parts(seed):
        others = np.setdiff1d(np.arange(len(lists)), judged)
        after[judged] = lists.take(judged).figures(_chosen(lists.take(others)))
    gains = lists.by_draw(after - before)
    low = compare(after, [before], seed)[0].low
    alpha = _chosen(lists) if low > 0 and min(gains) > 0 else 0.0
    return Stratum(kind, people, alpha, mean, float(after.mean()), low, len(lists), gains)
