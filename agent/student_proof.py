"""Whether teaching a student helps: measured on validation users, with what the scorers alone would teach."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from agent.evaluation.draws import ndcg_of_draw, over_draws
from agent.evaluation.study import Study
from agent.evaluation.watch import Watch
from agent.labelling import OTHERS
from agent.lesson import Lesson
from agent.ranking_lists import Retrieval
from agent.teacher import Classroom
from retrieval.cf.scorer import System
from retrieval.cf.student import Student, StudentConfig
from retrieval.metrics import Figures
from retrieval.significance import compare

if TYPE_CHECKING:
    from finetune.distill import TeacherLists

OWN = (100.0, 300.0, 1_000.0, 3_000.0)  # what λ of the student's EASE is chosen among
FEWEST = 10  # users who can prove anything


@dataclass(frozen=True)
class Proof:
    """What validation says of teaching. alone, taught: the tables that are best for a twin, and to be taught.

    twin, student, scorers: NDCG@10 of the twin, of what was taught by the scorers, and of these. low: the lower end of
    the 95 % interval of what the student gains over the twin; lead: of what the scorers are ahead of what serves.
    users: who judged.
    """

    alone: StudentConfig
    taught: StudentConfig
    twin: float
    student: float
    scorers: float
    low: float
    lead: float
    users: int

    @property
    def proven(self) -> bool:
        """Whether teaching helps; where it does not, the twin serves."""
        return self.low > 0 and self.users >= FEWEST

    @property
    def behind(self) -> bool:
        """Whether what serves is proven worse than the scorers."""
        return self.lead > 0 and self.users >= FEWEST

    @property
    def figures(self) -> dict[str, float]:
        """Those that say how good each is."""
        return {"twin": self.twin, "student": self.student, "scorers": self.scorers, "low": self.low}


@dataclass(frozen=True)
class _Draw:
    """One draw of what validation asks for; scorers: trained without it; lists: what they teach."""

    part: Study
    scorers: System
    lists: "TeacherLists"


class Prover:
    """Teaches students what the scorers list before validation, and asks validation users for each draw of items."""

    def __init__(self, study: Study, retrieval: Retrieval, config: StudentConfig, lesson: Lesson, watch: Watch):
        self._study = study
        self._retrieval = retrieval
        self._config = config
        self._lesson = lesson
        self._watch = watch

    def run(self) -> Proof:
        """Compare twin, student and scorers over all draws of items.

        Where items with events are ranked, λ of their EASE is chosen first, on one half of the users, for the twin and
        for what is taught; the other half judges.

        Raises:
            SplitError: nobody is left to validate on.
        """
        every = [self._config] if self._study.name == "cold-items" else [replace(self._config, own=o) for o in OWN]
        figures = {config: self._validated(config) for config in every}
        alone = taught = every[0]
        users = len(figures[alone][0])
        judge = np.ones(users, dtype=np.bool_)
        if len(every) > 1 and users >= 2 * FEWEST:
            judge = np.random.default_rng(self._study.seed).permutation(users) % 2 == 0
            alone = max(every, key=lambda config: float(figures[config][0][~judge].mean()))
            taught = max(every, key=lambda config: float(figures[config][1][~judge].mean()))
        before, after, scorers = figures[alone][0][judge], figures[taught][1][judge], self._by_scorers[judge]
        twin, student, by_scorers = (float(one.mean()) for one in (before, after, scorers))
        low = self._gain(after, before)
        lead = self._gain(scorers, after if low > 0 else before)
        return Proof(alone, taught, twin, student, by_scorers, low, lead, len(after))

    def _gain(self, one: Figures, other: Figures) -> float:
        """The lower end of the interval of ``one − other``."""
        return compare(one, [other], self._study.seed)[0].low

    def _validated(self, config: StudentConfig) -> tuple[Figures, Figures]:
        """NDCG@10 of each user by the twin and by the student."""
        means = over_draws([self._on(draw, config) for draw in self._draws])
        return means["before"].to_numpy(), means["after"].to_numpy()

    @cached_property
    def _by_scorers(self) -> Figures:
        """NDCG@10 of each user by the scorers, in the order of `_validated`."""
        draws = [ndcg_of_draw(one.part, one.part.task("validation"), {"ndcg": one.scorers}) for one in self._draws]
        return over_draws(draws)["ndcg"].to_numpy()

    @cached_property
    def _draws(self) -> list["_Draw"]:
        """What every draw of items teaches, whatever the tables."""
        draws = []
        for part in self._study.validations:
            room = Classroom.of_validation(part)
            scorers = self._retrieval.fit(room.data)
            draws.append(_Draw(part, scorers, scorers_lists(scorers, room, part)))
        return draws

    def _on(self, draw: "_Draw", config: StudentConfig) -> pl.DataFrame:
        twin = Student.fit(draw.part.training_data("validation"), config)
        read, lists = (lambda: draw.part.sequences("validation")), (lambda: draw.lists)
        taught = self._lesson.taught_to(twin, read, lists, self._watch, "Proving on validation that it helps")
        return ndcg_of_draw(draw.part, draw.part.task("validation"), {"before": twin, "after": taught})


def scorers_lists(scorers: System, room: Classroom, study: Study) -> "TeacherLists":
    """What `whyrec label` lists without a language model: of as many people as it asks the scorers for."""
    from finetune.distill import TeacherLists

    people = room.data.histories
    drawn = np.random.default_rng(study.seed).permutation(np.flatnonzero(people.counts > 0))[:OTHERS]
    people = people.take(np.sort(drawn))
    found = scorers.top(people, study.settings.ranking.candidates, candidates=room.among)
    return TeacherLists(people, found.columns, found.scores, room.among)
