"""The same list for everybody: what most people had."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from retrieval.cf.config import Config
from retrieval.cf.scorer import Arrays, Scorer, TrainingData
from retrieval.data.histories import Histories
from retrieval.ranking import Floats


@dataclass(frozen=True)
class PopularityConfig(Config):
    """Popularity has no parameter but what counts as positive."""


class Popularity(Scorer):
    """The number of users with a positive event for the item, for every user alike."""

    name = "popularity"
    config_type = PopularityConfig

    def __init__(self, config: PopularityConfig, counts: Floats):
        super().__init__(config, len(counts))
        self._counts = counts

    @classmethod
    def fit(cls, data: TrainingData, config: PopularityConfig) -> Self:
        """Count."""
        positives = data.histories.positives(config.positive_from)
        return cls(config, np.asarray(positives.sum(axis=0), dtype=np.float32).ravel())

    def _score(self, histories: Histories) -> Floats:
        return np.repeat(self._counts[None, :], len(histories), axis=0)

    def arrays(self) -> Arrays:
        """counts: (m,)."""
        return {"counts": self._counts}

    @classmethod
    def from_arrays(cls, config: PopularityConfig, items: int, arrays: Arrays) -> Self:  # noqa: ARG003
        """From `arrays`."""
        return cls(config, arrays["counts"])
