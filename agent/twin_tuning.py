"""What a student begins with: parameters of its tables that validation chooses."""

from dataclasses import replace

import numpy as np
import polars as pl

from agent.evaluation.draws import ndcg_of_draw, over_draws
from agent.evaluation.study import Study
from agent.evaluation.tuning import USERS, tuned
from agent.evaluation.watch import Watch
from retrieval.cf.student import Student, StudentConfig
from retrieval.cf.twin import closeness, learnt_tables, with_closeness
from retrieval.metrics import Figures
from retrieval.text.text_ease import TextEase

NEAR = (0.0, 0.01, 0.02, 0.05, 0.2)


def student_config(study: Study, trials: int, watch: Watch) -> StudentConfig:
    """What is best on validation: for the scorer of texts that the tables begin with, then for how much texts count.

    Raises:
        SplitError: nobody is left to validate on.
    """
    watch.start("Tuning what the student begins with", trials + len(study.validations))
    config = StudentConfig(**tuned(study, TextEase.name, trials, watch.advance).parameters)
    draws = []
    for part in study.validations:
        draws.append(_by_closeness(part, config))
        watch.advance()
    return replace(config, near=NEAR[most_cautious(over_draws(draws).drop("user").to_numpy())])


def most_cautious(figures: Figures) -> int:
    """The last column of (users, choices) whose mean is within one standard error of the best one's.

    Later choices lean more on what needs no events: as long as few users tell them apart, little is learnt (the rule of
    one standard error; Breiman, Friedman, Olshen & Stone 1984, section 3.4.3; of the differences, which are paired).
    """
    lost = figures[:, [int(figures.mean(axis=0).argmax())]] - figures
    errors = lost.std(axis=0, ddof=1) / np.sqrt(len(figures)) if len(figures) > 1 else np.full(figures.shape[1], np.inf)
    return int(np.flatnonzero(lost.mean(axis=0) <= errors)[-1])


def _by_closeness(part: Study, config: StudentConfig) -> pl.DataFrame:
    """NDCG@10 on validation, a column for each of `NEAR`."""
    data = part.training_data("validation")
    learnt, close = learnt_tables(data, config), closeness(data.text(Student.name))
    twins = {
        f"near {near}": Student.of_tables(replace(config, near=near), *with_closeness(learnt, close, near))
        for near in NEAR
    }
    return ndcg_of_draw(part, part.task("validation").sample(USERS, part.seed), twins)
