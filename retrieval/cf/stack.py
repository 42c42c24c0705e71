"""A model of models: gradient-boosted trees over what the scorers say."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from retrieval.errors import ModelError, first_line
from retrieval.fusion import Present, ranks, standardise
from retrieval.ranking import Floats

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

# What the file of a model may hold beside what skops trusts by itself.
TRUSTED = ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",)


class Stack:
    """Predicts whether a candidate is relevant from each scorer's z-score and rank and the history's length.

    Stacked generalisation (Wolpert 1992) with scikit-learn's histogram trees. scikit-learn and skops take seconds to
    import, so they are imported where they are used.
    """

    def __init__(self, model: "HistGradientBoostingClassifier"):
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
        from sklearn.ensemble import HistGradientBoostingClassifier

        model = HistGradientBoostingClassifier(
            max_iter=100,
            learning_rate=0.05,
            max_leaf_nodes=8,
            min_samples_leaf=50,
            early_stopping=False,
            random_state=seed,
        )
        with threadpool_limits(1, "openmp"):  # more threads cost more than they gain, here and in scoring
            model.fit(_features(scores, present, lengths)[present], relevant[present])
        return cls(model)

    def score(self, scores: Floats, present: Present, lengths: NDArray[np.int64]) -> Floats:
        """(n, c) log-odds of being relevant, ``-inf`` where there is no candidate."""
        fused = np.full(present.shape, -np.inf, dtype=np.float32)
        if present.any():
            with threadpool_limits(1, "openmp"):
                fused[present] = self._model.decision_function(_features(scores, present, lengths)[present])
        return fused

    def save(self, path: Path) -> None:
        """Write the trees in the format of skops, which holds no code."""
        import skops.io

        skops.io.dump(self._model, path)

    @classmethod
    def load(cls, path: Path) -> "Stack":
        """Read what `save` wrote.

        Raises:
            ModelError: the file is missing, damaged or holds something else.
        """
        import skops.io
        from sklearn.ensemble import HistGradientBoostingClassifier

        try:
            model = skops.io.load(path, trusted=list(TRUSTED))
        except Exception as error:  # skops raises what zip files, JSON and numpy raise
            raise ModelError(f"{path} cannot be read ({first_line(error)}); run: whyrec tune fusion") from error
        if not isinstance(model, HistGradientBoostingClassifier):
            raise ModelError(f"{path} holds a {type(model).__name__}, not boosted trees; run: whyrec tune fusion")
        return cls(model)


def _features(scores: Floats, present: Present, lengths: NDArray[np.int64]) -> NDArray[Any]:
    """(n, c, 2s + 1)."""
    z, rank = standardise(scores, present), np.log(ranks(scores, present))
    length = np.broadcast_to(np.log1p(lengths)[:, None], present.shape)
    return np.stack([*z, *rank, length], axis=-1).astype(np.float32)
