"""What a student begins with: parameters of its tables that validation chooses."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import polars as pl

from agent.evaluation.draws import over_draws
from agent.evaluation.study import Study
from agent.evaluation.tuning import PLACES, USERS, tuned
from agent.evaluation.watch import Watch
from retrieval.cf.scorer import AT_ONCE, TrainingData
from retrieval.cf.student import Student, StudentConfig
from retrieval.cf.twin import closeness, learnt_tables
from retrieval.data.histories import strengths
from retrieval.metrics import Figures, find_hits, ranking_metrics
from retrieval.ranking import Columns, Floats, top
from retrieval.text.text_ease import TextEase

NEAR = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)
FLAT = (0.0, 0.35, 0.25)  # the last where few users tell them apart


def student_config(study: Study, trials: int, watch: Watch) -> StudentConfig:
    """What is best on validation: for the scorer of texts that the tables begin with, then for how much texts count.

    Raises:
        SplitError: nobody is left to validate on.
    """
    watch.start("Tuning the scorer that the student begins with", trials)
    config = StudentConfig(**tuned(study, TextEase.name, trials, watch.advance).parameters)
    return Closeness.judged(study.validations, config, watch).best


def untaught_config(study: Study, watch: Watch) -> StudentConfig:
    """What is best on validation where nothing is learnt from any event: `FLAT` alone.

    Raises:
        SplitError: nobody is left to validate on.
    """
    config = StudentConfig(positive_from=study.settings.events.liked_from if study.value_matters else None)
    return Closeness.judged(study.validations, config, watch, learns=False).best


@dataclass(frozen=True)
class Closeness:
    """How much texts may count. figures: (users, flat, near) NDCG@10 of each validation user."""

    config: StudentConfig
    figures: Figures
    nears: tuple[float, ...] = NEAR

    @classmethod
    def judged(cls, draws: Sequence[Study], config: StudentConfig, watch: Watch, *, learns: bool = True) -> Self:
        """By the validation users of all draws. learns: from events; else closeness is all there is."""
        watch.start("Tuning how much close texts count", len(draws))
        nears, found = NEAR if learns else NEAR[-1:], []
        for part in draws:
            data = part.training_data("validation")
            nothing = np.zeros((len(data.text(Student.name)), 0), dtype=np.float32)
            learnt = learnt_tables(data, config) if learns else (nothing, nothing)
            found.append(_by_closeness(part, data, learnt, config, nears))
            watch.advance()
        figures = over_draws(found).drop("user").to_numpy().reshape(-1, len(FLAT), len(nears))
        return cls(config, figures, nears)

    @property
    def best(self) -> StudentConfig:
        """The most cautious of both: first what is flat, each with its best near, then near."""
        nears = self.figures.mean(axis=0).argmax(axis=1)
        flat = most_cautious(np.stack([self.figures[:, place, near] for place, near in enumerate(nears)], axis=1))
        return replace(self.config, flat=FLAT[flat], near=self.nears[most_cautious(self.figures[:, flat])])

    def of(self, flat: float, near: float) -> Figures:
        """(users,) with these constants."""
        return self.figures[:, FLAT.index(flat), self.nears.index(near)]


def most_cautious(figures: Figures) -> int:
    """The last column of (users, choices) whose mean is within one standard error of the best one's.

    Later choices lean more on what needs no events: as long as few users tell them apart, little is learnt (the rule of
    one standard error; Breiman, Friedman, Olshen & Stone 1984, section 3.4.3; of the differences, which are paired).
    """
    lost = figures[:, [int(figures.mean(axis=0).argmax())]] - figures
    errors = lost.std(axis=0, ddof=1) / np.sqrt(len(figures)) if len(figures) > 1 else np.full(figures.shape[1], np.inf)
    return int(np.flatnonzero(lost.mean(axis=0) <= errors)[-1])


def _by_closeness(
    part: Study, data: TrainingData, learnt: tuple[Floats, Floats], config: StudentConfig, nears: Sequence[float]
) -> pl.DataFrame:
    """NDCG@10 on validation of `Student.of_tables`, a column for each of ``nears`` for each of `FLAT`.

    Products are of the candidates alone, and the same for all of ``nears``.
    """
    task = part.task("validation").sample(USERS, part.seed)
    among = np.arange(len(task.items)) if task.candidates is None else np.flatnonzero(task.candidates)
    place = np.full(len(task.items), -1, dtype=np.int64)
    place[among] = np.arange(len(among))
    relevant = part.relevant(task)
    found: dict[str, Any] = {"user": task.histories.users}
    users = strengths(task.histories, config.positive_from, config.weak)
    for flat in FLAT:
        close = closeness(data.text(Student.name), flat)
        listed: dict[float, list[Columns]] = {near: [] for near in nears}
        size = max(1, AT_ONCE // len(among))
        for start in range(0, len(task.histories), size):
            rows = slice(start, start + size)
            of, had = task.histories.values[rows].tocoo().coords
            kept = place[had] >= 0
            by_events, by_text = ((users[rows] @ h) @ v[among].T for h, v in (learnt, (close, close)))
            for near in nears:
                scores = by_events + np.float32(near) * by_text
                scores[of[kept], place[had[kept]]] = -np.inf
                columns = top(scores, PLACES, Student.name).columns
                listed[near].append(np.where(columns < 0, -1, among[columns]))
        for near in nears:
            hits = find_hits(np.concatenate(listed[near]), relevant)
            found[f"flat {flat} near {near}"] = ranking_metrics(hits, np.diff(relevant.indptr), PLACES)["ndcg"]
    return pl.DataFrame(found)
