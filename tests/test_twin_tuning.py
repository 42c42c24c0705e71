"""What validation chooses of the student's tables."""

import numpy as np
import pytest

from agent.twin_tuning import NEAR, most_cautious


def test_what_few_users_cannot_tell_apart_leans_on_the_text():
    rng = np.random.default_rng(0)
    noise = rng.normal(scale=0.3, size=(4_000, len(NEAR)))
    figures = noise + np.array([0.30, 0.28, 0.26, 0.24, 0.22, 0.20])
    assert most_cautious(figures) == 0
    assert most_cautious(figures[:20]) > 0


def test_one_standard_error_decides():
    better = np.tile([0.0, 0.2], 8)  # mean .1, standard error of the mean .0267
    figures = np.stack([better, better - 0.03 + np.tile([0.1, -0.1], 8), better - 0.05], axis=1)
    assert most_cautious(figures) == 0  # what is lost every time is lost
    assert most_cautious(figures[:, :2]) == 0
    figures[:, 1] += 0.005
    assert most_cautious(figures[:, :2]) == 1


@pytest.mark.parametrize("users", [1, 2])
def test_hardly_anybody_tells_nothing(users):
    figures = np.array([[0.4, 0.3, 0.2], [0.2, 0.3, 0.1]])[:users]
    assert most_cautious(figures) == {1: 2, 2: 1}[users]
