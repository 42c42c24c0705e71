"""What scorers find for validation users, to try fusions on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.evaluation.study import Study
from agent.evaluation.tuning import PLACES
from retrieval.cf.fused import POOL, Candidates, Fusion, find_candidates, joined_lists
from retrieval.cf.scorer import Scorer
from retrieval.data.histories import Histories
from retrieval.data.splits import Task
from retrieval.metrics import Figures, find_hits, ranking_metrics
from retrieval.ranking import top


@dataclass(frozen=True)
class Lists:
    """Candidates of validation users with what is relevant, (n, c), and how many relevant items each user has."""

    candidates: Candidates
    relevant: NDArray[np.bool_]
    counts: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence["Lists"]) -> "Lists":
        """Those of several validations below each other."""
        return cls(
            Candidates.joined([part.candidates for part in parts]),
            joined_lists([part.relevant for part in parts]),
            np.concatenate([part.counts for part in parts]),
        )

    def take(self, rows: NDArray[np.int64]) -> "Lists":
        """Some of the users."""
        found = self.candidates
        by = None if found.found is None else found.found[:, rows]
        part = Candidates(found.columns[rows], found.scores[:, rows], found.lengths[rows], by)
        return Lists(part, self.relevant[rows], self.counts[rows])

    def figures(self, fusion: Fusion) -> Figures:
        """NDCG@10 of each user's fused list."""
        found = top(fusion.fuse(self.candidates), PLACES, "fusion")  # places in a list go by column, so do ties
        hits = np.take_along_axis(self.relevant, np.maximum(found.columns, 0), axis=1) & (found.columns >= 0)
        return ranking_metrics(hits, self.counts, PLACES)["ndcg"]

    def ndcg(self, fusion: Fusion) -> float:
        """NDCG@10 of the fused lists."""
        return float(np.nanmean(self.figures(fusion)))


def validation_lists(study: Study, task: Task, scorers: Sequence[Scorer], known: Histories | None = None) -> Lists:
    """What the scorers find for the task's users who have a relevant item.

    ``known`` is what is known of each user, by default their history; who has nothing there is left out.
    """
    relevant = study.relevant(task)
    asking = np.diff(relevant.indptr) > 0
    rows = np.flatnonzero(asking if known is None else asking & (known.counts > 0)).astype(np.int64)
    known = task.histories if known is None else known
    histories, wanted = known.take(rows), relevant[rows]
    parts = list(find_candidates(scorers, histories, POOL, task.histories.values[rows], task.candidates))
    candidates = Candidates.joined(parts)
    return Lists(candidates, find_hits(candidates.columns, wanted), np.diff(wanted.indptr).astype(np.int64))
