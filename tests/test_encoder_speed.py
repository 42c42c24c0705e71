"""What `whyrec doctor --bench` measures and advises."""

import json
import sys
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import pytest
from test_cli import whyrec
from tiny_sentence_encoder import save_tiny_sentence_encoder

from agent import diagnosis, encoder_speed
from agent.encoder_speed import advise, compare_backends, made_up_texts
from agent.settings import EncoderSettings, Settings
from retrieval.errors import ModelError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Read only."""
    return save_tiny_sentence_encoder(tmp_path_factory.mktemp("encoder"))


def settings(folder, tmp_path):
    return Settings(cache=tmp_path / "cache", device="cpu", encoder=EncoderSettings(model=str(folder)))


def compared(folder, tmp_path):
    rows = compare_backends(settings(folder, tmp_path), made_up_texts()[:70], lambda _: None)
    return {row.backend: row for row in rows}


def test_made_up_texts_are_always_the_same_and_of_many_lengths():
    lengths = [len(text.split()) for text in made_up_texts()]
    assert made_up_texts() == made_up_texts()
    assert (len(set(made_up_texts())), min(lengths) < 12, max(lengths) > 40) == (256, True, True)


def test_both_backends_are_measured_against_torch(folder, tmp_path):
    pytest.importorskip("onnx")
    found = compared(folder, tmp_path)
    assert list(found) == ["torch", "onnx-int8"]
    assert all(row.texts_per_second > 0 for row in found.values())
    assert (found["torch"].mean_cosine, found["torch"].lowest_cosine) == (1.0, 1.0)
    assert 0.99 < found["onnx-int8"].lowest_cosine <= found["onnx-int8"].mean_cosine < 1.0


def test_the_figure_is_the_median_of_rounds(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(encoder_speed, "BACKENDS", ("torch",))
    monkeypatch.setattr(encoder_speed, "MOST_ROUNDS", 3)
    clock = iter([0.0, 0.0, 1.0, 0.0, 9.0, 0.0, 2.0])
    monkeypatch.setattr(encoder_speed, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert compared(folder, tmp_path)["torch"].texts_per_second == 35.0  # 70 texts in 2 seconds


def test_without_onnx_torch_alone_is_measured(folder, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] in ("onnx", "onnxruntime")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    found = compared(folder, tmp_path)
    assert (found["torch"].texts_per_second > 0, found["torch"].advice) == (True, "in use")
    assert found["onnx-int8"].texts_per_second is None
    assert "pip install 'whyrec[onnx]'" in found["onnx-int8"].advice


def test_an_encoder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="no-encoder"):
        compared("./no-encoder", tmp_path)


def test_all_texts_are_given_at_once():
    given = []

    class Listening:
        def encode(self, texts):
            given.append(len(texts))

    encoder_speed._rates({"torch": Listening(), "onnx-int8": Listening()}, made_up_texts())
    assert set(given) == {256}


@pytest.mark.parametrize(
    ("backend", "used", "int8", "words"),
    [
        ("onnx-int8", "torch", 200.0, '2.0 times as fast: set backend = "onnx-int8"'),
        ("torch", "torch", 200.0, "in use; slower"),
        ("onnx-int8", "onnx-int8", 200.0, "in use; 2.0 times as fast"),
        ("onnx-int8", "torch", 105.0, "not in use; 1.1 times as fast, not worth a change"),
        ("torch", "onnx-int8", 50.0, '2.0 times as fast: set backend = "torch"'),
        ("onnx-int8", "torch", 50.0, "not in use; slower"),
    ],
)
def test_a_change_is_advised_where_it_is_worth_an_index(backend, used, int8, words):
    assert advise(backend, {"torch": 100.0, "onnx-int8": int8}, used).startswith(words)


def test_doctor_prints_the_measurement(folder, tmp_path):
    env = {"WHYREC_ENCODER__MODEL": str(folder), "WHYREC_CACHE": str(tmp_path / "cache")}
    result = whyrec("doctor", "--bench", "-w", "none", "-f", "json", cwd=tmp_path, env=env)
    assert result.returncode == 0, result.stderr
    rows = json.loads(result.stdout)
    assert [row["backend"] for row in rows] == ["torch", "onnx-int8"]
    assert rows[0]["texts_per_second"] > 0


@pytest.mark.parametrize("gone", ["onnx", "onnxruntime"])
def test_doctor_says_when_the_backend_lacks_a_package(folder, tmp_path, monkeypatch, gone):
    def version(package):
        if package == gone:
            raise PackageNotFoundError(package)
        return "2.0"

    monkeypatch.setattr(diagnosis, "version", version)
    monkeypatch.setenv("WHYREC_ENCODER__MODEL", str(folder))
    found = {row.what: row for row in diagnosis.diagnose(tmp_path / "none", tmp_path)}
    assert "encoder backend" not in found
    monkeypatch.setenv("WHYREC_ENCODER__BACKEND", "onnx-int8")
    found = {row.what: row for row in diagnosis.diagnose(tmp_path / "none", tmp_path)}
    assert (found["encoder"].state, found["encoder backend"].state) == ("ok", "missing")
    assert f"{gone} is not installed: pip install 'whyrec[onnx]'" in found["encoder backend"].found
