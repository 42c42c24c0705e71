"""What the newest events say of an artefact that has seen none of them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from agent.evaluation.draws import ndcg_of_draw
from agent.evaluation.study import Question, Study
from agent.models import Models
from agent.student_proof import FEWEST
from retrieval.cf.scorer import System
from retrieval.data.newest import NEWEST
from retrieval.data.splits import Split
from retrieval.data.workspace import Workspace
from retrieval.metrics import Figures
from retrieval.significance import Difference, bootstrap_means, compare, interval

USERS = 1_000  # who are asked, at most


class NewestStudy(Study):
    """A study whose test part are the newest events; its workspace is a trial that has the others alone."""

    def __init__(self, trial: Workspace, models: Models, split: Split, seed: int):
        super().__init__(trial, models.settings, models, Question(NEWEST, users=USERS), seed)
        self._newest = split

    @cached_property
    def split(self) -> Split:
        """The one that was given; it is not written."""
        return self._newest


@dataclass(frozen=True)
class Quality:
    """NDCG@10 of each user who has something to be found; mean, and the 95 % interval of the mean."""

    by_user: Figures
    mean: float
    low: float
    high: float

    @property
    def users(self) -> int:
        """How many they are."""
        return len(self.by_user)

    @property
    def tells(self) -> bool:
        """Whether there are enough users to tell anything."""
        return self.users >= FEWEST

    def has_fallen(self, then: float, share: float) -> bool:
        """Whether it is less than ``then`` by more than this share, which chance does not explain."""
        return self.tells and self.mean < then * (1 - share) and self.high < then


def quality(study: NewestStudy, system: System) -> Quality:
    """How well the system predicts the newest events.

    Raises:
        SplitError: there is nobody to predict for.
    """
    found = ndcg_of_draw(study, study.task("test"), {system.name: system})[system.name].to_numpy()
    known = found[~np.isnan(found)]
    if len(known) == 0:
        return Quality(known, float("nan"), float("nan"), float("nan"))
    return Quality(known, float(known.mean()), *interval(bootstrap_means(known[:, None], study.seed)[:, 0]))


def gain(study: NewestStudy, new: Quality, old: Quality) -> Difference:
    """What the new one gains over the old one, user by user."""
    return compare(new.by_user, [old.by_user], study.seed)[0]
