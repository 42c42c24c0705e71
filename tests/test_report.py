"""From figures of users to rows, comparisons and a file."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from agent.evaluation.measure import Key, Measured
from agent.evaluation.output import as_text, write_report
from agent.evaluation.report import Rows, comparisons, pooled
from retrieval.significance import holm

KEYS = ["data", "split", "system", "stratum", "metric", "k", "mean", "low", "high", "n_users", "seed"]
NDCG, RECALL, DEEP_RECALL = Key("all", "ndcg", 10), Key("all", "recall", 10), Key("all", "recall", 50)
N = 40


def run_of(values=None, system="ease", seed=0, users=None, totals=None, **more):
    """``values``: of NDCG@10, Recall@10 and Recall@50; ``more``: NDCG@10 of further strata."""
    values = np.random.default_rng(1).random(N) if values is None else np.asarray(values, dtype=np.float64)
    users = tuple(f"user-{n:02}" for n in range(len(values))) if users is None else users
    strata = {Key(name.replace("_", "=", 1), "ndcg", 10): np.asarray(v, dtype=np.float64) for name, v in more.items()}
    return Measured(system, seed, users, {NDCG: values, RECALL: values, DEEP_RECALL: values, **strata}, totals or {})


def only(values, inside):
    return np.where(inside, values, np.nan)


def rows_of(*runs):
    return {(row.stratum, row.metric, row.seed): row for row in Rows("films", "temporal").of(runs)}


FIRST_HALF = np.arange(N) < N // 2
VALUES = np.random.default_rng(1).random(N)


def test_rows_are_tidy():
    rows = Rows("films", "temporal").of([run_of(totals={Key("all", "coverage", 10): 0.25})])
    assert all(list(asdict(row)) == KEYS for row in rows)
    assert {(row.data, row.split, row.system, row.seed) for row in rows} == {("films", "temporal", "ease", None)}
    assert [(row.metric, row.k, row.n_users) for row in rows] == [
        ("ndcg", 10, N),
        ("recall", 10, N),
        ("recall", 50, N),
        ("coverage", 10, N),
    ]


def test_a_figure_lies_within_its_interval_and_totals_have_none():
    rows = rows_of(run_of(VALUES, user_new=only(VALUES, FIRST_HALF), totals={Key("all", "coverage", 10): 0.25}))
    assert rows["all", "ndcg", None].mean == pytest.approx(VALUES.mean(), rel=1e-5)
    for place in (("all", "ndcg", None), ("user=new", "ndcg", None)):
        assert rows[place].low < rows[place].mean < rows[place].high
    coverage = rows["all", "coverage", None]
    assert (coverage.mean, coverage.low, coverage.high) == (0.25, None, None)


def test_users_of_whom_nothing_can_be_said_are_left_out():
    row = rows_of(run_of(only(VALUES, FIRST_HALF)))["all", "ndcg", None]
    assert (row.mean, row.n_users) == (pytest.approx(VALUES[FIRST_HALF].mean(), rel=1e-5), N // 2)


def test_figures_that_are_no_number_are_null():
    rows = rows_of(run_of([np.nan] * N, totals={Key("all", "gini", 10): float("nan")}))
    row = rows["all", "ndcg", None]
    assert (row.mean, row.low, row.high, row.n_users) == (None, None, None, 0)
    assert rows["all", "gini", None].mean is None


@pytest.mark.parametrize(("members", "reported"), [(4, False), (5, True)])
def test_groups_of_fewer_than_five_users_are_left_out(members, reported):
    rows = rows_of(
        run_of(VALUES, gender_F=only(VALUES, np.arange(N) < members), gender_M=only(VALUES, np.arange(N) >= members))
    )
    assert (("gender=F", "ndcg", None) in rows) == reported
    assert (("gender", "ndcg-gap", None) in rows) == reported
    assert ("gender=M", "ndcg", None) in rows


def test_a_gap_is_the_highest_minus_the_lowest_group():
    values = np.where(FIRST_HALF, 0.75, 0.25) + np.random.default_rng(2).normal(0, 0.01, N)
    row = rows_of(run_of(values, gender_F=only(values, FIRST_HALF), gender_M=only(values, ~FIRST_HALF)))[
        "gender", "ndcg-gap", None
    ]
    assert row.mean == pytest.approx(values[FIRST_HALF].mean() - values[~FIRST_HALF].mean(), rel=1e-5)
    assert 0.45 < row.low < row.mean < row.high < 0.55
    assert (row.k, row.n_users) == (10, N)


def test_a_gap_of_nothing_lies_within_its_interval():
    values = np.concatenate([VALUES[: N // 2], VALUES[: N // 2]])
    row = rows_of(run_of(values, gender_F=only(values, FIRST_HALF), gender_M=only(values, ~FIRST_HALF)))[
        "gender", "ndcg-gap", None
    ]
    assert row.mean == pytest.approx(0, abs=1e-9)
    assert row.low <= row.mean <= row.high


def test_groups_of_items_have_no_gap():
    found = rows_of(
        run_of(VALUES, item_cold=VALUES, item_warm=VALUES / 2, popularity_head=VALUES, popularity_mid=VALUES)
    )
    assert not [place for place in found if place[1] == "ndcg-gap"]


def test_several_seeds_have_rows_of_their_own_overall_and_together_in_full():
    rows = Rows("films", "temporal").of(
        [run_of(VALUES, seed=seed, user_new=only(VALUES, FIRST_HALF)) for seed in (0, 1)]
    )
    assert {row.stratum for row in rows if row.seed is None} == {"all", "user=new"}
    assert {(row.seed, row.stratum) for row in rows if row.seed is not None} == {(0, "all"), (1, "all")}


def test_over_all_seeds_each_user_counts_once_with_their_mean():
    first = run_of([0.0] * 10, seed=0, users=tuple("abcdefghij"))
    second = run_of([1.0] * 5, seed=1, users=tuple("fghij"))
    rows = rows_of(first, second)
    assert (rows["all", "ndcg", None].mean, rows["all", "ndcg", None].n_users) == (0.25, 10)
    assert (rows["all", "ndcg", 0].mean, rows["all", "ndcg", 1].mean) == (0, 1)
    assert rows["all", "ndcg", 1].n_users == 5


def test_pooling_takes_what_any_seed_says_of_a_user_and_the_mean_of_totals():
    coverage, gini = Key("all", "coverage", 10), Key("all", "gini", 10)
    first = run_of([0.0, np.nan, np.nan], users=("a", "b", "c"), totals={coverage: 0.2, gini: 0.5})
    second = run_of([0.5, np.nan, 1.0], seed=1, users=("b", "c", "a"), totals={coverage: 0.4})
    found = pooled([first, second])
    assert found.users == ("a", "b", "c")
    np.testing.assert_array_equal(found.by_user[NDCG], [0.5, 0.5, np.nan])
    assert found.totals == {coverage: pytest.approx(0.3)}


def test_pooling_one_run_changes_nothing_and_groups_of_one_seed_alone_are_dropped():
    run = run_of(VALUES, user_new=VALUES)
    assert pooled([run]) is run
    assert Key("user=new", "ndcg", 10) not in pooled([run, run_of(VALUES, seed=1)]).by_user


def test_accuracy_of_several_seeds_is_still_a_share_of_events():
    def judged(seed, right):
        run = run_of(VALUES, seed=seed)
        run.by_user |= {Key("all", "events", 0): np.full(N, 4.0), Key("all", "right", 0): np.full(N, right)}
        return run

    row = rows_of(judged(0, 1.0), judged(1, 3.0))["all", "accuracy", None]
    assert (row.mean, row.low, row.high) == (0.5, 0.5, 0.5)


def test_comparisons_are_paired_by_user():
    runs = {"ease": run_of(VALUES + 0.1), "mf": run_of(VALUES[::-1], "mf", users=run_of().users[::-1])}
    found = comparisons(runs, None)
    assert [(c["system"], c["reference"], c["metric"], c["k"]) for c in found] == [
        ("ease", "mf", "ndcg", 10),
        ("ease", "mf", "recall", 10),
        ("ease", "mf", "recall", 50),
    ]
    for c in found:  # users differ widely, what one gains over the other does not
        assert [c["delta"], c["low"], c["high"]] == pytest.approx([0.1] * 3)
        assert c["p"] < 0.001
        assert c["n_users"] == N


def test_the_reference_can_be_chosen_and_is_else_the_best():
    runs = {name: run_of(VALUES + gain, name) for name, gain in (("mf", 0), ("ease", 0.2), ("ials", 0.1))}
    assert {(c["system"], c["reference"]) for c in comparisons(runs, None)} == {("ease", "mf"), ("ease", "ials")}
    chosen = comparisons(runs, "ials")
    assert {(c["system"], c["reference"]): c["delta"] > 0 for c in chosen} == {
        ("ials", "mf"): True,
        ("ials", "ease"): False,
    }
    assert comparisons({"mf": runs["mf"]}, None) == []


def test_p_values_are_corrected_over_the_systems_for_each_metric():
    rng = np.random.default_rng(3)
    runs = {"ease": run_of(VALUES)}
    runs |= {f"other-{n}": run_of(VALUES - 0.02 * n + rng.normal(0, 0.1, N)) for n in range(1, 5)}
    for compared in (NDCG, RECALL, DEEP_RECALL):
        found = [c for c in comparisons(runs, "ease") if (c["metric"], c["k"]) == compared[1:]]
        assert [c["p_holm"] for c in found] == pytest.approx(holm([c["p"] for c in found]), rel=1e-5)
        assert any(c["p_holm"] > c["p"] for c in found)


REPORT = {
    "meta": {"command": "whyrec evaluate --name 'ü \"x\"'", "notes": [], "parameters": {"0": {"ease": {"a": None}}}},
    "rows": [asdict(row) for row in Rows("Fïlms", "users").of([run_of(VALUES)])],
    "comparisons": comparisons({"ease": run_of(VALUES), "mf": run_of(VALUES * 0.9)}, None),
}


@pytest.mark.parametrize("report", [REPORT, {**REPORT, "comparisons": [], "rows": []}], ids=["full", "empty"])
def test_the_file_is_json_and_holds_the_report(report, tmp_path):
    assert json.loads(as_text(report)) == report
    write_report(tmp_path / "new", report, "<p>page</p>")
    assert json.loads((tmp_path / "new" / "report.json").read_text(encoding="utf-8")) == report
    assert (tmp_path / "new" / "report.html").read_text(encoding="utf-8") == "<p>page</p>"


def test_a_report_is_not_written_over_another(tmp_path):
    write_report(tmp_path / "new", REPORT, "one")
    with pytest.raises(FileExistsError):
        write_report(tmp_path / "new", REPORT, "two")
    assert (tmp_path / "new" / "report.html").read_text() == "one"


def test_each_row_is_a_line_of_the_file():
    lines = as_text(REPORT).splitlines()
    assert sum(line.startswith('{"data": ') for line in lines) == len(REPORT["rows"])
