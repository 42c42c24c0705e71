"""Constants of a student from another workspace: what they are good for, and when they do not serve."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
from conftest import WordEncoder
from evaluation_world import SETTINGS, Notebook, WordModels, items
from ranker_world import environment, indexed_world, said_by, whyrec

from agent.evaluation.study import Question, Study
from agent.evaluation.tuning import mean_ndcg
from agent.stored_student import STUDENT, current_student
from agent.transfer import SPLIT, Size, Transfer, few, learnt_from_few
from retrieval.cf.student import Student, StudentConfig
from retrieval.data.readers import Table
from retrieval.data.workspace import Workspace, create_workspace
from retrieval.errors import InputError
from retrieval.text.index import ItemIndex

KINDS, EACH = ("space", "cooking", "western", "jungle", "harbour", "winter"), 30
EVENTS = ["user_id", "item_id", "rating", "timestamp"]


def world(root, users, *, told, seed):
    """A workspace whose people like one kind each; ``told``: whether the texts tell of which kind an item is."""
    rng = np.random.default_rng(seed)
    kinds = np.repeat(np.arange(len(KINDS)), EACH)
    words = kinds if told else rng.permutation(kinds)
    rows = [
        {"item_id": f"item-{n:03}", "title": f"Tale {n:03}", "about": f"{KINDS[word]} of {'abcdefgh'[n % 8]}{n % 7}"}
        for n, word in enumerate(words)
    ]
    found = []
    for user in range(users):
        own = np.flatnonzero(kinds == user % len(KINDS))
        had = np.concatenate([rng.choice(own, 12, replace=False), rng.choice(len(kinds), 2, replace=False)])
        found += [(f"user-{user:03}", f"item-{n:03}", 5.0, 1_600_000_000 + place) for place, n in enumerate(set(had))]
    events = pl.DataFrame(found, schema=EVENTS, orient="row")
    create_workspace(root, Table(pl.DataFrame(rows).lazy(), "items"), Table(events.lazy(), "events"), noun="story")
    workspace = Workspace(root)
    index = ItemIndex(workspace.index_path, WordEncoder.fingerprint, create=True)
    index.update(workspace.catalog, index.changes(workspace.catalog), WordEncoder())
    index.complete(workspace.catalog_fingerprint)
    return workspace


def study(workspace, share=1.0):
    return Study(workspace, SETTINGS, WordModels(SETTINGS), Question(SPLIT, share=share), 0)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A domain with many people, whose texts tell what they like. Read only, but for what is kept of searches."""
    return world(tmp_path_factory.mktemp("elsewhere") / "ws", 120, told=True, seed=1)


def in_the_test(of, config):
    task = of.task("test")
    student = Student.fit(of.training_data("test"), config)
    return mean_ndcg(student.top(task.histories, 10, candidates=task.candidates).columns, of, task)


def test_where_texts_tell_the_same_a_handful_of_people_gain_by_what_others_showed(elsewhere, tmp_path):
    young = study(world(tmp_path / "ws", 120, told=True, seed=2), share=0.05)
    there = Transfer(study(elsewhere), young, 1, Notebook()).run("whyrec transfer").constants
    by_events = in_the_test(young, StudentConfig(**{**there.to_json(), "near": 0.0}))
    assert in_the_test(young, there) > 1.1 * by_events
    assert there.near > 0


def test_where_texts_tell_nothing_the_target_keeps_its_own(elsewhere, tmp_path):
    other = study(world(tmp_path / "ws", 120, told=False, seed=3))
    found = Transfer(study(elsewhere), other, 1, Notebook()).run("whyrec transfer")
    assert not found.serves
    assert found.low <= 0
    kept = current_student(other.workspace.root / STUDENT)
    assert kept.student.config == found.constants
    assert kept.made["validation"]["proven"] is False
    assert "of its own, as no gain of those from ws was proven" in (kept.folder / "README.md").read_text()


@pytest.mark.parametrize("most", [Size(120, 100), Size(9, 10**6)])
def test_few_are_learnt_from_and_everybody_is_asked(elsewhere, most):
    whole = study(elsewhere)
    before, after = (one.task("validation") for one in (whole, few(whole, most)))
    assert (100 <= after.train.values.nnz < 120) if most.events == 100 else (len(after.train) == most.people)
    assert after.histories.users == before.histories.users
    assert (after.histories.values != before.histories.values).nnz == 0
    assert (after.held_out != before.held_out).nnz == 0
    assert Size.of(few(whole, most)).people == pytest.approx(9, abs=3)


def test_who_knows_as_many_is_learnt_from_as_a_whole(elsewhere):
    whole = study(elsewhere)
    assert learnt_from_few(whole.split, Size(10**6, 10**6)).fingerprint == whole.split.fingerprint


def test_nothing_is_carried_from_a_workspace_to_itself(elsewhere):
    with pytest.raises(InputError, match="name the same workspace"):
        Transfer(study(elsewhere), study(elsewhere), 1, Notebook())


def test_encoders_must_be_the_same(elsewhere, tmp_path):
    other = study(world(tmp_path / "ws", 10, told=True, seed=4))
    other.models.encoder_fingerprint = "another"
    with pytest.raises(InputError, match=r"different encoders \(word-encoder and another\)"):
        Transfer(study(elsewhere), other, 1, Notebook())


@pytest.fixture(scope="module")
def films(tmp_path_factory, folders):
    """An indexed workspace with events. Read only, but for what is kept of searches."""
    return indexed_world(tmp_path_factory.mktemp("films") / "films", folders)


@pytest.mark.usefixtures("exactly")
def test_a_workspace_without_events_is_served_at_once(films, folders, tmp_path):
    root, everywhere = tmp_path / "new", environment(folders)
    create_workspace(root, Table(items().lazy(), "items"), None, noun="story")
    assert whyrec("index", "-w", root, **everywhere).exit_code == 0
    made = whyrec("transfer", "--from", films, "--to", root, "--trials", "1", "-f", "json", **everywhere)
    assert made.exit_code == 0, made.output
    row = json.loads(made.stdout)[0]
    assert (row["events"], row["own"], row["serves"]) == (0, None, "from there")
    assert "serve unproven" in said_by(made)
    listed = whyrec("recommend", "--like", "Jungle Tale 01", "--mode", "fast", "-k", "5", "-f", "json", "-w", root)
    assert listed.exit_code == 0, listed.output
    assert all(row["item_id"].startswith("jungle") for row in json.loads(listed.stdout))
    assert "constants from films, not proven here" in said_by(listed)
    kept = whyrec("models", "-w", root, "-f", "json")
    assert "an untaught student with constants from films, not proven here" in kept.stdout


@pytest.mark.usefixtures("exactly")
def test_what_was_judged_is_told(films, folders, tmp_path):
    root = shutil.copytree(films, tmp_path / "copy")
    made = whyrec("transfer", "--from", films, "--to", root, "--trials", "1", "-f", "json", **environment(folders))
    assert made.exit_code == 0, made.output
    row = json.loads(made.stdout)[0]
    assert row["serves"] == ("from there" if row["gain above"] > 0 else "own")
    assert ("do not prove to help" in said_by(made)) == (row["serves"] == "own")
