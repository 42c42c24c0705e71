"""A model of models: gradient-boosted trees over what the scorers say."""

from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from retrieval.errors import ModelError, first_line
from retrieval.fusion import Present, ranks, standardise
from retrieval.ranking import Floats

# What the file of a model may hold beside what skops trusts by itself.
TRUSTED = ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",)


class Stack:
    """Predicts whether a candidate is relevant from each scorer's z-score and rank and the history's length.

    Stacked generalisation (Wolpert 1992) with scikit-learn's histogram trees.
    """

    def __init__(self, model: HistGradientBoostingClassifier):
        self._model = model

    @classmethod
    def fit(
        cls,
        scores: Floats,
        present: Present,
        lengths: NDArray[np.int64],
        relevant: NDArray[np.bool_],
        seed: int,
    ) -> "Stack":
        """Learn from the candidates of users whose relevant items are known; shapes as in `Candidates`."""
        model = HistGradientBoostingClassifier(
            max_iter=100,
            learning_rate=0.05,
            max_leaf_nodes=8,
            min_samples_leaf=50,
            early_stopping=False,
            random_state=seed,
        )
        model.fit(_features(scores, present, lengths)[present], relevant[present])
        return cls(model)

    def score(self, scores: Floats, present: Present, lengths: NDArray[np.int64]) -> Floats:
        """(n, c) log-odds of being relevant, ``-inf`` where there is no candidate."""
        fused = np.full(present.shape, -np.inf, dtype=np.float32)
        if present.any():
            fused[present] = self._model.decision_function(_features(scores, present, lengths)[present])
        return fused

    def save(self, path: Path) -> None:
        """Write the trees in the format of skops, which holds no code."""
        skops.io.dump(self._model, path)

    @classmethod
    def load(cls, path: Path) -> "Stack":
        """Read what `save` wrote.

        Raises:
            ModelError: the file is missing, damaged or holds something else.
        """
        try:
            return cls(skops.io.load(path, trusted=list(TRUSTED)))
        except Exception as error:  # skops raises what zip files, JSON and numpy raise
            raise ModelError(f"{path} cannot be read ({first_line(error)}); run: whyrec tune fusion") from error


def _features(scores: Floats, present: Present, lengths: NDArray[np.int64]) -> NDArray[Any]:
    """(n, c, 2s + 1)."""
    z, rank = standardise(scores, present), np.log(ranks(scores, present))
    length = np.broadcast_to(np.log1p(lengths)[:, None], present.shape)
    return np.stack([*z, *rank, length], axis=-1).astype(np.float32)
