"""A language model in eight bits or with fewer layers: near the one it was made from, as small as is said, refused
where something does not fit."""

import numpy as np
import pytest
import torch
from contracts import check_ranker
from scipy.stats import spearmanr
from test_language_model import REQUESTS
from tiny_language_model import save_tiny_language_model

from agent.models import Models
from agent.settings import LanguageModelSettings, Settings
from finetune import int8
from finetune.adapters import add_adapter, load_adapter, reaches, save_adapter, using
from finetune.language_model import keep_layers, load_language_model
from finetune.lora import LoraTuning, lora_config
from finetune.ranker import LMRanker
from retrieval.contracts import RankRequest
from retrieval.errors import ModelError

MANY = RankRequest(
    ("Star Voyage", "Moon Base"),
    tuple(f"{number:02}" for number in range(40)),
    tuple(f"Film {number * number}. Genres: {'Horror' if number % 3 else 'Comedy'}" for number in range(40)),
)


@pytest.fixture(scope="module", params=["llama", "tied", "gemma3_text"])
def folder(request, tmp_path_factory):
    """A model whose head is a matrix of its own, one whose head is the table of tokens, and one that scales it."""
    root = tmp_path_factory.mktemp("models") / request.param
    return save_tiny_language_model(
        root, "llama" if request.param == "tied" else request.param, tied=request.param == "tied"
    )


@pytest.fixture(autouse=True)
def _exact(monkeypatch):
    monkeypatch.setattr("finetune.language_model.computes_bfloat16", lambda: False)


def load(folder, cache, precision="int8", **options):
    return load_language_model(folder, cache, device="cpu", precision=precision, **options)


def test_int8_orders_nearly_as_float32_and_scores_near_it(folder, tmp_path):
    exact, rough = (LMRanker(load(folder, tmp_path, name)).score([MANY])[0] for name in ("float32", "int8"))
    assert spearmanr(exact, rough).statistic > 0.97
    assert 0 < np.abs(exact - rough).max() < 0.25 * np.ptp(exact)


def test_int8_keeps_the_ranker_contract(folder, tmp_path):
    """Activations are not rounded: what is computed together makes no difference."""
    check_ranker(LMRanker(load(folder, tmp_path)), REQUESTS, tolerance=1e-4)


def test_int8_takes_a_quarter_of_float32_and_a_byte_a_weight_on_disk(folder, tmp_path):
    exact, rough = (load(folder, tmp_path, name).model for name in ("float32", "int8"))
    matrices = {id(one): one.numel() for one in exact.parameters() if one.ndim == 2}
    scales = {id(one): len(one) for one in exact.parameters() if one.ndim == 2}
    assert int8.weight_bytes(exact) > 4 * sum(matrices.values())
    rest = int8.weight_bytes(exact) - 4 * sum(matrices.values())
    assert int8.weight_bytes(rough) <= sum(matrices.values()) + 4 * sum(scales.values()) + rest
    [stored] = (tmp_path / "int8").rglob(int8.WEIGHTS)
    assert stored.stat().st_size < sum(matrices.values()) + 4 * sum(scales.values()) + rest + 10_000


def test_what_was_rounded_is_read_again_and_made_once(folder, tmp_path, monkeypatch):
    said = []
    first = LMRanker(load(folder, tmp_path, say=said.append)).score([MANY])[0]
    monkeypatch.setattr("finetune.language_model.to_int8", None)
    np.testing.assert_array_equal(LMRanker(load(folder, tmp_path, say=said.append)).score([MANY])[0], first)
    assert len(said) == 1
    assert "int8" in said[0]


def test_a_large_head_is_computed_in_blocks(folder, tmp_path, monkeypatch):
    lm = load(folder, tmp_path)
    ids = torch.arange(10)[None]
    with torch.inference_mode():
        whole = lm.model(ids).logits
        monkeypatch.setattr(int8, "BLOCK", 7)
        torch.testing.assert_close(lm.model(ids).logits, whole)
        rows = lm.head([5, 300])
        states = lm.model.base_model(ids).last_hidden_state
        torch.testing.assert_close(states @ rows.T, whole[..., [5, 300]], atol=1e-4, rtol=1e-4)


def test_an_adapter_computes_along_with_int8_weights(folder, tmp_path):
    plain, rough = load(folder, tmp_path, "float32"), load(folder, tmp_path)
    add_adapter(plain, "rank", lora_config(plain, LoraTuning(rank=4)))
    with torch.no_grad():
        for name, value in plain.model.named_parameters():
            if "lora_B" in name:
                value.normal_(std=0.3)
    (tmp_path / "adapter").mkdir()
    save_adapter(plain, "rank", tmp_path / "adapter", "tiny")
    load_adapter(rough, "rank", tmp_path / "adapter")
    exact, alone, along = (LMRanker(*one).score([MANY])[0] for one in ((plain, "rank"), (rough,), (rough, "rank")))
    assert spearmanr(exact, along).statistic > 0.9
    assert np.abs(alone - exact).max() > 2 * np.abs(along - exact).max()


def test_a_damaged_int8_model_is_named(folder, tmp_path):
    load(folder, tmp_path)
    [stored] = (tmp_path / "int8").rglob(int8.WEIGHTS)
    stored.write_bytes(stored.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"cannot be read .*; delete it"):
        load(folder, tmp_path)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_dropped_layers_are_not_computed(folder, tmp_path, precision):
    whole, half = load(folder, tmp_path, precision), load(folder, tmp_path, precision, layers=1)
    called = []
    for number, layer in enumerate(half.model.base_model.layers):
        layer.register_forward_hook(lambda *_, number=number: called.append(number))
    with torch.inference_mode():
        found = half.model.base_model(torch.arange(9)[None]).last_hidden_state
        first = whole.model.base_model(torch.arange(9)[None], output_hidden_states=True).hidden_states[1]
        torch.testing.assert_close(found, whole.model.base_model.norm(first))
    assert called == [0]
    assert half.model.config.num_hidden_layers == 1
    assert int8.weight_bytes(half.model) < int8.weight_bytes(whole.model)


def test_more_layers_than_there_are_are_refused(folder, tmp_path):
    lm = load(folder, tmp_path, "float32")
    with pytest.raises(ModelError, match="has 2 layers, and layers = 3"):
        keep_layers(lm.model, 3)


def settings(folder, tmp_path, **language_model):
    return Settings(
        device="cpu",
        cache=tmp_path / "cache",
        language_model=LanguageModelSettings(model=str(folder), **language_model),
    )


def test_an_adapter_for_other_layers_is_refused_with_both_names(folder, tmp_path):
    """A ranker that was tuned on all layers does not fit the first of them."""
    from types import SimpleNamespace

    whole, half = (Models(settings(folder, tmp_path, precision="int8", layers=layers)) for layers in (None, 1))
    tuned = SimpleNamespace(
        folder=tmp_path, base=whole.language_model_name, base_fingerprint=whole.language_model_fingerprint
    )
    names = f"{whole.language_model_fingerprint}.*{half.language_model_fingerprint}"
    assert half.language_model_fingerprint == f"{whole.language_model_fingerprint}-1"
    with pytest.raises(ModelError, match=names):
        half._check_base("ranker", tuned, "WHYREC_RANKING__RANKER=off")


def test_adapter_weights_for_dropped_layers_are_refused(folder, tmp_path):
    whole, half = load(folder, tmp_path, "float32"), load(folder, tmp_path, "float32", layers=1)
    add_adapter(whole, "rank", lora_config(whole, LoraTuning(rank=4, share=1)))
    (tmp_path / "adapter").mkdir()
    save_adapter(whole, "rank", tmp_path / "adapter", "tiny")
    with pytest.raises(ModelError, match="belongs to another language model"), using(half, None):
        load_adapter(half, "rank", tmp_path / "adapter")


def test_a_cut_adapter_keeps_what_it_has_for_the_layers_that_are_left(folder, tmp_path):
    whole, half = load(folder, tmp_path, "float32"), load(folder, tmp_path, "float32", layers=1)
    add_adapter(whole, "rank", lora_config(whole, LoraTuning(rank=4, share=1)))
    (tmp_path / "adapter").mkdir()
    save_adapter(whole, "rank", tmp_path / "adapter", "tiny")
    load_adapter(half, "rank", tmp_path / "adapter", cut=True)
    kept = {name for name, _ in half.model.named_parameters() if "lora_A" in name}
    assert kept
    assert kept == {name for name, _ in whole.model.named_parameters() if "lora_A" in name and ".layers.0." in name}
    assert reaches(tmp_path / "adapter", 1)


def test_an_adapter_learns_beside_int8_weights(folder, tmp_path):
    """Its gradients are near those that it has beside the weights in float32."""
    found = []
    for name in ("float32", "int8"):
        lm = load(folder, tmp_path, name)
        torch.manual_seed(0)
        add_adapter(lm, "rank", lora_config(lm, LoraTuning(rank=4)))
        with using(lm, "rank"):
            lm.model.base_model(torch.arange(12)[None]).last_hidden_state.sum(dim=-1).square().sum().backward()
            learnt = [p.grad for n, p in lm.model.named_parameters() if p.requires_grad and "lora_B" in n]
        found.append(torch.cat([one.flatten() for one in learnt]))
    exact, rough = found
    assert exact.norm() > 0
    assert torch.cosine_similarity(exact, rough, dim=0) > 0.95
