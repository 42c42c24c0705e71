"""Training adapters: what is learnt, that packing changes nothing, and that an interruption changes nothing."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_language_model import save_tiny_language_model, tiny_language_model

from finetune.adapters import add_adapter, load_adapter, save_adapter, using
from finetune.language_model import load_language_model
from finetune.lora import LoraTuning, TuningError, lora_config
from finetune.packing import collate
from finetune.ranker import RANK, LMRanker
from finetune.ranker_training import RankerTrainer, TrainingList
from retrieval.contracts import RankRequest
from retrieval.errors import ModelError, WorkspaceError

WORDS = ("space", "cooking", "western", "jungle")
TUNING = LoraTuning(rank=4, alpha=8, rate=3e-3, share=1.0, dropout=0.0, noise=0.0, lists=2)


def draw(number):
    """Who likes a topic is to be given a tale of it; the first candidate is it."""
    rng = np.random.default_rng(number)
    topic, *others = rng.permutation(WORDS)
    texts = tuple(f"{word} tale {rng.integers(9)}" for word in (topic, *others))
    request = RankRequest((f"{topic} tale {rng.integers(9)}",), tuple(map(str, range(4))), texts)
    return TrainingList(request, (0.0,) * 4)


@pytest.fixture
def language_model(tmp_path):
    return tiny_language_model(tmp_path / "model")


def trainer(language_model, steps=40, **changes):
    return RankerTrainer(language_model, draw, steps, replace(TUNING, **changes))


def firsts(language_model, adapter=RANK):
    """How often the positive is first among lists that were not learnt from."""
    scores = LMRanker(language_model, adapter).score([draw(number).request for number in range(10_000, 10_100)])
    return np.mean([one.argmax() == 0 for one in scores])


@pytest.mark.parametrize(("positives", "order"), [(0, 0.0), (1, 0.7466), (2, 0.8295), (4, 0.0)])
def test_each_positive_competes_with_the_negatives_alone(language_model, positives, order):
    prior = (1.0, 0.0, -1.0, 0.5)  # an untrained model adds its own scores, which are put at 0 below
    one = TrainingList(draw(0).request, prior, positives)
    tuned = RankerTrainer(language_model, lambda _: one, 1, replace(TUNING, lists=1, calibration=0.0))
    with using(language_model, RANK):
        packed = tuned._packed(one)
        loss = tuned._loss(torch.zeros(len(packed.ids), tuned._direction.numel()), packed, one)
    assert float(loss.detach()) == pytest.approx(order, abs=1e-4)


def test_a_ranker_learns_what_lists_have_in_common(language_model):
    before = firsts(language_model, None)
    tuned = trainer(language_model, steps=150)
    assert firsts(language_model) == before  # an untrained adapter changes nothing
    early = tuned.run(10)
    tuned.run(130)
    assert tuned.run(100) < 0.7 * early
    assert tuned.step == 150
    assert firsts(language_model) > before + 0.2
    assert firsts(language_model, None) == before  # the model itself stays as it came


def test_packed_lists_give_the_gradient_of_single_sequences(language_model):
    tuned = trainer(language_model, calibration=0.5)
    request = draw(3).request
    prior = (0.5, -0.2, 0.0, 1.0)
    with using(language_model, RANK):
        one = TrainingList(request, prior)
        loss = tuned._loss(_states(tuned, one), tuned._packed(one), one)
        loss.backward()
        packed = {name: value.grad.clone() for name, value in tuned._learnt.items()}
        for value in tuned._learnt.values():
            value.grad = None
        singles = [
            replace(request, candidates=(c,), texts=(t,))
            for c, t in zip(request.candidates, request.texts, strict=True)
        ]
        alone = [TrainingList(one, (0.0,)) for one in singles]
        scores = torch.stack([_states(tuned, one)[-1] @ tuned._direction for one in alone])
        scores = scores + torch.tensor(prior)
        labels = torch.tensor([1.0, 0, 0, 0])
        balance = torch.nn.functional.binary_cross_entropy_with_logits(scores, labels)
        single = -torch.log_softmax(scores, 0)[0] + 0.5 * balance
        single.backward()
    assert float(loss.detach()) == pytest.approx(float(single.detach()), rel=1e-5)
    for name, value in tuned._learnt.items():
        np.testing.assert_allclose(value.grad, packed[name], atol=1e-5)


def test_what_the_prior_knows_is_not_learnt_again(language_model):
    def sure(number):
        return replace(draw(number), prior=(20.0, -20.0, -20.0, -20.0))

    tuned = RankerTrainer(language_model, sure, 20, TUNING)
    assert tuned.run(20) < 1e-3
    assert firsts(language_model) == pytest.approx(firsts(language_model, None), abs=0.1)


def _states(tuned, one):
    return tuned._backbone(collate([tuned._packed(one)], torch.device("cpu")))[0]


@pytest.mark.parametrize("changes", [{}, {"dropout": 0.2, "noise": 5.0}])
def test_an_interruption_changes_nothing(tmp_path, changes):
    save_tiny_language_model(tmp_path / "model")

    def fresh():
        return load_language_model(tmp_path / "model", tmp_path / "cache", device="cpu", precision="float32")

    whole = trainer(fresh(), steps=12, **changes)
    losses = [whole.run(1) for _ in range(12)]
    first = trainer(fresh(), steps=12, **changes)
    again = [first.run(1) for _ in range(5)]
    first.save(tmp_path / "state")
    first.run(3)  # lost
    second = trainer(fresh(), steps=12, **changes)
    second.restore(tmp_path / "state")
    assert second.step == 5
    again += [second.run(1) for _ in range(12)]
    assert again[:12] == pytest.approx(losses, rel=1e-6)
    assert again[12:] == [0.0] * 5  # there is nothing beyond the last step
    for name, value in whole.adapter().items():
        torch.testing.assert_close(second.adapter()[name], value)


def test_lower_layers_learn_nothing_where_only_the_upper_half_is_tuned(language_model):
    tuned = trainer(language_model, share=0.5)
    assert tuned._learnt
    assert all("layers.1." in name for name in tuned._learnt)


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gemma3_text"])
def test_every_family_is_scored_tuned_and_loaded_alike(tmp_path, family):
    language_model = tiny_language_model(tmp_path / "model", family)
    request = draw(3).request
    plain = LMRanker(language_model).score([request])[0]
    alone = [
        LMRanker(language_model).score([replace(request, candidates=(c,), texts=(t,))])[0][0]
        for c, t in zip(request.candidates, request.texts, strict=True)
    ]
    np.testing.assert_allclose(plain, alone, atol=1e-4)
    tuned = trainer(language_model, steps=6)
    tuned.run(6)
    after = LMRanker(language_model, RANK).score([request])[0]
    assert np.abs(after - plain).max() > 1e-3
    save_adapter(language_model, RANK, tmp_path / "adapter", family)
    other = tiny_language_model(tmp_path / "other", family)
    load_adapter(other, RANK, tmp_path / "adapter")
    np.testing.assert_allclose(LMRanker(other, RANK).score([request])[0], after, atol=0.05)  # half precision


def test_tuning_goes_on_from_an_adapter(language_model, tmp_path):
    trainer(language_model).run(10)
    save_adapter(language_model, RANK, tmp_path / "adapter", "tiny")
    scores = LMRanker(language_model, RANK).score([draw(1).request])[0]
    other = tiny_language_model(tmp_path / "other")
    again = RankerTrainer(other, draw, 5, replace(TUNING, rank=2), tmp_path / "adapter")
    np.testing.assert_allclose(LMRanker(other, RANK).score([draw(1).request])[0], scores, atol=0.05)
    assert all(value.dtype == torch.float32 for value in again._learnt.values())
    assert {value.shape[0] for name, value in again._learnt.items() if "lora_A" in name} == {4}  # as it was
    again.run(5)
    assert np.abs(LMRanker(other, RANK).score([draw(1).request])[0] - scores).max() > 1e-3


def test_the_rate_rises_then_falls_to_nothing(language_model):
    tuned = trainer(language_model, steps=40)
    rates = []
    for tuned.step in range(40):
        rates.append(tuned._rate())
    assert rates[0] < rates[1] == max(rates) == TUNING.rate
    assert rates[-1] < 0.01 * TUNING.rate
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_a_loss_that_is_no_number_stops_before_it_does_harm(language_model):
    tuned = trainer(language_model)
    tuned.run(2)
    good = tuned.adapter()
    with torch.no_grad():
        tuned._direction.fill_(float("nan"))
    with pytest.raises(TuningError, match="at step 3"):
        tuned.run(1)
    assert tuned.step == 2
    for name, value in tuned.adapter().items():
        torch.testing.assert_close(value, good[name])


def test_a_state_of_another_model_is_refused(language_model, tmp_path):
    tuned = trainer(language_model)
    (tmp_path / "state").write_bytes(b"nothing")
    with pytest.raises(WorkspaceError, match="state cannot be read"):
        tuned.restore(tmp_path / "state")


def test_an_adapter_is_the_same_when_it_is_loaded(language_model, tmp_path):
    tuned = trainer(language_model)
    tuned.run(20)
    save_adapter(language_model, RANK, tmp_path, "tiny")
    other = tiny_language_model(tmp_path / "other")
    requests = [draw(number).request for number in range(5)]
    plain = LMRanker(other).score(requests)
    load_adapter(other, RANK, tmp_path)
    ours, theirs = (LMRanker(one, RANK).score(requests) for one in (language_model, other))
    for before, after in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(before, after, atol=0.02)  # half precision
    for before, after in zip(plain, LMRanker(other).score(requests), strict=True):
        np.testing.assert_array_equal(before, after)
    assert "tiny" in (tmp_path / "adapter_config.json").read_text()


def test_an_adapter_that_is_damaged_is_named(language_model, tmp_path):
    tuned = trainer(language_model)
    save_adapter(language_model, RANK, tmp_path / "adapter", "tiny")
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="adapter cannot be read"):
        load_adapter(tiny_language_model(tmp_path / "other"), RANK, tmp_path / "adapter")
    assert tuned.step == 0


def test_a_model_without_known_layers_is_refused(language_model):
    language_model.model.config.num_hidden_layers = 90
    config = lora_config(language_model, replace(TUNING, share=0.1))
    with pytest.raises(ModelError, match="cannot be tuned"):
        add_adapter(language_model, RANK, config)


def test_two_processes_learn_what_one_does(tmp_path):
    model = save_tiny_language_model(tmp_path / "model")
    script = [sys.executable, Path(__file__).with_name("train_together.py"), model]
    alone, together = tmp_path / "alone", tmp_path / "together"
    subprocess.run([*script, alone, "1"], check=True, timeout=300)
    port = str(20_000 + os.getpid() % 20_000)
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen([*script, together, "2"], env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(2)
    ]
    assert [one.wait(timeout=300) for one in both] == [0, 0]
    ours, theirs = load_file(alone), load_file(together)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, atol=1e-5, rtol=1e-3)


def test_two_adapters_stand_beside_each_other(tmp_path, recwarn):
    lm = tiny_language_model(tmp_path)
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        plain = lm.model(ids).logits
        for name, seed in (("one", 1), ("two", 2)):
            add_adapter(lm, name, lora_config(lm, TUNING))
            torch.manual_seed(seed)
            for key, value in lm.model.named_parameters():
                if f".{name}." in key:
                    value.normal_()
        with using(lm, "one"):
            one = lm.model(ids).logits
        with using(lm, "two"):
            two = lm.model(ids).logits
        with using(lm, "one"):
            torch.testing.assert_close(lm.model(ids).logits, one)
        torch.testing.assert_close(lm.model(ids).logits, plain)
    assert not torch.allclose(one, two)
    assert not [warning for warning in recwarn if "peft_config" in str(warning.message)]
