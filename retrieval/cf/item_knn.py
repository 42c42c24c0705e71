"""Items that the same people chose."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.sparse import csr_array

from retrieval.cf.config import Config, searched
from retrieval.cf.neighbours import similarities
from retrieval.cf.scorer import Arrays, Scorer, TrainingData
from retrieval.data.histories import Histories
from retrieval.ranking import Floats


@dataclass(frozen=True)
class ItemKnnConfig(Config):
    """neighbours: how many items each item keeps. shrink: common users that halve a similarity's trust."""

    neighbours: int = searched(100, 5, 1000, log=True)
    shrink: float = searched(10.0, 0, 200)


class ItemKnn(Scorer):
    """The sum of an item's similarities to the items of the history (Deshpande & Karypis 2004, section 4.2).

    Similarity is the cosine between the sets of users, shrunk where few users are shared.
    """

    name = "item-knn"
    config_type = ItemKnnConfig

    def __init__(self, config: ItemKnnConfig, similar: csr_array):
        super().__init__(config, similar.shape[0])
        self._similar = similar

    @classmethod
    def fit(cls, data: TrainingData, config: ItemKnnConfig) -> Self:
        """Find each item's neighbours."""
        positives = data.histories.positives(config.positive_from)
        return cls(config, similarities(positives, positives, config.neighbours, config.shrink))

    def _score(self, histories: Histories) -> Floats:
        found = csr_array(histories.positives(self.config.positive_from) @ self._similar)
        return np.asarray(found.toarray(), dtype=np.float32)

    def arrays(self) -> Arrays:
        """data, indices, indptr: the similarities (scipy's CSR)."""
        return {"data": self._similar.data, "indices": self._similar.indices, "indptr": self._similar.indptr}

    @classmethod
    def from_arrays(cls, config: ItemKnnConfig, items: int, arrays: Arrays) -> Self:
        """From `arrays`."""
        return cls(config, csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=(items, items)))
