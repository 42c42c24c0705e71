"""NDCG@10 of each validation user, as the mean over the draws of items, or periods, that it is in."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from agent.evaluation.study import Study
from agent.evaluation.tuning import PLACES
from retrieval.cf.scorer import System
from retrieval.data.splits import Task
from retrieval.metrics import find_hits, ranking_metrics


def ndcg_of_draw(part: Study, task: Task, systems: Mapping[str, System]) -> pl.DataFrame:
    """A row for each user of a draw, a column for each system; NaN for a user with nothing to be found."""
    relevant = part.relevant(task)
    found: dict[str, Any] = {"user": task.histories.users}
    for name, system in systems.items():
        listed = system.top(task.histories, PLACES, candidates=task.candidates).columns
        found[name] = ranking_metrics(find_hits(listed, relevant), np.diff(relevant.indptr), PLACES)["ndcg"]
    return pl.DataFrame(found)


def over_draws(draws: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """A row for each user who has something to be found; who is in several draws has the mean of them."""
    return pl.concat(draws).fill_nan(None).drop_nulls().group_by("user", maintain_order=True).mean()
