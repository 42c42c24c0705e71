"""Whether teaching a student helps: measured on validation users, with what the scorers alone would teach."""

from collections.abc import Sequence
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
    users: who judged. gains: what the student gains in each draw of items, or period.
    """

    alone: StudentConfig
    taught: StudentConfig
    twin: float
    student: float
    scorers: float
    low: float
    lead: float
    users: int
    gains: tuple[float, ...]

    @property
    def proven(self) -> bool:
        """Whether teaching helps, in each draw; where it does not, the twin serves."""
        return self.low > 0 and self.users >= FEWEST and min(self.gains) > 0

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
    """One draw of what validation asks for. scorers: NDCG@10 of each user by those trained without it.

    lists: what they teach.
    """

    part: Study
    scorers: pl.Series
    lists: "TeacherLists"


class Prover:
    """Teaches students what the scorers list before validation, and asks the users of each draw or period."""

    def __init__(self, study: Study, retrieval: Retrieval, config: StudentConfig, lesson: Lesson, watch: Watch):
        self._study = study
        self._retrieval = retrieval
        self._config = config
        self._lesson = lesson
        self._watch = watch

    def run(self) -> Proof:
        """Compare twin, student and scorers over all draws of items, or periods.

        Where items with events are ranked, λ of their EASE is chosen first, for the twin and for what is taught: in the
        latest of several periods, and the earlier ones judge; or on one half of the users, and the other half judges.

        Raises:
            SplitError: nobody is left to validate on.
        """
        if self._study.name == "cold-items":
            return self._proof(self._config, self._config, self._validated(self._draws, self._config, self._config))
        every = [replace(self._config, own=own) for own in OWN]
        latest, earlier = self._draws[:1], self._draws[1:]
        tried = {config: self._validated(latest, config, config)[0] for config in every}
        users = len(tried[every[0]])
        chooses = np.ones(users, dtype=np.bool_)
        if not earlier:
            chooses = np.random.default_rng(self._study.seed).permutation(users) % 2 == 1
        if chooses.sum() < FEWEST:
            chooses[:] = False
            every = [replace(self._config, own=StudentConfig.own)]
        alone = max(every, key=lambda config: float(tried[config]["before"].to_numpy()[chooses].sum()))
        taught = max(every, key=lambda config: float(tried[config]["after"].to_numpy()[chooses].sum()))
        if earlier:
            return self._proof(alone, taught, self._validated(earlier, alone, taught))
        judged = tried[alone].with_columns(tried[taught]["after"]).filter(~chooses)
        return self._proof(alone, taught, [judged])

    def _proof(self, alone: StudentConfig, taught: StudentConfig, draws: Sequence[pl.DataFrame]) -> Proof:
        """What the figures of twin, student and scorers say."""
        means = over_draws(draws)
        before, after, scorers = (means[name].to_numpy() for name in ("before", "after", "scorers"))
        twin, student, by_scorers = (float(one.mean()) for one in (before, after, scorers))
        low = self._gain(after, before)
        gains = tuple(float((one["after"] - one["before"]).to_numpy().mean()) for one in draws)
        lead = self._gain(scorers, after if low > 0 and min(gains) > 0 else before)
        return Proof(alone, taught, twin, student, by_scorers, low, lead, len(after), gains)

    def _gain(self, one: Figures, other: Figures) -> float:
        """The lower end of the interval of ``one − other``."""
        return compare(one, [other], self._study.seed)[0].low

    def _validated(self, draws: Sequence["_Draw"], alone: StudentConfig, taught: StudentConfig) -> list[pl.DataFrame]:
        """Of each draw, NDCG@10 of each user by the twin of ``alone``, by the student of ``taught``, and by scorers."""
        return [over_draws([self._on(draw, alone, taught)]) for draw in draws]

    @cached_property
    def _draws(self) -> list["_Draw"]:
        """What every draw of items teaches, whatever the tables."""
        draws = []
        for part in self._study.validations:
            room = Classroom.of_validation(part)
            scorers = self._retrieval.fit(room.data)
            figures = ndcg_of_draw(part, part.task("validation"), {"scorers": scorers})
            draws.append(_Draw(part, figures["scorers"], scorers_lists(scorers, room, part)))
        return draws

    def _on(self, draw: "_Draw", alone: StudentConfig, taught: StudentConfig) -> pl.DataFrame:
        data = draw.part.training_data("validation")
        twin = Student.fit(data, alone)
        begun = twin if taught == alone else Student.fit(data, taught)
        read, lists = (lambda: draw.part.sequences("validation")), (lambda: draw.lists)
        student = self._lesson.taught_to(begun, read, lists, self._watch, "Proving on validation that it helps")
        found = ndcg_of_draw(draw.part, draw.part.task("validation"), {"before": twin, "after": student})
        return found.with_columns(draw.scorers)


def scorers_lists(scorers: System, room: Classroom, study: Study) -> "TeacherLists":
    """What `whyrec label` lists without a language model: of as many people as it asks the scorers for."""
    from finetune.distill import TeacherLists

    people = room.data.histories
    drawn = np.random.default_rng(study.seed).permutation(np.flatnonzero(people.counts > 0))[:OTHERS]
    people = people.take(np.sort(drawn))
    found = scorers.top(people, study.settings.ranking.candidates, candidates=room.among)
    return TeacherLists(people, found.columns, found.scores, room.among)
