"""What the student serves, without anything heavy: recommend --mode fast, and the file for other programs."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from evaluation_world import EACH, TOPICS
from ranker_world import environment, indexed_world, said_by, whyrec

from agent.stored_student import STUDENT, current_student
from retrieval.data.events import History
from retrieval.data.histories import Histories
from retrieval.data.workspace import Workspace
from retrieval.errors import ModelError

HEAVY = ("torch", "transformers", "sentence_transformers", "peft", "chromadb", "sklearn", "scipy.linalg")
ALONE = {"WHYREC_RANKING__RANKER": "off"}


pytestmark = pytest.mark.usefixtures("exactly")


@pytest.fixture(scope="module")
def world(tmp_path_factory, folders):
    """An indexed workspace. Read only."""
    return indexed_world(tmp_path_factory.mktemp("world") / "ws", folders)


@pytest.fixture(scope="module")
def served(world, folders, tmp_path_factory):
    """Its student was taught by the scorers alone, on all events; and what distill said. Read only."""
    root = shutil.copytree(world, tmp_path_factory.mktemp("served") / "ws")
    everywhere = environment(folders) | ALONE
    labelled = whyrec("label", "--trials", "1", "-w", root, **everywhere)
    assert labelled.exit_code == 0
    assert "the text alone finds what is listed" in said_by(labelled)
    return root, whyrec("distill", "--trials", "1", "--format", "json", "-w", root, **everywhere)


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


def test_a_reaction_counts_in_the_next_process(served, folders, tmp_path):
    root = shutil.copytree(served[0], tmp_path / "ws")

    def asked(user, *words, mode):
        call = [sys.executable, "-c", "from agent.cli import main; main()", "recommend", user, "--mode", mode, *words]
        variables = {**os.environ, **environment(folders), **ALONE}
        result = subprocess.run(
            [*call, "-w", str(root), "-f", "json"], capture_output=True, text=True, check=True, env=variables
        )
        return [row["item_id"] for row in json.loads(result.stdout)]

    for title in ("Jungle Tale 01", "Jungle Tale 03"):
        assert whyrec("feedback", "add", "newcomer", title, "like", "-w", root).exit_code == 0
    found = asked("newcomer", "-k", "5", mode="fast")
    assert sum(item.startswith("jungle") for item in found) >= 4
    assert {"jungle-01", "jungle-03"}.isdisjoint(found)
    for item, reaction in zip(found, ("dislike", "hide"), strict=False):
        assert whyrec("feedback", "add", "newcomer", f"id:{item}", reaction, "-w", root).exit_code == 0
    for mode in ("fast", "retrieval"):
        again = asked("newcomer", "-k", "80", "--include-seen", mode=mode)
        assert len(again) > 70
        assert set(found[:2]).isdisjoint(again)
        assert sum(item.startswith("jungle") for item in again[:10]) >= 8
    assert "loaded []" in fast(root, "newcomer").stderr
    refused = fast(root, "newcomer", "--pin", f"id:{found[1]}")
    assert refused.returncode == 1
    assert "this user disliked or hid" in refused.stderr


def test_compacting_names_what_knows_other_events(served, tmp_path):
    root = shutil.copytree(served[0], tmp_path / "ws")
    assert whyrec("feedback", "add", "newcomer", "Jungle Tale 01", "like", "-w", root).exit_code == 0
    before = fast(root, "newcomer", "-k", "5", "-f", "json")
    result = whyrec("compact", "-w", root)
    assert "Events now: 1 like" in result.stderr
    assert "the student" in result.stderr
    assert "knows other events than there are now; renew it: whyrec label" in said_by(result)
    after = fast(root, "newcomer", "-k", "5", "-f", "json")
    assert after.stdout == before.stdout
    assert "taught on other events" not in before.stderr
    assert "taught on other events" in after.stderr


def test_explanations_come_along_on_request(served, folders):
    root, _ = served
    words = ("recommend", "user-01", "--mode", "fast", "-k", "2", "--explain", "--writer", "template", "-f", "json")
    result = whyrec(*words, "-w", root, **environment(folders) | ALONE)
    assert result.exit_code == 0, result.output
    assert all(row["explanation"] and row["by"] == ["student"] for row in json.loads(result.stdout))


def test_a_list_is_shaped_without_anything_heavy(served):
    root, _ = served
    words = ("user-01", "-k", "5", "-f", "json", "--pin", "Jungle Tale 02", "--ban", "Cooking Tale 00")
    steps = ("--explore", "1", "--novelty", "0.3", "--calibrated", "0.3", "--diversity", "0.5")
    result = fast(root, *words, *steps)
    assert result.returncode == 0, result.stderr
    assert "loaded []" in result.stderr
    rows = json.loads(result.stdout)
    assert (rows[0]["item_id"], rows[0]["by"]) == ("jungle-02", ["pin"])
    for row in rows[1:]:
        assert [step for step in row["by"] if step != "explore"] == ["student", "novelty", "calibrated", "diversity"]
        assert list(row["stages"]) == ["student", "explore", "novelty", "calibrated", "diversity"]
    assert any("explore" in row["by"] for row in rows)
    assert fast(root, *words, *steps).stdout == result.stdout


def test_strengths_of_0_give_the_plain_list_and_what_is_banned_is_not_there(served):
    root, _ = served
    plain = json.loads(whyrec("recommend", "user-01", "--mode", "fast", "-f", "json", "-w", root).stdout)
    words = ("recommend", "user-01", "--mode", "fast", "-f", "json", "--diversity", "0", "--explore", "0", "-w", root)
    assert json.loads(whyrec(*words).stdout) == plain
    ban = f"id:{plain[0]['item_id']}"
    without = json.loads(whyrec(*words, "--ban", ban).stdout)
    assert [row["item_id"] for row in without[:9]] == [row["item_id"] for row in plain[1:]]
    fitting = json.loads(whyrec(*words, "--ban", ban, "--where", "topics ~ drama").stdout)
    assert plain[0]["item_id"] not in [row["item_id"] for row in fitting]
    assert len(fitting) == 10


def test_a_diverse_list_goes_by_what_the_student_knows_of_items(served):
    root, _ = served
    found = {}
    for strength in ("0", "0.9"):
        words = ("recommend", "user-01", "--mode", "fast", "-f", "json", "--diversity", strength, "-w", root)
        found[strength] = [row["item_id"] for row in json.loads(whyrec(*words).stdout)]
    vectors = current_student(root / STUDENT).student.vectors
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    items = sorted(Workspace(root).catalog.ids)
    alike = {}
    for strength, listed in found.items():
        own = vectors[[items.index(item_id) for item_id in listed]]
        alike[strength] = (own @ own.T)[np.triu_indices(len(own), 1)].mean()
    assert alike["0.9"] < alike["0"] / 2


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
