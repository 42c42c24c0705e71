"""What a student begins with: parameters of its tables that validation chooses."""

from dataclasses import replace

import numpy as np

from agent.evaluation.study import Study
from agent.evaluation.tuning import PLACES, USERS, mean_ndcg, tuned
from agent.evaluation.watch import Watch
from retrieval.cf.student import Student, StudentConfig
from retrieval.cf.twin import learnt_tables, with_closeness
from retrieval.text.text_ease import TextEase

NEAR = (0.0, 0.01, 0.02, 0.05, 0.2, 1.0)


def student_config(study: Study, trials: int, watch: Watch) -> StudentConfig:
    """What is best on validation: for the scorer of texts that the tables begin with, then for how much texts count.

    Raises:
        SplitError: nobody is left to validate on.
    """
    watch.start("Tuning what the student begins with", trials + len(study.validations))
    config = StudentConfig(**tuned(study, TextEase.name, trials, watch.advance).parameters)
    figures = []
    for part in study.validations:
        figures.append(_by_closeness(part, config))
        watch.advance()
    return replace(config, near=NEAR[int(np.mean(figures, axis=0).argmax())])


def _by_closeness(part: Study, config: StudentConfig) -> list[float]:
    """NDCG@10 on validation for each of `NEAR`."""
    data, task = part.training_data("validation"), part.task("validation").sample(USERS, part.seed)
    learnt, texts = learnt_tables(data, config), data.text(Student.name)
    found = []
    for near in NEAR:
        twin = Student.of_tables(replace(config, near=near), *with_closeness(learnt, texts, near))
        found.append(mean_ndcg(twin.top(task.histories, PLACES, candidates=task.candidates).columns, part, task))
    return found
