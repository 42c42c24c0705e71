"""From the teacher's lists to a student that serves: whyrec label, whyrec distill, recommend --mode fast."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from evaluation_world import EACH, TOPICS
from ranker_world import environment, indexed_world, opened, said_by, tune_ranker, whyrec
from scipy.sparse import csr_array

from agent import distillation, labelling
from agent.stored_student import MEASURED, STUDENT, current_student
from retrieval.cf.scorer import TrainingData
from retrieval.data.events import History
from retrieval.data.histories import Histories
from retrieval.data.labels import LABELS, LabelStore
from retrieval.data.workspace import Workspace
from retrieval.errors import ModelError

HEAVY = ("torch", "transformers", "sentence_transformers", "peft", "chromadb", "sklearn", "scipy.linalg")
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


@pytest.fixture(scope="module")
def served(world, folders, tmp_path_factory):
    """A workspace whose student was taught by the scorers alone, on all events, and what distill said. Read only."""
    root = shutil.copytree(world, tmp_path_factory.mktemp("served") / "ws")
    everywhere = environment(folders) | ALONE
    assert whyrec("label", "--trials", "1", "-w", root, **everywhere).exit_code == 0
    return root, whyrec("distill", "--trials", "1", "--format", "json", "-w", root, **everywhere)


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


def test_a_student_is_taught_measured_and_listed(root, folders, monkeypatch):
    proven = np.full(40, 0.2), np.full(40, 0.3)
    monkeypatch.setattr(distillation.Distiller, "_validated", lambda *_: proven)
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


@pytest.mark.parametrize(("gain", "users", "serves"), [(0.1, 40, "student"), (-0.1, 40, "twin"), (0.1, 9, "twin")])
def test_what_was_proven_serves(root, folders, monkeypatch, gain, users, serves):
    label(root, folders, "--lists", "3")
    before = np.linspace(0.2, 0.6, users)
    monkeypatch.setattr(distillation.Distiller, "_validated", lambda *_: (before, before + gain))
    result = whyrec("distill", *ON_SPLIT, "--format", "json", "-w", root, **environment(folders))
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)[0]["serves"] == serves
    assert ("the untaught twin serves" in said_by(result)) == (serves == "twin")
    kept = current_student(root / MEASURED)
    assert (kept.student.bias != 0).any() == (serves == "student")
    assert len(kept.labelled) == (3 if serves == "student" else 0)
    assert kept.made["validation"]["proven"] == (serves == "student")


def test_the_tables_are_chosen_on_one_half_of_the_users_and_judged_by_the_other(root, folders, monkeypatch):
    words = ("--split", "temporal", "--trials", "1", "-w", root)
    assert whyrec("label", *words, **environment(folders) | ALONE).exit_code == 0
    judge = np.random.default_rng(0).permutation(40) % 2 == 0

    def validated(_, config):
        """Chosen for the twin: λ = 100, to be taught: 1,000; by those who judge, others are better."""
        chosen, judged = {100.0: (0.4, 0.1), 1_000.0: (0.3, 0.6)}.get(config.own, (0.1, 0.9))
        before, after = (np.where(judge, 0.2, value) for value in (chosen, judged))
        return (before, after) if config.own in (100.0, 1_000.0) else (before + 0 * judge, np.where(judge, 0.9, 0.1))

    monkeypatch.setattr(distillation.Distiller, "_validated", validated)
    result = whyrec("distill", *words, "--format", "json", **environment(folders) | ALONE)
    assert result.exit_code == 0, result.output
    made = current_student(root / MEASURED)
    assert made.student.config.own == 100.0  # judged by the other half, teaching gains nothing, so the twin serves
    assert json.loads(result.stdout)[0]["serves"] == "twin"


def fast(root, *words):
    """As a process of its own, which says what it has imported."""
    code = f"""
import sys
from agent.cli import main
try:
    main()
finally:
    print("loaded", [name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""
    call = [sys.executable, "-c", code, "recommend", *words, "--mode", "fast", "-w", str(root)]
    return subprocess.run(call, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "100"})


def test_the_student_serves_without_anything_heavy(served):
    root, made = served
    assert made.exit_code == 0, made.output
    result = fast(root, "user-01", "-k", "5", "-f", "json")
    assert result.returncode == 0, result.stderr
    assert "loaded []" in result.stderr
    rows = json.loads(result.stdout)
    had = set(Workspace(root).history("user-01").items)
    assert len(rows) == 5
    assert had.isdisjoint(row["item_id"] for row in rows)
    assert all(row["by"] == ["student"] and row["stages"] == {"student": row["score"]} for row in rows)
    assert sum(row["item_id"].startswith(TOPICS[1]) for row in rows) >= 3  # of the person's own topic


def test_somebody_new_names_what_they_like_and_filters_hold(served):
    root, _ = served
    result = fast(
        root,
        "--like",
        "Jungle Tale 01",
        "--like",
        "Jungle Tale 03",
        "-f",
        "json",
        "--where",
        "topics ~ drama",
        "-k",
        "50",
    )
    assert result.returncode == 0, result.stderr
    rows = json.loads(result.stdout)
    assert len(rows) == len(TOPICS) * EACH // 2 - 2
    assert {"jungle-01", "jungle-03"}.isdisjoint(row["item_id"] for row in rows)
    assert rows[0]["item_id"].startswith("jungle")
    assert f"only {len(rows)} of 50 items" in result.stderr


def test_explanations_come_along_on_request(served, folders):
    root, _ = served
    words = ("recommend", "user-01", "--mode", "fast", "-k", "2", "--explain", "--writer", "template", "-f", "json")
    result = whyrec(*words, "-w", root, **environment(folders) | ALONE)
    assert result.exit_code == 0, result.output
    assert all(row["explanation"] and row["by"] == ["student"] for row in json.loads(result.stdout))


def test_what_is_exported_scores_as_what_serves(served, tmp_path):
    root = shutil.copytree(served[0], tmp_path / "ws")
    settings = (root / "whyrec.toml").read_text()
    (root / "whyrec.toml").write_text(settings.replace("liked_from = 4.0", "liked_from = 2.0"))  # not what it learnt by
    assert whyrec("export", "student", "--out", tmp_path / "s.npz", "-w", root).exit_code == 0
    student = current_student(root / STUDENT).student
    items = sorted(Workspace(root).catalog.ids)
    history = Histories.of([History(("space-01", "jungle-03"), (5.0, 3.0))], items)
    with np.load(tmp_path / "s.npz", allow_pickle=False) as file:
        weights = np.where(history.values.data >= file["liked_from"], 1.0, file["weak"])
        person = weights @ file["parts"][history.values.indices]
        scores = file["vectors"] @ (person / np.linalg.norm(person)) + file["bias"]
    np.testing.assert_allclose(scores, student.score(history)[0], atol=1e-4)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--query", "space"), 1, "reads no words"),
        (("user-01", "--alpha", "0.5"), 2, "--mode fast does without"),
        (("nobody",), 1, "no user 'nobody'"),
        (("user-01", "--where", "topics ~ opera"), 1, "no item has 'opera'"),
    ],
)
def test_what_it_cannot_do_is_said_in_a_line(served, words, code, said):
    result = whyrec("recommend", *words, "--mode", "fast", "-w", served[0])
    assert result.exit_code == code
    assert said in said_by(result)


def test_without_a_student_it_says_how_to_make_one(world):
    result = whyrec("recommend", "user-01", "--mode", "fast", "-w", world)
    assert result.exit_code == 1
    assert "whyrec label" in result.stderr
    assert "whyrec distill" in result.stderr


def test_a_student_of_other_items_or_events_is_named(served, tmp_path):
    root = shutil.copytree(served[0], tmp_path / "ws")
    config = current_student(root / STUDENT).folder / "config.json"
    made = json.loads(config.read_text())
    config.write_text(json.dumps(made | {"events": "others"}))
    assert "taught on other events" in whyrec("recommend", "user-01", "--mode", "fast", "-w", root).stderr
    config.write_text(json.dumps(made | {"catalog": "others"}))
    result = whyrec("recommend", "user-01", "--mode", "fast", "-w", root)
    assert result.exit_code == 1
    assert "made for other items" in result.stderr


def test_a_damaged_student_is_named(served, tmp_path):
    root = shutil.copytree(served[0], tmp_path / "ws")
    folder = current_student(root / STUDENT).folder
    tables = folder / "student.safetensors"
    tables.write_bytes(tables.read_bytes()[:-8])
    with pytest.raises(ModelError, match="cannot be read"):
        current_student(root / STUDENT)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"format_version": 99}))
    with pytest.raises(ModelError, match="newer whyrec"):
        current_student(root / STUDENT)


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
    scores = dict(
        zip(zip(kept["user_id"], kept["item_id"], strict=True), distillation.shared(kept)["score"], strict=True)
    )
    assert scores == pytest.approx({key: z + changes[key[1]] for key, z in before.items()})
    lists = distillation.teacher_lists(distillation.shared(kept), room)
    assert lists.histories.users == ("ann", "bob", "cat")
    assert lists.columns.tolist() == [[2, 3], [2, 3], [0, 2]]
    assert lists.scores[0] == pytest.approx([1 + 2 / 3, -2])


def test_where_the_model_was_never_asked_the_scorers_alone_are_shared():
    rows = [("ann", "h", "a", 2.0, None, 2.0), ("ann", "h", "b", 1.0, None, 1.0), ("bob", "h", "a", 3.0, None, 3.0)]
    schema = ["user_id", "history", "item_id", "retrieved", "ranked", "score"]
    labels = pl.DataFrame(rows, schema, orient="row", schema_overrides={"ranked": pl.Float32})
    assert distillation.shared(labels)["score"].to_list() == [1, -1, 0]
