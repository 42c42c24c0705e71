"""The adversary of the input embeddings: where it moves them, how far, and that nothing of it stays."""

from dataclasses import replace

import pytest
import torch
from test_lora import TUNING, draw
from tiny_language_model import tiny_language_model

from finetune.adapters import using
from finetune.adversary import EmbeddingAdversary
from finetune.packing import collate
from finetune.ranker import RANK
from finetune.ranker_training import RankerTrainer

REACH = 0.7


@pytest.fixture
def trainer(tmp_path):
    return RankerTrainer(
        tiny_language_model(tmp_path / "model"), draw, 20, replace(TUNING, adversarial=1.0, reach=REACH)
    )


def loss_of(trainer, examples, batch):
    states = trainer._backbone(batch)
    packed = [trainer._packed(one) for one in examples]
    return sum(trainer._loss(s, p, e) for s, p, e in zip(states, packed, examples, strict=True))


def test_each_sequence_is_moved_along_its_gradient_by_its_reach(trainer):
    examples = [draw(0), draw(1)]
    with using(trainer._lm, RANK):
        batch = collate([trainer._packed(one) for one in examples], torch.device("cpu"))
        adversary = EmbeddingAdversary(trainer._lm.model.get_input_embeddings(), REACH)
        with adversary.watching():
            loss = loss_of(trainer, examples, batch)
        loss.backward()
        with adversary.moving():
            moved = loss_of(trainer, examples, batch)
        plain = loss_of(trainer, examples, batch)

        embedding, found = trainer._lm.model.get_input_embeddings(), []
        hook = embedding.register_forward_hook(lambda _, __, out: found.append(out.requires_grad_()))
        (slope,) = torch.autograd.grad(loss_of(trainer, examples, batch), found)
        hook.remove()
    change = adversary.change()
    torch.testing.assert_close(change.flatten(1).norm(dim=1), torch.full((2,), REACH))
    along = torch.nn.functional.cosine_similarity(change.flatten(1), slope.flatten(1))
    torch.testing.assert_close(along, torch.ones(2), atol=1e-4, rtol=0)
    assert float(plain.detach()) == pytest.approx(
        float(loss.detach()), rel=1e-6
    )  # watching and moving leave nothing behind
    assert float(moved.detach()) > float(loss.detach())


def test_the_embeddings_are_exactly_as_they_were(trainer):
    embedding = trainer._lm.model.get_input_embeddings()
    before = embedding.weight.detach().clone()
    assert trainer.run(3) > 0
    assert torch.equal(embedding.weight, before)
    assert not embedding._forward_hooks


def test_it_is_off_by_default_and_changes_what_is_learnt(tmp_path):
    def learnt(**changes):
        tuned = RankerTrainer(tiny_language_model(tmp_path / str(changes)), draw, 5, replace(TUNING, **changes))
        return tuned.run(1), tuned.run(2), tuned.adapter()

    plain, off, on = learnt(), learnt(reach=9.0), learnt(adversarial=1.0)
    assert plain[0] == off[0] == pytest.approx(on[0], rel=1e-5)  # the first step begins alike
    assert all(torch.equal(value, off[2][name]) for name, value in plain[2].items())
    assert any(not torch.allclose(value, on[2][name]) for name, value in plain[2].items())


def test_what_was_not_watched_cannot_be_moved(trainer):
    with pytest.raises(RuntimeError, match="nothing was watched"):
        EmbeddingAdversary(trainer._lm.model.get_input_embeddings(), 1.0).change()
