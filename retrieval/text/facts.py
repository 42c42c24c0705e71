"""What a catalog's fields say beside the text: numbers and labels, as a kernel between items."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from retrieval.data.catalog import Catalog
from retrieval.data.histories import sparse
from retrieval.ranking import Floats

WIDTH = 0.4  # standard deviations of a number: within them items are of one kind
FAR = 1e3  # standard deviations: where an unknown number is put, near other unknown ones alone


@dataclass(frozen=True)
class Facts:
    """The facts of m items.

    numbers: (m, p) float32, z-scores over the catalog. labels: (m, c) float32, the values of text fields that at least
    two items share, weighted by inverse document frequency; rows of length 1, or 0 where an item has none.
    """

    numbers: Floats
    labels: csr_array

    @classmethod
    def of(cls, catalog: Catalog, ids: Sequence[str]) -> Self:
        """Those of the items with these ids, in this order."""
        rows = [catalog.row(item_id) for item_id in ids]
        fields = [name for name in catalog.fields if catalog.frame.schema[name].is_numeric()]
        numbers = [_standardised(catalog.frame[name].cast(float).to_numpy()[rows]) for name in fields]
        found = [np.empty((len(ids), 0), dtype=np.float32), *(column[:, None] for column in numbers)]
        return cls(np.concatenate(found, axis=1), _labels(catalog, ids))

    def __len__(self) -> int:
        return len(self.numbers)

    def __bool__(self) -> bool:
        """Whether there is any fact."""
        return bool(self.numbers.shape[1] or self.labels.shape[1])

    def take(self, rows: NDArray[np.int64] | slice) -> "Facts":
        """Some of the items."""
        return Facts(self.numbers[rows], self.labels[rows])

    def kernel(self, others: "Facts") -> Floats:
        """(m, n) how alike items are, within [0, 1]: the cosine of their labels, less the farther apart their numbers.

        ``exp(−½ mean_p(Δ²) / .4²) · cos``, without the part that a catalog has no field for; positive semidefinite.
        """
        alike = np.ones((len(self), len(others)), dtype=np.float32)
        if self.numbers.shape[1]:
            apart = np.zeros_like(alike)
            for mine, theirs in zip(self.numbers.T, others.numbers.T, strict=True):
                apart += (mine[:, None] - theirs[None, :]) ** 2
            alike = np.exp(apart * np.float32(-0.5 / WIDTH**2 / self.numbers.shape[1]))
        if self.labels.shape[1]:
            alike *= (self.labels @ others.labels.T).toarray()
        return alike


def _standardised(values: NDArray[np.float64]) -> Floats:
    known = np.isfinite(values)
    spread = float(values[known].std()) if known.any() else 0.0
    centred = values - (values[known].mean() if known.any() else 0.0)
    return np.where(known, centred / (spread or 1.0), FAR).astype(np.float32)


def _labels(catalog: Catalog, ids: Sequence[str]) -> csr_array:
    found = [[(fact.field, fact.value) for fact in catalog.attributes(item_id)] for item_id in ids]
    counts = Counter(label for labels in found for label in set(labels))
    place = {label: column for column, label in enumerate(sorted(label for label, n in counts.items() if n > 1))}
    rows, columns, values = [], [], []
    for row, labels in enumerate(found):
        shared = sorted({label for label in labels if label in place})
        weights = np.log(len(ids) / np.array([counts[label] for label in shared], dtype=np.float64))
        length = np.linalg.norm(weights)
        rows += [row] * len(shared)
        columns += [place[label] for label in shared]
        values += (weights / (length or 1.0)).tolist()
    return sparse(np.array(rows), np.array(columns), np.array(values), shape=(len(ids), len(place)))
