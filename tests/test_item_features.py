"""What a language model's layers make of an item's text, and the encoders that settings name."""

import json

import numpy as np
import pytest
import torch
from contracts import check_encoder
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tiny_language_model import save_tiny_language_model
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma3ForCausalLM, Gemma3TextConfig

from agent.models import Models
from agent.settings import EncoderSettings, FeatureSettings, Settings
from retrieval.errors import ModelError
from retrieval.text import encoder as encoder_module
from retrieval.text.encoder import MOST_TOKENS, load_encoder, load_hidden_states

TEXTS = ["A person liked these films.", "Moon Base (1981). Genres: Comedy, Drama", "x", "yes, " * 60, "Amélie 東京"]


def save_tiny_gemma(folder):
    """Four layers, of which only the last sees everything, with the tokenizer of the tiny language model."""
    save_tiny_language_model(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    kinds = ["sliding_attention"] * 3 + ["full_attention"]
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, sliding_window=8, layer_types=kinds,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=None,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Gemma3ForCausalLM(config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Read only."""
    root = tmp_path_factory.mktemp("models")
    made = {"llama": save_tiny_language_model(root / "llama"), "gemma": save_tiny_gemma(root / "gemma")}
    backbone = Transformer(str(made["llama"]), max_seq_length=64)
    backbone.tokenizer.pad_token = backbone.tokenizer.eos_token
    model = SentenceTransformer(modules=[backbone, Pooling(backbone.get_embedding_dimension(), "mean")], device="cpu")
    model.save(str(root / "sentences"))
    return {**made, "sentences": root / "sentences"}


@pytest.fixture(autouse=True)
def _exact(monkeypatch):
    monkeypatch.setattr(encoder_module, "computes_bfloat16", lambda: False)


def features(folder, layers):
    return load_hidden_states(folder, layers, "fingerprint", "cpu")


def written_out(folder, layers, text):
    """The whole model's states behind a layer, through its last normalisation, and their mean of length 1."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt").input_ids[:, :MOST_TOKENS]
    with torch.inference_mode():
        states = model.model(ids, output_hidden_states=True).hidden_states  # the last one is normalised already
        mean = (states[-1] if layers == len(states) - 1 else model.model.norm(states[layers]))[0].mean(0).numpy()
    return mean / np.linalg.norm(mean)


@pytest.mark.parametrize(("family", "layers"), [("llama", 1), ("llama", 2), ("gemma", 1), ("gemma", 3), ("gemma", 4)])
def test_a_vector_is_the_mean_of_the_states_behind_a_layer(folders, family, layers):
    found = features(folders[family], layers).encode(TEXTS)
    for text, vector in zip(TEXTS, found, strict=True):
        np.testing.assert_allclose(vector, written_out(folders[family], layers, text), atol=1e-4)


@pytest.mark.parametrize(("family", "layers"), [("llama", 1), ("gemma", 2)])
def test_hidden_states_keep_the_contract_of_encoders(folders, family, layers):
    check_encoder(features(folders[family], layers), TEXTS, tolerance=1e-4)


def test_each_layer_says_something_else(folders):
    one, two = (features(folders["llama"], layers).encode(TEXTS) for layers in (1, 2))
    assert np.abs(one - two).max() > 0.01


def test_texts_are_cut_where_the_reading_ends(folders):
    encoder, same = features(folders["llama"], 1), "yes no " * 400
    before, after = encoder.encode([f"Film {same}", f"Film {same} and another end"])
    np.testing.assert_array_equal(before, after)
    np.testing.assert_allclose(before, written_out(folders["llama"], 1, f"Film {same}"), atol=1e-4)
    assert np.abs(encoder.encode([f"Game {same}"])[0] - before).max() > 1e-4


def test_bfloat16_changes_little(folders, monkeypatch):
    exact = features(folders["llama"], 1).encode(TEXTS)
    monkeypatch.setattr(encoder_module, "computes_bfloat16", lambda: True)
    rough = features(folders["llama"], 1).encode(TEXTS)
    assert rough.dtype == np.float32
    assert (exact * rough).sum(axis=1).min() > 0.999


@pytest.mark.parametrize("texts", [[""], ["", ""]])
def test_texts_without_a_word_are_no_error(folders, texts):
    assert not features(folders["llama"], 1).encode(texts).any()


def test_a_text_without_a_word_among_others_says_nothing(folders):
    found = features(folders["llama"], 1).encode(["", TEXTS[0]])
    assert not found[0].any()
    np.testing.assert_allclose(found[1], written_out(folders["llama"], 1, TEXTS[0]), atol=1e-4)


def test_words_with_half_a_character_are_read(folders, tmp_path):
    assert np.isfinite(models(folders, tmp_path).query_encoder.encode(["a film \udcff"])).all()


@pytest.mark.parametrize("layers", [0, -1, 3])
def test_layers_that_the_model_does_not_have_are_refused(folders, layers):
    with pytest.raises(ModelError, match=rf"has 2 layers; item features cannot come from {layers}"):
        features(folders["llama"], layers)


def copied(folder, target):
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


DAMAGE = {
    "no config": lambda folder: (folder / "config.json").unlink(),
    "config cut": lambda folder: cut(folder / "config.json"),
    "config no table": lambda folder: (folder / "config.json").write_text("[]"),
    "layers no number": lambda folder: (folder / "config.json").write_text('{"num_hidden_layers": null}'),
    "no layers": lambda folder: (folder / "config.json").write_text("{}"),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "weights cut": lambda folder: cut(folder / "model.safetensors"),
    "no tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_folder_without_a_language_model_is_named(folders, tmp_path, damage):
    folder = copied(folders["llama"], tmp_path / "broken")
    DAMAGE[damage](folder)
    with pytest.raises(ModelError, match="broken"):
        features(folder, 1)


def models(folders, tmp_path, feature_model=None, layers=1):
    settings = Settings(
        device="cpu",
        cache=tmp_path / "converted",
        encoder=EncoderSettings(model=str(folders["sentences"])),
        features=FeatureSettings(model=feature_model or str(folders["llama"]), layers=layers),
    )
    return Models(settings)


def test_the_encoder_is_the_sentence_encoder_beside_the_hidden_states(folders, tmp_path):
    made = models(folders, tmp_path)
    sentence, states = made.encoder_fingerprint.split("+")
    found = made.encoder.encode(TEXTS)
    assert (made.encoder.fingerprint, states.endswith("-1"), len(sentence)) == (made.encoder_fingerprint, True, 16)
    assert found.shape == (5, made.encoder.dimension) == (5, 64)
    np.testing.assert_array_equal(found[:, :32], made.query_encoder.encode(TEXTS))
    np.testing.assert_array_equal(found[:, 32:], features(folders["llama"], 1).encode(TEXTS))


def test_a_layer_of_the_sentence_encoder_itself_comes_from_the_same_pass(folders):
    both = load_encoder(folders["sentences"], "fingerprint", "cpu", beside=1)
    found = both.encode([*TEXTS, ""])
    assert found.shape == (6, both.dimension) == (6, 64)
    sentence = load_encoder(folders["sentences"], "fingerprint", "cpu")
    np.testing.assert_allclose(found[:, :32], sentence.encode([*TEXTS, ""]), atol=1e-6)
    backbone = sentence._model[0]
    for text, states in zip(TEXTS, found[:-1, 32:], strict=True):
        with torch.inference_mode():
            behind = backbone.model(**backbone.tokenizer(text, return_tensors="pt"), output_hidden_states=True)
        mean = behind.hidden_states[1][0, :64].mean(0).numpy()
        np.testing.assert_allclose(states, mean / np.linalg.norm(mean), atol=1e-4)


def test_without_features_the_encoder_is_the_sentence_encoder_alone(folders, tmp_path):
    made = models(folders, tmp_path, "off")
    assert made.encoder_fingerprint == models(folders, tmp_path).encoder_fingerprint.split("+")[0]
    assert (made.encoder.fingerprint, made.encoder.dimension) == (made.encoder_fingerprint, 32)
    np.testing.assert_array_equal(made.encoder.encode(TEXTS), made.query_encoder.encode(TEXTS))


def test_the_fingerprint_follows_the_models_and_the_layers_and_nothing_else(folders, tmp_path):
    first = models(folders, tmp_path).encoder_fingerprint
    other = copied(folders["llama"], tmp_path / "copied")
    assert models(folders, tmp_path, str(other)).encoder_fingerprint == first
    (other / "README.md").write_text("read me")
    (other / ".hidden").write_text("hidden")
    assert models(folders, tmp_path, str(other)).encoder_fingerprint == first
    assert models(folders, tmp_path, layers=2).encoder_fingerprint != first
    config = json.loads((other / "config.json").read_text(encoding="utf-8"))
    (other / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-3}), encoding="utf-8")
    assert models(folders, tmp_path, str(other)).encoder_fingerprint != first


def test_what_is_remembered_is_the_same_and_needs_no_model(folders, tmp_path, monkeypatch):
    made, root = models(folders, tmp_path), tmp_path / "workspace"
    fresh = made.remembering_encoder(root).encode(TEXTS)
    np.testing.assert_allclose(fresh, made.encoder.encode(TEXTS), atol=1e-3)
    assert {path.name for path in (root / "features").iterdir()} == set(made.encoder_fingerprint.split("+"))
    for name in ("load_encoder", "load_hidden_states"):
        monkeypatch.delattr(encoder_module, name)
    again = models(folders, tmp_path).remembering_encoder(root)
    assert (again.fingerprint, again.dimension) == (made.encoder_fingerprint, 64)
    np.testing.assert_array_equal(again.encode(TEXTS), fresh)


def test_the_fingerprint_is_found_without_loading_a_model(folders, tmp_path, monkeypatch):
    for name in ("load_encoder", "load_hidden_states"):
        monkeypatch.delattr(encoder_module, name)
    assert len(models(folders, tmp_path).encoder_fingerprint) == 16 + 1 + 16 + 2


def test_other_layers_keep_what_the_sentence_encoder_gave(folders, tmp_path, monkeypatch):
    models(folders, tmp_path).remembering_encoder(tmp_path).encode(TEXTS)
    monkeypatch.delattr(encoder_module, "load_encoder")
    found = models(folders, tmp_path, layers=2).remembering_encoder(tmp_path).encode(TEXTS)
    np.testing.assert_allclose(found[:, 32:], features(folders["llama"], 2).encode(TEXTS), atol=1e-3)


@pytest.mark.parametrize("layers", [3, 100])
def test_too_many_layers_are_an_error_when_the_model_is_loaded(folders, tmp_path, layers):
    made = models(folders, tmp_path, layers=layers)
    assert made.encoder_fingerprint.endswith(f"-{layers}")
    with pytest.raises(ModelError, match="has 2 layers"):
        made.remembering_encoder(tmp_path).encode(TEXTS)


def test_models_that_are_not_there_are_named(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="no-features"):
        _ = models(folders, tmp_path, "./no-features").encoder_fingerprint
    with pytest.raises(ModelError, match="empty"):
        _ = models(folders, tmp_path, str(tmp_path / "empty")).encoder
    with pytest.raises(ModelError, match="empty holds no sentence-transformer"):
        _ = models({**folders, "sentences": tmp_path / "empty"}, tmp_path).encoder_fingerprint
