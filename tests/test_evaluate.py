"""An evaluation from the question to the report, on the small world."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
from evaluation_world import SETTINGS, Notebook, WordModels, events, make_world, quickly, study_of

from agent.evaluation.fusing import FUSED
from agent.evaluation.output import as_text
from agent.evaluation.run import Evaluation
from agent.evaluation.seed_run import SYSTEMS, Plan
from agent.evaluation.study import Question
from agent.evaluation.tuning import tuned
from agent.settings import EventSettings
from retrieval.cf.fused import STRATEGIES
from retrieval.data.workspace import Workspace
from retrieval.errors import InputError, SplitError

TIMINGS = ("training", "peak-memory", "latency-p50", "latency-p95")
CHEAP = ("popularity", "item-knn", "ease")
SOME = ("popularity", "item-knn", "rrf", "fused")


NEED_MORE = ("ranked", "twin", "student")  # than tuned scorers: they have commands of their own


@pytest.fixture(autouse=True, scope="module")
def _quick():
    with quickly():
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Read only: copy it before evaluating."""
    return make_world(tmp_path_factory.mktemp("evaluate") / "world").root


@pytest.fixture
def world(root, tmp_path):
    return Workspace(shutil.copytree(root, tmp_path / "copy"))


@pytest.fixture(scope="module")
def no_text(tmp_path_factory):
    """Ratings that are all the same, and no index. Only what is tuned is written to it."""
    constant = events().with_columns(rating=pl.lit(5.0))
    return make_world(tmp_path_factory.mktemp("constant") / "world", constant, index=False)


def evaluation(world, split="temporal", watch=None, settings=SETTINGS, users=None, relevant="liked", **plan):
    question = Question(split, relevant, users)
    return Evaluation(world, settings, WordModels(settings), Plan(question, trials=1, **plan), watch or Notebook())


def evaluate(world, split="temporal", watch=None, **plan):
    return evaluation(world, split, watch, **plan).run("whyrec evaluate")


def figures(report, system=None):
    """All figures but timings, as (system, stratum, metric, k, seed) → the rest."""
    return {
        (row["system"] if system is None else "", row["stratum"], row["metric"], row["k"], row["seed"]): (
            row["mean"],
            row["low"],
            row["high"],
            row["n_users"],
        )
        for row in report["rows"]
        if row["metric"] not in TIMINGS and system in (None, row["system"])
    }


def systems(report):
    return list(dict.fromkeys(row["system"] for row in report["rows"]))


@pytest.mark.parametrize("split", ["temporal", "leave-last", "users", "cold-items", "random"])
def test_every_split_measures_every_system_and_what_serves_is_what_was_chosen(world, split):
    watch = Notebook()
    wanted = () if split in ("temporal", "cold-items") else (*FUSED, *STRATEGIES, "fused")
    report = evaluate(world, split, watch, users=20, systems=wanted)
    assert systems(report) == list(wanted or (name for name in SYSTEMS if name not in NEED_MORE))
    assert watch.notes == report["meta"]["notes"]
    assert [note.partition(": ")[0] for note in watch.notes] == (
        [] if wanted else [f"{name} is left out" for name in NEED_MORE]
    )
    assert watch.steps == watch.totals
    assert json.loads(as_text(report)) == report
    chosen = report["meta"]["parameters"]["0"]["fused"]
    served, library = figures(report, "fused"), figures(report, chosen)
    for metric in ("ndcg", "recall", "coverage", "diversity", "novelty"):
        place = ("", "all", metric, 10, None)
        assert served[place][0] == pytest.approx(library[place][0], rel=1e-4), (chosen, metric)
    others = [s for s in systems(report) if s not in ("fused", chosen)]
    place = ("", "all", "ndcg", 10, None)
    assert any(figures(report, s)[place] != library[place] for s in others)


def test_ranks_are_not_made_of_rounding_where_there_are_fewer_items_than_factors(tmp_path):
    few = events().filter(pl.col("item_id").str.slice(-2) < "12")
    study = study_of(make_world(tmp_path / "few", few, index=False), "leave-last")
    scorer, histories = tuned(study, "mf", 1).fit(study, "test"), study.task("test").histories
    together = scorer.top(histories, 80).columns
    alone = [scorer.top(histories.take(slice(row, row + 1)), 80).columns[0] for row in range(len(histories))]
    np.testing.assert_array_equal(together, alone)


def test_text_beats_what_knows_no_new_item(world):
    report = evaluate(world, "cold-items", systems=("popularity", "soft-knn"))
    ndcg = {row["system"]: row["mean"] for row in report["rows"] if (row["metric"], row["k"]) == ("ndcg", 10)}
    assert ndcg["soft-knn"] > ndcg["popularity"]


def test_the_report_says_how_it_was_made(world):
    report = evaluate(world, systems=CHEAP, data="stories", relevant="any")
    meta = report["meta"]
    assert (meta["command"], meta["data"], meta["split"], meta["seeds"]) == (
        "whyrec evaluate", "stories", "temporal", [0],
    )  # fmt: skip
    assert set(meta["parameters"]["0"]) == set(CHEAP)
    assert "held-out event" in meta["relevant"]
    assert meta["fingerprints"]["split"] == {"0": study_of(world).split.fingerprint}
    assert meta["users"]["evaluated"] == len(study_of(world).task("test").histories.users)
    assert {row["data"] for row in report["rows"]} == {"stories"}


def test_users_without_a_relevant_item_are_counted(world):
    report = evaluate(world, "leave-last", systems=("popularity",))
    task = study_of(world, "leave-last").task("test")
    liked = int((np.diff(task.relevant(4.0).indptr) > 0).sum())
    assert report["meta"]["users"] == {"evaluated": liked, "without relevant items": 80 - liked}
    assert "4" in report["meta"]["relevant"]
    assert figures(report)["popularity", "all", "ndcg", 10, None][3] == liked < 80


def test_groups_of_users_come_from_their_attributes(world):
    strata = {row["stratum"] for row in evaluate(world, systems=("popularity",))["rows"]}
    assert {"gender=F", "gender=M", "gender", "user=new", "user=known", "item=warm"} <= strata
    assert not [stratum for stratum in strata if stratum.startswith("street")]


def test_at_most_so_many_users_are_drawn_and_always_the_same(root, tmp_path, world):
    other = Workspace(shutil.copytree(root, tmp_path / "other"))
    reports = [evaluate(one, "leave-last", systems=CHEAP, users=20) for one in (world, other)]
    assert sum(reports[0]["meta"]["users"].values()) == 20
    assert figures(reports[0]) == figures(reports[1])


def test_several_seeds_have_rows_of_their_own(world):
    report = evaluate(world, "random", systems=CHEAP[:2], seeds=2)
    assert report["meta"]["seeds"] == [0, 1]
    assert set(report["meta"]["parameters"]) == set(report["meta"]["fingerprints"]["split"]) == {"0", "1"}
    assert len(set(report["meta"]["fingerprints"]["split"].values())) == 2
    assert {row["seed"] for row in report["rows"]} == {None, 0, 1}
    second = evaluate(world, "random", systems=CHEAP[:2], first=1)
    assert second["meta"]["seeds"] == [1]
    alone, both = figures(second), figures(report)
    of_second = {key: found for key, found in both.items() if key[-1] == 1}
    assert of_second
    assert all(alone[*key[:-1], None] == found for key, found in of_second.items())


def test_the_reference_is_compared_with_all_others(world):
    compared = evaluate(world, systems=CHEAP, reference="popularity")["comparisons"]
    assert {(c["system"], c["reference"]) for c in compared} == {("popularity", "item-knn"), ("popularity", "ease")}


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"systems": ("nope",)}, "no system 'nope'; there are popularity, item-knn"),
        ({"reference": "nope"}, "no system 'nope'"),
        ({"systems": CHEAP, "reference": "mf"}, "the reference 'mf' is not among the systems popularity, item-knn"),
    ],
)
def test_unknown_systems_and_references_are_refused_at_once(world, plan, message):
    with pytest.raises(InputError, match=message):
        evaluation(world, **plan)


def test_what_the_data_do_not_allow_is_left_out_with_a_note(no_text):
    watch = Notebook()
    report = evaluate(no_text, "leave-last", watch, users=10)
    left_out = ("fused", *NEED_MORE, "bias-knn", "cosine", "soft-knn", "tower", "text-ease")
    assert set(systems(report)) == set(SYSTEMS) - set(left_out)
    assert [note.partition(" is left out: ")[0] for note in report["meta"]["notes"]] == list(left_out)
    assert watch.notes == report["meta"]["notes"]
    place = left_out.index("bias-knn")
    assert "all have the same value" in watch.notes[place]
    assert all("whyrec index" in note for note in (*watch.notes[:place], *watch.notes[place + 1 :]))


@pytest.mark.parametrize(
    ("name", "words"),
    [("bias-knn", "all have the same value"), ("cosine", "whyrec index"), ("fused", "whyrec index")],
)
def test_what_the_data_do_not_allow_is_an_error_when_asked_for_by_name(no_text, name, words):
    with pytest.raises(InputError, match=f"{name}.*{words}"):
        evaluate(no_text, "leave-last", systems=("popularity", name))


@pytest.mark.parametrize("reference", ["bias-knn", "fused"])
def test_a_reference_that_the_data_do_not_allow_is_an_error(no_text, reference):
    with pytest.raises(InputError, match=reference):
        evaluate(no_text, "leave-last", reference=reference, users=10)


def test_a_split_that_leaves_nobody_is_an_error_with_a_way_out(tmp_path):
    short = make_world(tmp_path / "short", events().group_by("user_id", maintain_order=True).head(2), index=False)
    with pytest.raises(SplitError, match=r"leaves no user to predict for.*--split"):
        evaluate(short, "leave-last", systems=("popularity",))


def test_nothing_relevant_to_find_is_an_error_with_a_way_out(no_text):
    strict = SETTINGS.model_copy(update={"events": EventSettings(liked_from=99.0)})
    with pytest.raises(SplitError, match="liked_from in whyrec"):
        evaluate(no_text, "leave-last", settings=strict, systems=("popularity",))


class Impatient(Notebook):
    """Presses Ctrl-C where the test says."""

    def __init__(self, label):
        super().__init__()
        self.label = label

    def start(self, label, total):
        super().start(label, total)
        if label.startswith(self.label):
            raise KeyboardInterrupt


def interrupted(world, label, **plan):
    with pytest.raises(KeyboardInterrupt):
        evaluate(world, "users", Impatient(label), **plan)
    watch = Notebook()
    found = evaluation(world, "users", watch, **plan)
    return found.run("whyrec evaluate"), watch, found


@pytest.fixture(scope="module")
def uninterrupted(root, tmp_path_factory):
    return evaluate(Workspace(shutil.copytree(root, tmp_path_factory.mktemp("whole") / "copy")), "users", systems=SOME)


@pytest.mark.parametrize(("label", "kept"), [("rrf", 2), ("Bootstrap", 4)])
def test_an_interrupted_evaluation_goes_on_where_it_was(world, uninterrupted, label, kept):
    report, watch, found = interrupted(world, label, systems=SOME)
    assert watch.notes == [f"{name} (seed 0) was measured before the interruption" for name in SOME[:kept]]
    assert figures(report) == figures(uninterrupted)
    assert report["comparisons"] == uninterrupted["comparisons"]
    assert report["meta"]["parameters"] == uninterrupted["meta"]["parameters"]
    found.finish()
    assert not list(world.root.glob("reports/.unfinished/*"))


def test_what_was_measured_is_not_reused_for_another_question(world):
    _, again, _ = interrupted(world, "Bootstrap", systems=CHEAP)
    assert len(again.notes) == len(CHEAP)
    for other in ({"users": 5}, {"relevant": "any"}):
        watch = Notebook()
        evaluate(world, "users", watch, systems=CHEAP, **other)
        assert watch.notes == []


def test_what_was_measured_is_not_reused_for_other_events(world):
    path = next(world.events_path.glob("*.parquet"))
    with pytest.raises(KeyboardInterrupt):
        evaluate(world, "users", Impatient("Bootstrap"), systems=CHEAP)
    pl.read_parquet(path).slice(1).write_parquet(path)
    watch = Notebook()
    evaluate(Workspace(world.root), "users", watch, systems=CHEAP)
    assert watch.notes == []
