"""From the teacher's lists to a student that serves: whyrec label, whyrec distill, recommend --mode fast."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from ranker_world import environment, indexed_world, opened, said_by, tune_ranker, whyrec
from scipy.sparse import csr_array

from agent import distillation, labelling, student_proof
from agent.gate import COLD, Gate, Stratum, group_of
from agent.stored_student import MEASURED, STUDENT, current_student
from agent.teacher import Classroom, Teacher
from retrieval.cf.scorer import TrainingData
from retrieval.data.histories import Histories
from retrieval.data.labels import LABELS, LabelStore

ON_SPLIT = ("--split", "cold-items", "--trials", "1")
ALONE = {"WHYREC_RANKING__RANKER": "off"}


pytestmark = pytest.mark.usefixtures("exactly")


@pytest.fixture(scope="module")
def world(tmp_path_factory, folders):
    """A workspace with a ranker that has a say on its split. Read only."""
    root = indexed_world(tmp_path_factory.mktemp("world") / "ws", folders)
    assert tune_ranker(root, folders).exit_code == 0
    opened(root, 0.5)
    return root


@pytest.fixture
def root(world, tmp_path):
    return shutil.copytree(world, tmp_path / "ws")


def label(root, folders, *more):
    result = whyrec("label", *ON_SPLIT, "--format", "json", *more, "-w", root, **environment(folders))
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)[0]


def labels_of(root):
    return LabelStore(root / LABELS).read()[0]


def test_as_many_lists_are_asked_for_as_the_budget_allows_and_none_twice(root, folders):
    first = label(root, folders, "--lists", "5")
    assert (first["with LM"], first["asked now"]) == (5, 5)
    found = labels_of(root)
    people = found.group_by("user_id").agg(pl.col("ranked").is_not_null().all())
    assert people["ranked"].sum() == 5
    assert len(people) == first["with LM"] + first["by scorers"]
    assert found["teacher"].unique().to_list() == [first["teacher"]]

    parts = sorted((root / LABELS).iterdir())
    again = label(root, folders, "--lists", "5")
    assert (again["with LM"], again["asked now"]) == (5, 0)
    assert sorted((root / LABELS).iterdir()) == parts
    more = label(root, folders, "--lists", "8")
    assert (more["with LM"], more["asked now"]) == (8, 3)
    assert labels_of(root).filter(pl.col("ranked").is_not_null())["user_id"].n_unique() == 8
    assert len(labels_of(root)) == len(found)


def test_a_label_is_what_the_gate_makes_of_both(root, folders):
    label(root, folders, "--lists", "3")
    judged = labels_of(root).filter(pl.col("ranked").is_not_null())
    assert judged["user_id"].n_unique() == 3
    for _, one in judged.group_by("user_id"):
        z = [(one[name] - one[name].mean()) / one[name].std(ddof=0) for name in ("retrieved", "ranked")]
        assert one["score"].to_list() == pytest.approx((0.5 * z[0] + 0.5 * z[1]).to_list(), abs=1e-4)


def test_the_model_has_a_say_in_lists_of_the_kind_for_which_its_gate_is_open():
    items, users = ("a", "b", "c", "d", "e"), ("ann", "bob")
    values = csr_array(np.array([[5, 0, 4, 0, 0], [0, 4, 0, 0, 0]], dtype=np.float32))
    room = Classroom(TrainingData(Histories(users, items, values), None, 0), None, "split")
    everybody = (Stratum(COLD, group_of(1), 0.5, 0.1, 0.2, 0.05, 30, (0.1,)),)
    ranker = SimpleNamespace(gate_in=lambda _: Gate(everybody))
    teacher = Teacher(SimpleNamespace(workspace=SimpleNamespace(catalog=None)), room, None, ranker)
    rows = [("bob", "a"), ("ann", "d"), ("bob", "c"), ("ann", "b"), ("ann", "e"), ("bob", "d")]
    labels = teacher.with_say(pl.DataFrame(rows, ["user_id", "item_id"], orient="row"))
    assert labels["user_id"].to_list() == [user for user, _ in rows]
    assert labels["say"].to_list() == [user == "ann" for user, _ in rows]  # bob's list is of what somebody has had


def test_a_budget_of_nothing_leaves_the_lists_to_the_scorers(root, folders):
    found = label(root, folders, "--lists", "0")
    assert (found["with LM"], found["asked now"]) == (0, 0)
    assert found["by scorers"] > 50
    assert labels_of(root)["ranked"].null_count() == len(labels_of(root))
    timed = label(root, folders, "--budget", "0s")
    assert (timed["with LM"], timed["asked now"]) == (0, 0)


def test_a_budget_must_be_a_duration(root, folders):
    result = whyrec("label", "--budget", "soon", "-w", root, **environment(folders))
    assert result.exit_code == 2
    assert "90s, 30m or 2h" in said_by(result)


def test_labelling_that_was_killed_goes_on_where_it_was(root, folders, monkeypatch):
    monkeypatch.setattr(labelling, "PART", 2)
    kept = LabelStore.add

    def killed(store, labels):
        if len(list((root / LABELS).glob("part-*"))) == 2:
            raise KeyboardInterrupt
        kept(store, labels)

    with monkeypatch.context() as patch:
        patch.setattr(LabelStore, "add", killed)
        assert whyrec("label", *ON_SPLIT, "--lists", "9", "-w", root, **environment(folders)).exit_code == 130
    assert labels_of(root)["user_id"].n_unique() == 4
    found = label(root, folders, "--lists", "9")
    assert (found["with LM"], found["asked now"]) == (9, 5)

    part = sorted((root / LABELS).glob("part-*"))[0]
    part.write_bytes(part.read_bytes()[:50])
    result = whyrec("label", *ON_SPLIT, "--lists", "9", "-f", "json", "-w", root, **environment(folders))
    assert json.loads(result.stdout)[0]["asked now"] == 2
    assert "1 parts in labels/ could not be read" in result.stderr


def validates(monkeypatch, before, after, scorers=0.0):
    """Validation finds this of twin, student and scorers."""
    found = pl.DataFrame({"before": before, "after": after}).with_columns(scorers=before + scorers)
    found = found.with_row_index("user")
    monkeypatch.setattr(student_proof.Prover, "_validated", lambda *_: [found])


def test_a_student_is_taught_measured_and_listed(root, folders, monkeypatch):
    validates(monkeypatch, np.full(40, 0.2), np.full(40, 0.3))
    label(root, folders, "--lists", "40")
    result = whyrec("distill", *ON_SPLIT, "--format", "json", "-w", root, **environment(folders))
    assert result.exit_code == 0, result.output
    row = json.loads(result.stdout)[0]
    assert row["with LM"] == 40
    assert not (root / STUDENT).exists()  # what was made to be measured does not serve
    listed = json.loads(whyrec("models", "-f", "json", "-w", root).stdout)
    own = [one for one in listed if "student" in one["kind"]]
    assert [(one["kind"], one["live"]) for one in own] == [("measured-student", False)]
    assert "it never serves" in said_by(whyrec("models", "use", own[0]["version"], "-w", root))
    words = ("evaluate", *ON_SPLIT, "--systems", "fused,ranked,twin,student", "--format", "json")
    measured = whyrec(*words, "-w", root, **environment(folders))
    assert measured.exit_code == 0, measured.output
    rows = json.loads(measured.stdout)
    strata = {one["stratum"] for one in rows if one["system"] == "student"}
    assert {"labelled=yes", "labelled=no"} <= strata
    ndcg = {(one["system"], one["stratum"]): one["mean"] for one in rows if (one["metric"], one["k"]) == ("ndcg", 10)}
    assert ndcg["student", "all"] != ndcg["twin", "all"]
    shutil.rmtree(root / LABELS)  # the student knows by itself who was labelled
    alone = whyrec("evaluate", *ON_SPLIT, "--systems", "student", "-f", "json", "-w", root, **environment(folders))
    assert {one["stratum"] for one in json.loads(alone.stdout)} >= {"labelled=yes", "labelled=no"}
    other = whyrec("evaluate", "--split", "temporal", "--systems", "student", "-w", root, **environment(folders))
    assert other.exit_code == 1
    assert "whyrec distill --split temporal" in other.stderr.replace("\n", " ")


def test_labels_of_another_teacher_are_refused(root, folders):
    label(root, folders, "--lists", "2")
    opened(root, 0.25)
    result = whyrec("distill", *ON_SPLIT, "-w", root, **environment(folders))
    assert result.exit_code == 1
    assert "of another teacher" in result.stderr


def test_without_labels_there_is_nothing_to_learn(root, folders):
    result = whyrec("distill", *ON_SPLIT, "-w", root, **environment(folders))
    assert result.exit_code == 1
    assert "make some with: whyrec label" in result.stderr


@pytest.mark.parametrize(
    ("gain", "lead", "users", "serves"),
    [(0.1, 0.0, 40, "student"), (0.1, 0.2, 40, "student"), (-0.1, 0.1, 40, "twin"), (0.1, 0.2, 9, "twin")],
)
def test_what_was_proven_serves(root, folders, monkeypatch, gain, lead, users, serves):
    label(root, folders, "--lists", "3")
    before = np.linspace(0.2, 0.6, users)
    validates(monkeypatch, before, before + gain, lead)
    result = whyrec("distill", *ON_SPLIT, "--format", "json", "-w", root, **environment(folders))
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)[0]["serves"] == serves
    assert ("the untaught twin serves" in said_by(result)) == (serves == "twin")
    assert ("the scorers are proven ahead of it" in said_by(result)) == (lead > max(gain, 0) and users == 40)
    kept = current_student(root / MEASURED)
    assert (kept.student.bias != 0).any() == (serves == "student")
    assert len(kept.labelled) == (3 if serves == "student" else 0)
    assert kept.made["validation"]["proven"] == (serves == "student")


def test_what_the_model_says_of_an_item_is_shared_by_everybody():
    items, users = ("a", "b", "c", "d"), ("ann", "bob", "cat", "eve")
    values = csr_array(np.array([[5, 0, 0, 0], [0, 4, 0, 0], [0, 3, 0, 0], [0, 0, 3, 0]], dtype=np.float32))
    histories = Histories(users, items, values)
    room = distillation.Classroom(TrainingData(histories), None, "")
    rows = [
        ("ann", "c", 2.0, None, 2.0),
        ("ann", "d", 1.0, 0.5, 1.0),  # judged in part: as the scorers say
        ("bob", "c", 1.0, 3.0, 9.0),
        ("bob", "d", 2.0, 1.0, 8.0),
        ("cat", "a", 2.0, 2.0, 6.0),
        ("cat", "c", 1.0, 1.0, 5.0),
        ("eve", "a", 1.0, 1.0, 1.0),
    ]
    known = dict(zip(users, histories.hashes(), strict=True)) | {"eve": "another"}
    schema = ["user_id", "item_id", "retrieved", "ranked", "score"]
    labels = pl.DataFrame(rows, schema, orient="row").with_columns(history=pl.col("user_id").replace_strict(known))
    kept, changed = distillation.up_to_date(labels, room)
    assert (kept["user_id"].unique().sort().to_list(), changed) == (["ann", "bob", "cat"], 1)
    # Bob's c rose from -1 to 1 and his d fell from 1 to -1; of Cat's nothing changed.
    changes = {"a": 0.0, "c": (2 + 0) / (2 + 1), "d": -2 / (1 + 1)}
    before = {("ann", "c"): 1, ("ann", "d"): -1, ("bob", "c"): -1, ("bob", "d"): 1, ("cat", "a"): 1, ("cat", "c"): -1}
    for heard in (("ann", "bob", "cat"), ("bob", "cat")):  # ann's list may not change where the model has no say in it
        found = distillation.shared(kept.with_columns(say=pl.col("user_id").is_in(heard)))
        scores = dict(zip(zip(found["user_id"], found["item_id"], strict=True), found["score"], strict=True))
        expected = {(user, item): z + changes[item] * (user in heard) for (user, item), z in before.items()}
        assert scores == pytest.approx(expected)
    lists = distillation.teacher_lists(distillation.shared(kept.with_columns(say=True)), room)
    assert lists.histories.users == ("ann", "bob", "cat")
    assert lists.columns.tolist() == [[2, 3], [2, 3], [0, 2]]
    assert lists.scores[0] == pytest.approx([1 + 2 / 3, -2])


def test_where_the_model_was_never_asked_the_scorers_alone_are_shared():
    rows = [("ann", "h", "a", 2.0, None, 2.0), ("ann", "h", "b", 1.0, None, 1.0), ("bob", "h", "a", 3.0, None, 3.0)]
    schema = ["user_id", "history", "item_id", "retrieved", "ranked", "score"]
    labels = pl.DataFrame(rows, schema, orient="row", schema_overrides={"ranked": pl.Float32})
    assert distillation.shared(labels.with_columns(say=True))["score"].to_list() == [1, -1, 0]


def test_pre_training_alone_needs_no_labels(root, folders, monkeypatch):
    validates(monkeypatch, np.full(40, 0.2), np.full(40, 0.3))
    words = ("distill", *ON_SPLIT, "--pretrain", "alone", "--format", "json", "-w", root)
    result = whyrec(*words, **environment(folders) | ALONE)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)[0]["lists"] == 0
    assert "masked" in said_by(result)
    assert "contrast" in said_by(result)
    made = current_student(root / MEASURED)
    assert made.made["how"]["teaching"] is None
    assert made.made["how"]["pretraining"]["epochs"] > 0
    assert "learnt from sequences" in (made.folder / "README.md").read_text()
    assert len(made.labelled) == 0


def test_pre_training_comes_before_the_teacher(root, folders, monkeypatch):
    label(root, folders, "--lists", "3")
    validates(monkeypatch, np.full(40, 0.2), np.full(40, 0.3))
    words = ("distill", *ON_SPLIT, "--format", "json", "-w", root)
    students = []
    for more in ((), ("--pretrain", "first")):
        result = whyrec(*words, *more, **environment(folders))
        assert result.exit_code == 0, result.output
        students.append(current_student(root / MEASURED).student)
        said = said_by(result)
        assert ("masked" in said, "teacher" in said) == (bool(more), True)
    assert not np.allclose(students[0].parts, students[1].parts)


def test_pre_training_is_proven_as_a_part_of_the_whole(root, folders):
    words = ("distill", *ON_SPLIT, "--pretrain", "alone", "--format", "json", "-w", root)
    result = whyrec(*words, **environment(folders) | ALONE)
    assert result.exit_code == 0, result.output
    row = json.loads(result.stdout)[0]
    assert row["student"] != row["twin"]
