"""`whyrec compress` and the profile small: what is measured, what is chosen, what serves then, and what is refused."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from ranker_world import environment, indexed_world, opened, said_by, tune_ranker, whyrec

from agent.compression import MOST, Point, failing, loss, smallest, ways
from agent.profile import PROFILE, Profile, current_profile, save_profile
from agent.settings import load_settings
from agent.stored_student import STUDENT, current_student, save_student
from retrieval.cf.live import TEXT_ALONE, described
from retrieval.errors import WorkspaceError

pytestmark = pytest.mark.usefixtures("exactly")
PROVEN_ON = described(TEXT_ALONE)
AUTO = {"WHYREC_LANGUAGE_MODEL__PRECISION": "auto"}


@pytest.fixture(scope="module")
def world(tmp_path_factory, folders):
    """A workspace with a tuned ranker, whose gate is open, and a student. Read only."""
    root = indexed_world(tmp_path_factory.mktemp("world") / "ws", folders)
    everywhere = environment(folders)
    assert whyrec("label", "--trials", "1", "-w", root, **everywhere, WHYREC_RANKING__RANKER="off").exit_code == 0
    assert whyrec("distill", "--trials", "1", "-w", root, **everywhere, WHYREC_RANKING__RANKER="off").exit_code == 0
    assert tune_ranker(root, folders).exit_code == 0
    opened(root, 0.6, retrieval=PROVEN_ON)
    return root


@pytest.fixture(scope="module")
def compressed(world, folders, tmp_path_factory):
    """The same after whyrec compress, its cache, and what the command said. Read only."""
    root = shutil.copytree(world, tmp_path_factory.mktemp("compressed") / "ws")
    cache = {"WHYREC_CACHE": str(tmp_path_factory.mktemp("cache"))}
    words = ("compress", "--lists", "8", "--layers", "1", "--format", "json", "-w", root)
    return root, cache, whyrec(*words, **environment(folders) | AUTO | cache)


def point(**changes):
    plain = Point("language model", "int8", False, 10, 10, 1.0, 1.0, 0.2, 0.2, 0.0, (-0.01, 0.01), 100)
    return replace(plain, **changes)


DEFAULT = point(name="bfloat16", default=True, weights=20)


def test_the_smallest_that_loses_no_more_than_allowed_is_chosen():
    lossy = point(name="tiny", weights=1, lost=MOST + 0.001)
    cut = point(name="int8, first 20 layers", weights=2, serves=False)
    assert smallest([DEFAULT, point(), lossy, cut], "language model") == point()
    assert failing([DEFAULT, point(), lossy, cut]) == [lossy]
    assert smallest([DEFAULT, lossy], "language model") is None
    assert smallest([DEFAULT, point(weights=30)], "language model") is None
    assert smallest([DEFAULT], "student") is None


def test_a_loss_is_a_share_of_the_default_and_has_an_interval():
    default = np.array([0.5, 0.4, 0.3, 0.0] * 20)
    lost, (low, high) = loss(default * 0.9, default)
    assert lost == pytest.approx(0.1)
    assert 0.05 < low < 0.1 < high < 0.15
    assert loss(default, default) == (0, (0, 0))
    assert loss(default * 0, default * 0) == (0, (0, 0))


def test_the_default_of_the_processor_comes_first(monkeypatch):
    monkeypatch.setattr("agent.compression.computes_bfloat16", lambda: True)
    assert [one.name for one in ways(20)] == [
        "bfloat16",
        "float32",
        "int8",
        "bfloat16, first 20 layers",
        "int8, first 20 layers",
    ]
    monkeypatch.setattr("agent.compression.computes_bfloat16", lambda: False)
    assert [one.name for one in ways(None)] == ["float32", "int8"]


def test_every_way_is_measured_on_the_same_people(compressed):
    _, _, result = compressed
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    found = {(row["part"], row["way"]): row for row in rows}
    lm, student = "language model", "student"
    assert {part for part, _ in found} == {lm, student}
    assert {way for part, way in found if part == student} == {"float32", "float16", "int8"}
    for part in (lm, student):
        of_part = [row for row in rows if row["part"] == part]
        assert len({row["users"] for row in of_part}) == 1
        assert [row["default"] for row in of_part] == [True] + [False] * (len(of_part) - 1)
        assert of_part[0]["lost %"] == 0
        assert of_part[0]["times"] == 1
    assert all(row["passes"] == (row["lost %"] <= 100 * MOST and "layers" not in row["way"]) for row in rows)
    assert found[lm, "int8, first 1 layers"]["users"] == 8


def test_the_profile_serves_and_says_so(compressed, folders):
    root, cache, result = compressed
    chosen = current_profile(root / PROFILE)
    assert chosen.student in ("float16", "int8")
    assert f"profile small: the student in {chosen.student}" in said_by(result)
    everywhere = environment(folders) | AUTO | cache
    small = whyrec("recommend", "user-01", "--profile", "small", "-f", "json", "-w", root, **everywhere)
    assert small.exit_code == 0, small.output
    assert all("rank" in row["by"] for row in json.loads(small.stdout))
    rows = json.loads(whyrec("models", "-w", root, "-f", "json").stdout)
    assert [row["live"] for row in rows if row["kind"] == "profile"] == [True]


def test_the_student_of_the_profile_is_another_file_and_orders_alike(compressed):
    root, _, _ = compressed
    words = ("recommend", "user-01", "--mode", "fast", "-f", "json", "-w", root)
    plain, small = (json.loads(whyrec(*words, *more).stdout) for more in ((), ("--profile", "small")))
    assert [row["score"] for row in plain] != [row["score"] for row in small]
    assert len({row["item_id"] for row in plain} & {row["item_id"] for row in small}) >= 8
    folder, chosen = current_student(root / STUDENT).folder, current_profile(root / PROFILE).student
    sizes = [(folder / f"student{name}.safetensors").stat().st_size for name in ("", f"-{chosen}")]
    assert sizes[1] < 0.6 * sizes[0]


def test_the_setting_and_the_variable_say_the_same_as_the_option(compressed, monkeypatch):
    root, _, _ = compressed
    settings = root / "whyrec.toml"
    chosen = current_profile(root / PROFILE)
    assert load_settings(settings).student.precision == "float32"
    monkeypatch.setenv("WHYREC_PROFILE", "small")
    small = load_settings(settings)
    assert (small.language_model.precision, small.student.precision) == (chosen.language_model, chosen.student)
    assert load_settings(settings, "default").student.precision == "float32"


def test_a_student_that_was_not_rounded_is_named(compressed, tmp_path):
    root = shutil.copytree(compressed[0], tmp_path / "ws")
    chosen = current_profile(root / PROFILE).student
    (current_student(root / STUDENT).folder / f"student-{chosen}.safetensors").unlink()
    result = whyrec("recommend", "user-01", "--mode", "fast", "--profile", "small", "-w", root)
    assert result.exit_code == 1
    assert f"no tables in {chosen}; make them with: whyrec compress" in said_by(result)


def test_the_next_student_has_the_same_precisions(compressed, tmp_path):
    root = shutil.copytree(compressed[0], tmp_path / "ws")
    chosen = current_profile(root / PROFILE).student
    before = current_student(root / STUDENT)
    save_student(root / STUDENT, before.student, before.made, before.labelled)
    after = current_student(root / STUDENT, chosen)
    assert after.version != before.version
    assert 0 < np.abs(after.student.vectors - before.student.vectors).max() < 0.02 * np.ptp(before.student.vectors)


def test_without_a_profile_the_command_that_makes_it_is_named(world):
    result = whyrec("recommend", "user-01", "--profile", "small", "-w", world)
    assert result.exit_code == 1
    assert "there is no small profile; make it with: whyrec compress" in said_by(result)


@pytest.mark.parametrize(
    ("words", "variables", "code", "said"),
    [
        (("recommend", "user-01", "--profile", "tiny"), {}, 2, "'tiny' is not one of"),
        (("recommend", "user-01"), {"WHYREC_PROFILE": "tiny"}, 1, "setting profile"),
        (("recommend", "user-01"), {"WHYREC_STUDENT__PRECISION": "int4"}, 1, "setting student.precision"),
        (("recommend", "user-01"), {"WHYREC_LANGUAGE_MODEL__LAYERS": "0"}, 1, "setting language_model.layers"),
        (("compress", "--lists", "1"), {}, 2, "greater than or equal to 2"),
    ],
)
def test_wrong_values_are_refused(world, words, variables, code, said):
    result = whyrec(*words, "-w", world, **variables)
    assert result.exit_code == code
    assert said in said_by(result)


def test_without_a_ranker_there_is_no_order_to_compare(world, folders):
    result = whyrec("compress", "-w", world, **environment(folders) | {"WHYREC_RANKING__RANKER": "off"})
    assert result.exit_code == 1
    assert "whyrec finetune ranker" in said_by(result)


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"format_version": 9}, "newer whyrec"), ({"student": "int4"}, "cannot be read"), (None, "cannot be read")],
)
def test_a_damaged_profile_is_named(tmp_path, changed, said):
    save_profile(tmp_path, Profile("int8", "float16"), [], "whyrec compress")
    assert current_profile(tmp_path) == Profile("int8", "float16")
    [path] = tmp_path.rglob("config.json")
    path.write_text("{" if changed is None else json.dumps(json.loads(path.read_text()) | changed))
    with pytest.raises(WorkspaceError, match=said):
        current_profile(tmp_path)
