"""Parameters are searched on validation alone, the same number of times for each, and kept."""

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import polars as pl
import pytest
from evaluation_world import EVENTS, SETTINGS, events, make_world, quickly, study_of

from agent.evaluation.fusing import FUSED, find_fusions
from agent.evaluation.tuning import held_out_scores, tuned, tuning_folder
from agent.settings import EventSettings
from retrieval.data.splits import Split, make_split
from retrieval.data.workspace import Workspace
from retrieval.errors import SplitError, WorkspaceError


@pytest.fixture(autouse=True, scope="module")
def _quick():
    with quickly():
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Read only: copy it before tuning."""
    return make_world(tmp_path_factory.mktemp("tuning") / "world").root


@pytest.fixture
def world(root, tmp_path):
    return Workspace(shutil.copytree(root, tmp_path / "copy"))


def counted(study, name, trials):
    steps = []
    return tuned(study, name, trials, lambda: steps.append(1)), len(steps)


def outcome(found):
    """All that was found, without what differs from run to run, and without the fingerprint of the test part."""
    trials = [(dict(trial.parameters), trial.value) for trial in found.trials]
    return found.scorer, dict(found.parameters), found.value, found.threshold, trials


def fused(study):
    """What was chosen for each strategy to the byte, and what the trees say of some candidates."""
    found = find_fusions(study, [tuned(study, name, 1) for name in FUSED])
    candidates = np.random.default_rng(4).normal(size=(len(FUSED), 3, 30)).astype(np.float32)
    given = found.strategies["stacked"].stack.score(candidates, np.ones((3, 30), dtype=bool), np.array([1, 5, 30]))
    plain = {name: asdict(replace(fusion, stack=None)) for name, fusion in found.strategies.items()}
    return plain, found.values, found.singles, given.tobytes()


@pytest.mark.parametrize("name", ["item-knn", "mf", "ease", "soft-knn", "bias-knn"])
def test_every_scorer_with_ranges_gets_the_same_number_of_trials(world, name):
    found, steps = counted(study_of(world), name, 3)
    assert len(found.trials) == steps == 3
    assert len({json.dumps(dict(trial.parameters)) for trial in found.trials}) == 3


@pytest.mark.parametrize("name", ["item-knn", "mf", "soft-knn"])
def test_the_defaults_go_first_so_the_winner_is_never_worse(world, name):
    from retrieval.cf.scorers import SCORERS

    found = tuned(study_of(world), name, 4)
    defaults = SCORERS[name].config_type(positive_from=4.0)
    first = found.trials[0]
    assert SCORERS[name].config_type.from_json(first.parameters) == defaults
    assert found.value == max(trial.value for trial in found.trials) >= first.value
    assert found.parameters in [trial.parameters for trial in found.trials if trial.value == found.value]


@pytest.mark.parametrize("seed", range(3))
def test_the_default_of_a_scorer_without_ranges_goes_first_too(world, seed):
    assert tuned(study_of(world, seed=seed), "popularity", 1).trials[0].parameters == {"positive_from": 4.0}


@pytest.mark.parametrize("name", ["popularity", "cosine"])
def test_a_scorer_without_ranges_tries_each_choice_once(world, name):
    found, steps = counted(study_of(world), name, 10)
    assert sorted(str(trial.parameters["positive_from"]) for trial in found.trials) == ["4.0", "None"]
    assert steps == 2


def test_without_dislikes_there_is_one_choice(tmp_path):
    constant = make_world(tmp_path / "constant", events().with_columns(rating=pl.lit(5.0)), index=False)
    found = tuned(study_of(constant), "popularity", 10)
    assert [trial.parameters for trial in found.trials] == [{"positive_from": None}]


def test_rating_prediction_is_tuned_by_its_error(world):
    study = study_of(world)
    found = tuned(study, "bias-knn", 4)
    assert found.metric == "rmse"
    assert found.value == min(trial.value for trial in found.trials)
    every = []
    for part in study.validations:
        task = part.task("validation")
        errors = held_out_scores(found.fit(part, "validation"), task) - task.held_out.data
        every.append(np.sqrt(np.mean(errors**2)))
    assert len(every) > 1
    assert found.value == pytest.approx(np.mean(every), rel=1e-5)


def test_what_was_found_is_kept_and_not_searched_again(world):
    first, _ = counted(study_of(world), "item-knn", 3)
    assert counted(study_of(world), "item-knn", 3) == (first, 0)
    stored = json.loads((world.root / "tuning" / "temporal-0-liked" / "item-knn-3.json").read_text())
    assert stored["parameters"] == first.parameters
    assert len(stored["trials"]) == 3


def test_what_was_found_on_fewer_periods_is_searched_again(world):
    """An older whyrec validated on one, and did not say so."""
    found, _ = counted(study_of(world), "item-knn", 3)
    kept = world.root / "tuning" / "temporal-0-liked" / "item-knn-3.json"
    older = json.loads(kept.read_text())
    assert older.pop("validations") == found.validations == 3
    kept.write_text(json.dumps(older))
    assert counted(study_of(world), "item-knn", 3)[1] == 3


def test_more_trials_that_were_made_before_are_no_advantage(world):
    tuned(study_of(world), "item-knn", 4)
    found, steps = counted(study_of(world), "item-knn", 2)
    assert (len(found.trials), steps) == (2, 2)


@pytest.mark.parametrize(("name", "trials"), [("item-knn", 1), ("ease", 1), ("soft-knn", 3), ("tower", 3)])
def test_for_cold_items_only_scorers_that_read_text_are_searched(world, name, trials):
    found, steps = counted(study_of(world, "cold-items"), name, 3)
    assert (steps, len(found.trials)) == (trials, trials)
    assert counted(study_of(world, "cold-items"), name, 3) == (found, 0)


def test_more_trials_are_a_new_search(world):
    few = tuned(study_of(world), "item-knn", 2)
    more, steps = counted(study_of(world), "item-knn", 4)
    assert steps == 4
    assert outcome(more)[4][:2] == outcome(few)[4]


def test_other_events_are_a_new_search(world):
    tuned(study_of(world), "item-knn", 2)
    path = next(world.events_path.glob("*.parquet"))
    pl.read_parquet(path).slice(1).write_parquet(path)
    assert counted(study_of(world), "item-knn", 2)[1] == 2


def test_parameters_of_another_version_are_a_new_search(world):
    found = tuned(study_of(world), "item-knn", 2)
    path = tuning_folder(study_of(world)) / "item-knn-2.json"
    stored = json.loads(path.read_text())
    del stored["parameters"]["shrink"]
    path.write_text(json.dumps(stored))
    again, steps = counted(study_of(world), "item-knn", 2)
    assert (again.parameters, steps) == (found.parameters, 2)


def test_another_question_is_a_new_search(world):
    strict = SETTINGS.model_copy(update={"events": EventSettings(liked_from=5.0)})
    studies = [study_of(world), study_of(world, settings=strict), study_of(world, relevant="any")]
    studies += [study_of(world, seed=1), study_of(world, "leave-last")]
    assert [counted(study, "item-knn", 1)[1] for study in studies] == [1] * 5


def test_what_was_tuned_on_few_users_does_not_stand_for_all(root, world):
    tuned(study_of(world, users=5), "item-knn", 3)
    clean = study_of(Workspace(shutil.copytree(root, world.root.with_name("clean"))))
    assert outcome(tuned(study_of(world), "item-knn", 3)) == outcome(tuned(clean, "item-knn", 3))


DAMAGED = [b"", b"{", b"[]", b"null", b'{"trials": []}', b'{"trials": [1]}', b"\xff\xfe\x00"]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_file_is_named_with_a_way_out(world, content):
    study = study_of(world)
    path = tuning_folder(study) / "item-knn-1.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(WorkspaceError, match=r"item-knn-1\.json cannot be read \(.+\); delete it to search again"):
        tuned(study, "item-knn", 1)


def test_an_interrupted_search_leaves_nothing_half_done(world):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(study_of(world), "item-knn", 3, stop)
    assert not tuning_folder(study_of(world)).exists()


def test_the_same_seed_finds_the_same(root, world):
    again = study_of(Workspace(shutil.copytree(root, world.root.with_name("again"))))
    for name in ("ials", "mf"):
        assert outcome(tuned(again, name, 3)) == outcome(tuned(study_of(world), name, 3))
    assert fused(again) == fused(study_of(world))


def test_nobody_to_validate_on_is_an_error_with_a_way_out(world):
    strict = SETTINGS.model_copy(update={"events": EventSettings(liked_from=99.0)})
    with pytest.raises(SplitError, match=r"no user with a relevant item to validate on.*--split.*events.liked_from"):
        tuned(study_of(world, settings=strict), "item-knn", 1)
    assert tuned(study_of(world, settings=strict, relevant="any"), "item-knn", 1).value > 0


SCHEMA = ["user_id", "item_id", "value", "timestamp"]
CHANGES = {
    "values": {"value": 7.5 - pl.col("value")},
    "items": {"item_id": pl.col("item_id").reverse()},
    "users": {"user_id": pl.format("stranger-{}", pl.int_range(pl.len()))},
}


def with_another_test(tmp_path, split, change):
    """A world whose events differ in what the split tests on, and nowhere else."""
    before = make_split(split, events().rename({"rating": "value"}), 0, "seconds").events
    test = pl.col("part") == "test"
    columns = {name: pl.when(test).then(other).otherwise(name) for name, other in CHANGES[change].items()}
    other = before.with_columns(**columns).select(SCHEMA)
    world = make_world(tmp_path / "other", other.rename({"value": "rating"}).select(EVENTS))
    after = study_of(world, split).split.events
    assert other.join(before, on=SCHEMA, how="anti").height > 0.9 * before.filter(test).height
    kept = pl.col("part").is_in(["train", "validation-history", "validation"])
    assert (
        after.filter(kept).select(SCHEMA).rows()
        == before.filter(kept).with_columns(timestamp=pl.col("timestamp") * 1000).select(SCHEMA).rows()
    )
    return world


@pytest.mark.parametrize(
    ("split", "change"),
    [
        ("temporal", "values"),
        ("leave-last", "items"),
        ("random", "values"),
        ("users", "items"),
        ("cold-items", "users"),
    ],
)
def test_no_leak_nothing_that_is_tested_on_changes_what_is_chosen(world, tmp_path, split, change):
    other = with_another_test(tmp_path, split, change)
    for name in ("popularity", "item-knn", "bias-knn"):
        assert outcome(tuned(study_of(other, split), name, 3)) == outcome(tuned(study_of(world, split), name, 3))
    if split in ("temporal", "leave-last", "cold-items"):  # fusing takes seconds
        assert fused(study_of(other, split)) == fused(study_of(world, split))


def test_no_leak_when_nothing_is_left_to_test_on(root, world):
    study = study_of(Workspace(shutil.copytree(root, world.root.with_name("other"))))
    study.split = Split("temporal", 0, study.split.events.filter(~pl.col("part").is_in(["test-history", "test"])))
    for name in ("item-knn", "bias-knn"):
        assert outcome(tuned(study, name, 3)) == outcome(tuned(study_of(world), name, 3))
    assert fused(study) == fused(study_of(world))


def test_no_leak_when_only_the_test_part_holds_dislikes(root, tmp_path):
    found = []
    for number, value in enumerate((5.0, 1.0)):
        study = study_of(Workspace(shutil.copytree(root, tmp_path / str(number))))
        values = pl.when(pl.col("part") == "test").then(value).otherwise(5.0)
        study.split = Split("temporal", 0, study.split.events.with_columns(value=values))
        found.append([outcome(tuned(study, name, 3)) for name in ("popularity", "item-knn")])
    assert found[0] == found[1]


def test_a_period_in_which_nothing_is_liked_is_not_validated_on(tmp_path):
    """Nobody could be asked about the first of three."""
    moments = events()["timestamp"].sort()
    dull = pl.col("timestamp") < moments[int(len(moments) * 0.6)]
    changed = events().with_columns(pl.when(dull).then(1.0).otherwise(pl.col("rating")).alias("rating"))
    study = study_of(make_world(tmp_path / "dull", changed))
    assert len(study.split.validations()) == 3
    assert len(study.validations) == 2
    found = tuned(study, "popularity", 2)
    assert found.value == max(trial.value for trial in found.trials) > 0
