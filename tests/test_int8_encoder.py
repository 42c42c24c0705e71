"""The encoder in int8: near the model it was made from, made once, and refused where it cannot be."""

import sys

import numpy as np
import pytest
from contracts import check_encoder
from sentence_transformers import SentenceTransformer
from tiny_language_model import save_tiny_language_model
from tiny_sentence_encoder import save_tiny_sentence_encoder
from transformers import AutoTokenizer

from agent.models import Models
from agent.settings import EncoderSettings, Settings
from retrieval.errors import ModelError
from retrieval.text import encoder as encoder_module
from retrieval.text import int8
from retrieval.text.encoder import load_encoder, load_int8_encoder

pytest.importorskip("onnx")
TEXTS = ["A person liked these films.", "Moon Base (1981). Genres: Comedy, Drama", "x", "yes, " * 60, "Amélie 東京"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Read only."""
    return save_tiny_sentence_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def converted(folder, tmp_path_factory):
    """Where the int8 model is once it was made. Read only."""
    target = tmp_path_factory.mktemp("cache") / "tiny"
    load_int8_encoder(folder, "tiny", target)
    return target


@pytest.fixture(autouse=True)
def _exact(monkeypatch):
    monkeypatch.setattr(encoder_module, "computes_bfloat16", lambda: False)


def settings(folder, tmp_path, backend="onnx-int8", device=None):
    return Settings(
        device=device, cache=tmp_path / "cache", encoder=EncoderSettings(model=str(folder), backend=backend)
    )


def test_int8_vectors_keep_the_contract_and_do_not_depend_on_the_batch(folder, converted):
    encoder = load_int8_encoder(folder, "tiny", converted)
    check_encoder(encoder, TEXTS, tolerance=1e-6)


def test_int8_vectors_are_near_those_of_the_model_and_not_the_same(folder, converted):
    exact = load_encoder(folder, "tiny", "cpu").encode(TEXTS)
    rough = load_int8_encoder(folder, "tiny", converted).encode(TEXTS)
    cosines = (exact * rough).sum(axis=1)
    assert cosines.min() > 0.99
    assert np.abs(exact - rough).max() > 1e-4
    # Near its own text and no other: other texts' vectors are not as close.
    assert ((exact @ rough.T).argmax(axis=1) == np.arange(len(TEXTS))).all()


def test_weights_are_stored_in_eight_bits(converted):
    import onnx

    model = onnx.load(converted / int8.FILE)
    matrices = [part for part in model.graph.initializer if len(part.dims) == 2 and min(part.dims) > 1]
    assert len(matrices) >= 12
    assert {part.data_type for part in matrices} <= {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    assert sorted(path.name for path in converted.iterdir()) == [int8.FILE]


def test_a_conversion_is_made_once(folder, tmp_path, monkeypatch):
    said = []
    first = load_int8_encoder(folder, "tiny", tmp_path / "once", said.append).encode(TEXTS)
    monkeypatch.setattr(int8, "_export", None)
    again = load_int8_encoder(folder, "tiny", tmp_path / "once", said.append).encode(TEXTS)
    np.testing.assert_array_equal(first, again)
    assert len(said) == 1
    assert str(tmp_path / "once") in said[0]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_conversion_that_stops_leaves_nothing(folder, tmp_path, monkeypatch, error):
    def stopping(*_):
        raise error

    monkeypatch.setattr(int8, "_check", stopping)
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else ModelError):
        load_int8_encoder(folder, "tiny", tmp_path / "made" / "tiny")
    assert list((tmp_path / "made").iterdir()) == []


def test_a_conversion_that_computes_something_else_is_refused(folder, tmp_path, monkeypatch):
    class ForgetsLength(int8._States):
        """Adds what depends on the number of tokens as a constant of the traced text."""

        def forward(self, input_ids):
            return super().forward(input_ids) + float(input_ids.shape[1])

    monkeypatch.setattr(int8, "_States", ForgetsLength)
    with pytest.raises(ModelError, match=r'computes something else.*backend = "torch"'):
        load_int8_encoder(folder, "tiny", tmp_path / "wrong")


def test_a_damaged_conversion_is_named(folder, converted, tmp_path):
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / int8.FILE).write_bytes((converted / int8.FILE).read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"cannot be read.*delete .*cut"):
        load_int8_encoder(folder, "tiny", tmp_path / "cut")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named_with_its_command(folder, tmp_path, monkeypatch, package):
    for name in [name for name in sys.modules if name.split(".")[0] in ("onnx", "onnxruntime")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModelError, match=r"pip install 'whyrec\[onnx\]'"):
        load_int8_encoder(folder, "tiny", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_an_encoder_without_a_transformer_is_refused(tmp_path):
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = AutoTokenizer.from_pretrained(save_tiny_language_model(tmp_path / "tokenizer"))
    static = StaticEmbedding(tokenizer.backend_tokenizer, embedding_dim=8)
    SentenceTransformer(modules=[static], device="cpu").save(str(tmp_path / "static"))
    with pytest.raises(ModelError, match="begins with a transformer"):
        load_int8_encoder(tmp_path / "static", "static", tmp_path / "none")


def test_the_backend_is_part_of_the_fingerprint_and_of_what_is_loaded(folder, tmp_path):
    plain, made = (Models(settings(folder, tmp_path, backend)) for backend in ("torch", "onnx-int8"))
    assert made.encoder_fingerprint == f"{plain.encoder_fingerprint}-onnx-int8"
    assert made.encoder.fingerprint == made.encoder_fingerprint
    assert (made.encoder.encode(TEXTS) * plain.encoder.encode(TEXTS)).sum(axis=1).max() < 1 - 1e-7
    assert [path.name for path in (tmp_path / "cache" / "encoders").iterdir()] == [made.encoder_fingerprint]


def test_a_device_that_int8_does_not_run_on_is_refused(folder, tmp_path):
    with pytest.raises(ModelError, match="cpu alone, and the device is 'cuda:1'"):
        _ = Models(settings(folder, tmp_path, device="cuda:1")).encoder
