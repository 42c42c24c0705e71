"""The ablation's systems: each differs from the default in one thing, and it makes another student."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from scorer_worlds import ITEMS, topic_world
from test_student import CONFIG, planted_lists

from benchmarks.ablation import ABLATIONS, Lesson
from finetune.distill import distil
from finetune.pretraining import pretrain
from retrieval.cf.student import Student
from retrieval.data.sequences import Sequences

DEFAULT = ABLATIONS["default"][0]
OTHERS = [(name, one) for name, lessons in ABLATIONS.items() for one in lessons if name != "default"]


def changes(lesson):
    """What differs from the default, by name."""
    if lesson.taught is None:
        return {"taught", *({"pretrained"} if lesson.pretrained else ())}
    ours, theirs = asdict(lesson.taught), asdict(DEFAULT.taught)
    changed = {name for name in ours if ours[name] != theirs[name]}
    return changed | ({"pretrained"} if lesson.pretrained else set())


@pytest.mark.parametrize(("name", "lesson"), OTHERS)
def test_each_differs_from_the_default_in_one_thing(name, lesson):
    allowed = {"adversarial": {"adversarial", "reach"}, "pretrained-alone": {"taught", "pretrained"}}
    changed = changes(lesson)
    assert changed
    assert len(changed) == 1 or changed <= allowed[name]


def test_none_is_there_twice():
    every = [one for lessons in ABLATIONS.values() for one in lessons]
    assert len(set(every)) == len(every)


def test_each_makes_another_student():
    twin, (lists, _) = Student.fit(topic_world(), CONFIG), planted_lists()
    histories = lists.histories
    sequences = Sequences(histories, np.arange(histories.values.nnz), timed=True)

    def made(lesson: Lesson):
        student = twin if lesson.pretrained is None else pretrain(twin, sequences, replace(lesson.pretrained, epochs=2))
        return student if lesson.taught is None else distil(student, lists, replace(lesson.taught, epochs=8))

    before = made(DEFAULT)
    assert before.items == len(ITEMS)
    for name, lesson in OTHERS:
        same = np.array_equal(made(lesson).vectors, before.vectors)
        assert same == (name == "without-bound"), name  # eight epochs do not reach the bound
