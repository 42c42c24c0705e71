"""The gate of the language model: open where validation proves a gain, closed everywhere else."""

from dataclasses import replace

import numpy as np
import pytest

from agent.gate import CLOSED, Gate, JudgedList, Stratum, fit_gate, group_of, put_together
from retrieval.errors import ModelError

CANDIDATES = 20


def lists(count, good, seed=0, history=50, warm=False, retriever=0.5, draw=0):
    """Lists in which the language model's scores say so much about what is relevant, and the retriever's so much."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        relevant = np.zeros(CANDIDATES, dtype=bool)
        relevant[rng.choice(CANDIDATES, 3, replace=False)] = True
        retrieved, ranked = (
            (power * relevant + rng.normal(0, 1, CANDIDATES)).astype(np.float32) for power in (retriever, good)
        )
        found.append(JudgedList(retrieved, ranked, relevant, 4, np.full(CANDIDATES, warm), history, draw))
    return found


def gate_of(found, seed=0):
    """Of one study, all of whose validations asked somebody."""
    return fit_gate(found, [sorted({one.draw for one in found})], seed)


def alpha(gate, history=50, warm=False):
    return gate.alpha(np.full(CANDIDATES, warm), history)


def test_a_closed_gate_gives_the_language_model_no_say():
    assert not CLOSED.opens
    assert alpha(CLOSED, 7) == alpha(CLOSED, 7, warm=True) == 0
    assert not CLOSED.may_speak(7)


def test_what_helps_is_let_through_and_what_does_not_is_not():
    assert alpha(gate_of(lists(300, good=1.5), 0)) > 0.3
    for good in (0.0, -1.0):
        gate = gate_of(lists(300, good), 0)
        assert not gate.opens
        assert alpha(gate) == 0


def test_a_gain_on_few_lists_is_not_proven():
    assert not gate_of(lists(6, good=1.0), 0).opens
    assert not gate_of(lists(1, good=5.0), 0).opens
    assert not gate_of([], 0).opens


def test_noise_rarely_gets_through():
    opened = [gate_of(lists(100, good=0.0, seed=seed), seed).opens for seed in range(20)]
    assert sum(opened) <= 2


def test_groups_of_people_have_weights_of_their_own():
    mixed = lists(300, good=2.0, history=10) + lists(300, good=-2.0, seed=1, history=500, retriever=1.5)
    gate = gate_of(mixed, 0)
    assert alpha(gate, history=10) > 0.3
    assert alpha(gate, history=500) == 0
    assert alpha(gate, history=50) == 0  # nobody like that was judged
    assert [one.lists for one in gate.everybody] == [600]
    assert (gate.may_speak(10), gate.may_speak(500)) == (True, False)


def test_a_small_group_shares_the_weight_of_everybody_unless_it_loses_by_it():
    many = lists(400, good=2.0, history=50)
    gate = gate_of(many + lists(12, good=2.0, seed=2, history=10), 0)
    assert alpha(gate, history=10) > 0
    gate = gate_of(many + lists(9, good=2.0, seed=2, history=10), 0)
    assert alpha(gate, history=10) == 0  # too few to tell
    gate = gate_of(many + lists(12, good=-3.0, seed=2, history=10, retriever=3.0), 0)
    assert alpha(gate, history=10) == 0


@pytest.mark.parametrize("helps", [True, False], ids=["known items", "new items"])
def test_what_helps_in_lists_of_one_kind_proves_nothing_of_the_other(helps):
    """The gain in one is so large that both together would be proven."""
    gate = gate_of(lists(300, good=3.0, warm=helps) + lists(300, good=0.0, seed=1, warm=not helps), 0)
    assert alpha(gate, warm=helps) > 0.3
    assert alpha(gate, warm=not helps) == 0
    reached = {one.kind: (one.before, one.after) for one in gate.everybody}
    assert reached["warm" if helps else "cold"][1] > reached["warm" if helps else "cold"][0] + 0.1
    assert gate.reached == pytest.approx(np.mean([after for _, after in reached.values()]))


def test_what_helps_with_some_new_items_but_not_with_others_is_not_proven():
    """The mean gain over both draws is large and its interval far above 0."""
    both = lists(300, good=3.0) + lists(300, good=-1.0, seed=1, retriever=1.5, draw=1)
    assert gate_of([replace(one, draw=0) for one in both], 0).opens
    assert not gate_of(both, 0).opens


def test_what_helps_in_every_draw_is_let_through():
    gate = gate_of([one for draw in range(3) for one in lists(100, good=1.5, seed=draw, draw=draw)], 0)
    assert alpha(gate) > 0.3
    assert len(gate.everybody[0].gains) == 3
    assert min(gate.everybody[0].gains) > 0


def test_a_group_without_lists_of_a_draw_has_no_say():
    """Its gains in the other two say nothing of that one."""
    many = [one for draw in range(3) for one in lists(100, good=2.0, seed=draw, draw=draw)]
    two, three = (
        many + [one for draw in range(draws) for one in lists(50, good=2.0, seed=9 + draw, draw=draw, history=10)]
        for draws in (2, 3)
    )
    assert alpha(gate_of(two, 0), history=10) == 0
    assert alpha(gate_of(three, 0), history=10) > 0


def test_a_period_that_nobody_was_asked_about_closes_the_gate():
    """All of its lists may be of the other kind, which says nothing of how this kind would have done there."""
    two = [one for draw in range(2) for one in lists(100, good=2.0, seed=draw, draw=draw)]
    other = lists(100, good=2.0, seed=2, warm=True, draw=2)
    assert alpha(fit_gate(two, [[0, 1]], 0)) > 0
    closed = fit_gate(two + other, [[0, 1, 2]], 0)
    assert alpha(closed) == 0
    assert [one.lists for one in closed.everybody] == [200, 100]


def test_each_study_that_judges_a_kind_must_gain_and_a_few_stray_lists_say_nothing():
    cold = [one for draw in range(3) for one in lists(80, good=2.0, seed=draw, draw=draw)]
    losing = [one for draw in (3, 4, 5) for one in lists(25, good=-2.0, seed=draw, retriever=1.5, draw=draw)]
    by_study = [[0, 1, 2], [3, 4, 5]]
    assert alpha(fit_gate(cold, by_study, 0)) > 0
    assert alpha(fit_gate(cold + losing, by_study, 0)) == 0
    assert alpha(fit_gate(cold + losing[:9], by_study, 0)) == alpha(fit_gate(cold, by_study, 0))


def test_a_draw_is_judged_by_a_weight_that_was_chosen_on_others():
    """The second draw would choose to leave the model out, and then lose nothing."""
    both = lists(300, good=3.0) + lists(300, good=-2.0, seed=1, retriever=1.0, draw=1)
    (everybody,) = gate_of(both, 0).everybody
    assert everybody.gains[1] < -0.1
    assert everybody.gains[0] == 0


def test_a_group_shares_the_weight_of_everybody_if_it_loses_in_no_draw():
    many = [one for draw in (0, 1) for one in lists(300, good=2.0, seed=draw, draw=draw)]

    def short(good):
        few = [lists(14, good=power, seed=9, history=10, retriever=2.0, draw=draw) for draw, power in enumerate(good)]
        return [one for part in few for one in part]

    assert alpha(gate_of(many + short((1.5, 1.5)), 0), history=10) > 0
    assert alpha(gate_of(many + short((1.5, -3.0)), 0), history=10) == 0
    assert alpha(gate_of(many + short((1.5, 1.5))[:-5], 0), history=10) == 0  # too few of one draw


@pytest.mark.parametrize(("known", "weight"), [(CANDIDATES // 2 - 1, 0), (CANDIDATES // 2, 1)])
def test_a_list_is_of_the_kind_that_most_of_its_items_are(known, weight):
    gate = Gate((Stratum("warm", "history=21-100", 1.0, 0.1, 0.2, 0.05, 100, (0.1,)),))
    assert gate.alpha(np.arange(CANDIDATES) < known, 50) == weight


def test_scores_are_put_together_on_one_scale():
    retrieved, ranked = np.array([3.0, 2.0, 1.0], dtype=np.float32), np.array([0.0, 500.0, 1000.0], dtype=np.float32)
    assert put_together(retrieved, ranked, 0).argsort().tolist() == [2, 1, 0]
    assert put_together(retrieved, ranked, 1).argsort().tolist() == [0, 1, 2]
    np.testing.assert_allclose(put_together(retrieved, ranked, 0.5), 0, atol=1e-6)


def test_a_gate_is_the_same_when_it_is_read():
    gate = gate_of(lists(100, good=2.0), 0)
    assert Gate.from_json(gate.to_json()) == gate


@pytest.mark.parametrize("values", [None, 3, [{"alpha": 1}], [3], {"everybody": {"alpha": 1}}])
def test_a_damaged_gate_is_refused(values):
    with pytest.raises(ModelError, match="gate of the ranker cannot be read"):
        Gate.from_json(values)


@pytest.mark.parametrize(
    ("events", "group"), [(0, "history=0-20"), (20, "history=0-20"), (21, "history=21-100"), (101, "history=101+")]
)
def test_groups_are_by_the_length_of_the_history(events, group):
    assert group_of(events) == group
