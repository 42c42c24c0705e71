"""Who chooses the tables that a student begins with, and who judges whether teaching it helps."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from agent.student_proof import Prover
from retrieval.cf.student import StudentConfig


@pytest.fixture
def prover(monkeypatch):
    """Of a split, with one draw for each of these figures by λ: of the twin and of the student."""

    def made(split, *draws):
        def validated(_, asked, alone, taught):
            return [frame(draw.get(alone.own, draw[None])[0], draw.get(taught.own, draw[None])[1]) for draw in asked]

        monkeypatch.setattr(Prover, "_draws", list(draws))
        monkeypatch.setattr(Prover, "_validated", validated)
        return Prover(SimpleNamespace(name=split, seed=0), None, StudentConfig(), None, None)

    return made


def frame(before, after):
    columns = {"before": before, "after": after, "scorers": np.zeros(len(before))}
    return pl.DataFrame({"user": [f"u{row}" for row in range(len(before))], **columns})


def everybody(twin, student, users=40):
    return np.full(users, twin), np.full(users, student)


def test_the_tables_are_chosen_on_one_half_of_the_users_and_judged_by_the_other(prover):
    """One half prefers λ = 100 alone and 1,000 taught; for the other, others are better taught."""
    judges = np.random.default_rng(0).permutation(40) % 2 == 0
    halves = {100.0: (0.4, 0.1, 0.2), 1_000.0: (0.3, 0.6, 0.2), None: (0.1, 0.1, 0.9)}
    draw = {own: (np.where(judges, 0.2, a), np.where(judges, j, t)) for own, (a, t, j) in halves.items()}
    found = prover("leave-last", draw).run()
    assert (found.alone.own, found.taught.own, found.users) == (100.0, 1_000.0, 20)
    assert (found.twin, found.student) == (pytest.approx(0.2), pytest.approx(0.2))
    assert not found.proven


def test_the_tables_are_chosen_in_the_latest_period_and_judged_in_the_earlier_ones(prover):
    latest = {100.0: everybody(0.4, 0.1), 1_000.0: everybody(0.3, 0.6), None: everybody(0.1, 0.1)}
    earlier = {100.0: everybody(0.2, 0.9), 1_000.0: everybody(0.9, 0.3), None: everybody(0.9, 0.9)}
    found = prover("temporal", latest, earlier, earlier).run()
    assert (found.alone.own, found.taught.own, found.users) == (100.0, 1_000.0, 40)
    assert (found.twin, found.student) == (pytest.approx(0.2), pytest.approx(0.3))
    assert found.proven


@pytest.mark.parametrize("lost", [False, True])
def test_what_loses_in_one_draw_does_not_serve_whatever_the_mean(prover, lost):
    gains, other = {None: everybody(0.2, 0.6)}, {None: everybody(0.2, 0.19 if lost else 0.21)}
    found = prover("cold-items", gains, other, gains).run()
    assert found.low > 0.1
    assert found.gains == (pytest.approx(0.4), pytest.approx(-0.01 if lost else 0.01), pytest.approx(0.4))
    assert found.proven == (not lost)


def test_too_few_choose_nothing(prover):
    """The default serves, which neither would choose."""
    draw = {StudentConfig().own: everybody(0.2, 0.3, users=9), None: everybody(0.9, 0.9, users=9)}
    for split, draws in (("temporal", [draw, draw]), ("leave-last", [draw])):
        found = prover(split, *draws).run()
        assert found.alone.own == found.taught.own == StudentConfig().own
        assert (found.twin, found.student, found.users) == (pytest.approx(0.2), pytest.approx(0.3), 9)
        assert not found.proven
