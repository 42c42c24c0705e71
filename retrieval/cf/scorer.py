"""What all scorers have in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from retrieval.cf.config import Config
from retrieval.data.histories import Histories
from retrieval.errors import InputError, ScoreError
from retrieval.ranking import Columns, Floats, Rankings, Top, top
from retrieval.text.facts import Facts
from retrieval.text.spread import Spread

AT_ONCE = 2**25  # scores in memory at a time: 128 MiB

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class TrainingData:
    """What a scorer may learn from.

    histories: of the users in training. vectors: (m, d) float32 of length 1, the text of each item, for scorers that
    read it. seed: for what is drawn. facts: what the catalog says of each item beside its text. spread: how far the
    vectors spread, None where they tell themselves.
    """

    histories: Histories
    vectors: Floats | None = None
    seed: int = 0
    facts: Facts | None = None
    spread: Spread | None = None

    def text(self, name: str) -> Floats:
        """The vectors, for the scorer of this name.

        Raises:
            InputError: there are none.
        """
        if self.vectors is None:
            raise InputError(f"{name} reads the items' text: it needs an index; run: whyrec index")
        return self.vectors


class System(ABC):
    """Anything that makes lists of items from histories."""

    name: str

    @abstractmethod
    def top(
        self,
        histories: Histories,
        k: int,
        *,
        exclude: csr_array | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> Top:
        """As `recommend`, by column."""

    def recommend(
        self,
        histories: Histories,
        k: int,
        *,
        exclude: csr_array | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> Rankings:
        """The k best items for each user, best first.

        exclude: (n, m) items that must not be listed have an entry; by default those of the histories. candidates:
        (m,) the items that may be listed at all.
        """
        return self.top(histories, k, exclude=exclude, candidates=candidates).rankings(histories.items)


class Scorer(System):
    """Scores every item for users whom it may never have seen, from their histories (fold-in).

    Made by `fit` or by `load`; afterwards it never changes. Columns are those of the histories it was fitted on.
    """

    config_type: ClassVar[type[Config]]
    predicts_values: ClassVar[bool] = False
    reads_text: ClassVar[bool] = False  # without it, all items that nobody has had are alike

    def __init__(self, config: Any, items: int):
        self.config = config
        self.items = items

    @classmethod
    @abstractmethod
    def fit(cls, data: TrainingData, config: Any) -> Self:
        """Learn from the data.

        Raises:
            InputError: the data do not have what this scorer needs.
        """

    @abstractmethod
    def _score(self, histories: Histories) -> Floats:
        """(n, m) float32, a new array, for a batch that fits in memory."""

    @abstractmethod
    def arrays(self) -> Arrays:
        """All that was learnt, to be saved."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, config: Any, items: int, arrays: Arrays) -> Self:
        """The scorer whose `arrays` these are."""

    def score(self, histories: Histories, items: Columns | None = None) -> Floats:
        """(n, m) float32, higher is better; only the columns ``items`` when given. Empty histories are fine.

        Raises:
            ScoreError: a score is NaN.
        """
        self._check(histories)
        scores = self._score(histories)
        if np.isnan(scores).any():
            raise ScoreError(f"{self.name} gave a score that is not a number")
        return scores if items is None else np.ascontiguousarray(scores[:, items])

    def top(
        self,
        histories: Histories,
        k: int,
        *,
        exclude: csr_array | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> Top:
        """As `recommend`, by column; users are scored in chunks, so memory stays bounded."""
        self._check(histories)
        excluded = histories.values if exclude is None else exclude
        size = max(1, AT_ONCE // max(1, self.items))
        parts = []
        for start in range(0, max(1, len(histories)), size):
            rows = slice(start, start + size)
            scores = self._score(histories.take(rows))
            parts.append(top(mask(scores, excluded[rows], candidates), k, self.name))
        return Top(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("columns", "scores")))

    def _check(self, histories: Histories) -> None:
        if len(histories.items) != self.items:
            raise ValueError(f"{self.name} knows {self.items} items, the histories have {len(histories.items)}")


def mask(scores: Floats, exclude: csr_array, candidates: NDArray[np.bool_] | None) -> Floats:
    """Put ``-inf`` in place of the scores of what must not be listed; changes ``scores`` and returns them."""
    scores[np.repeat(np.arange(exclude.shape[0]), np.diff(exclude.indptr)), exclude.indices] = -np.inf
    if candidates is not None:
        scores[:, ~candidates] = -np.inf
    return scores
