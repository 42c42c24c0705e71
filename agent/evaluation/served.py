"""The very pipeline that `whyrec recommend` runs, as a system that can be measured."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from agent.encoders import OFF
from agent.evaluation.study import Study
from agent.models import Models
from agent.recommender import Recommender
from agent.request import Request
from retrieval.cf.live import LiveFusion
from retrieval.cf.scorer import System
from retrieval.data.events import History
from retrieval.data.histories import Histories
from retrieval.ranking import Top
from retrieval.shaping import PLAIN, Shaping


class Served(System):
    """Asks the `Recommender` user by user, with a fusion whose scorers have seen the training part alone."""

    def __init__(self, name: str, study: Study, live: LiveFusion | None, ranker: str = OFF, shaping: Shaping = PLAIN):
        """``ranker``: the folder of one that was tuned on this split; without it, no language model has a say."""
        self.name = name
        self._shaping = shaping
        settings = study.settings.with_ranker(ranker).without_downgrade()
        models = study.models if ranker == OFF else Models(settings)
        task = study.task("test")
        had = {item_id: n for item_id, n in zip(task.items, task.popularity.tolist(), strict=True) if n > 0}
        self._recommender = Recommender(study.workspace, settings, models, live, had)

    def top(
        self,
        histories: Histories,
        k: int,
        *,
        exclude: csr_array | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> Top:
        """As `System.top`; what a user had is excluded by the recommender itself."""
        if exclude is not None:
            raise ValueError("the recommender excludes the history and nothing else")
        items = histories.items
        column_of = {item_id: column for column, item_id in enumerate(items)}
        among = None if candidates is None else frozenset(np.array(items, dtype=object)[candidates].tolist())
        columns = np.full((len(histories), k), -1, dtype=np.int64)
        scores = np.full((len(histories), k), -np.inf, dtype=np.float32)
        for row in range(len(histories)):
            part = slice(*histories.values.indptr[row : row + 2])
            had = tuple(items[column] for column in histories.values.indices[part])
            if not had:
                continue  # nobody can be recommended anything from nothing
            history = History(had, tuple(histories.values.data[part].tolist()))
            asked = Request(history=history, k=k, among=among, shaping=self._shaping)
            answer = self._recommender.recommend(asked)
            columns[row, : len(answer.rows)] = [column_of[one.item_id] for one in answer.rows]
            scores[row, : len(answer.rows)] = [one.score for one in answer.rows]
        return Top(columns, scores)
