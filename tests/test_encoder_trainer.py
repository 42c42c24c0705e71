"""Tuning an encoder: which pairs it learns from, that it learns them, and that it can be interrupted."""

import numpy as np
import pytest
import torch
from conftest import SEED
from safetensors.torch import load_file, save_file
from scipy.sparse import csr_array
from tiny_encoder import save_tiny_encoder

from finetune.encoder import CoLikes, EncoderTrainer, EncoderTuning, last_layers
from retrieval.errors import InputError, ModelError, WorkspaceError
from retrieval.text import encoder as encoder_module
from retrieval.text.encoder import load_encoder
from retrieval.text.whitening import Whitening

COLOURS = ["red", "green", "blue", "grey"]
SHAPES = ["stone", "leaf", "wave", "cloud", "spoon", "chair", "lamp", "coat"]
TEXTS = [f"{colour} {shape}" for shape in SHAPES for colour in COLOURS]  # item i has colour i % 4
TUNING = EncoderTuning(layers=2, rate=3e-3, warmup=2, items=24)


def tastes(people=40):
    """Each likes most things of one colour: what is liked together shares a word."""
    rng = np.random.default_rng(SEED)
    liked = np.zeros((people, len(TEXTS)), dtype=np.float32)
    for row in range(people):
        own = np.arange(row % 4, len(TEXTS), 4)
        liked[row, rng.choice(own, 6, replace=False)] = 1
    return csr_array(liked)


@pytest.fixture(autouse=True)
def _exact(monkeypatch):
    monkeypatch.setattr(encoder_module, "computes_bfloat16", lambda: False)
    monkeypatch.setattr("finetune.encoder.computes_bfloat16", lambda: False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Read only."""
    return save_tiny_encoder(tmp_path_factory.mktemp("models") / "encoder", TEXTS)


@pytest.fixture
def encoder(folder):
    return load_encoder(folder, "tiny", "cpu")


def trainer_of(encoder, liked=None, tuning=TUNING):
    vectors = encoder.encode(TEXTS)
    return EncoderTrainer(encoder, TEXTS, tastes() if liked is None else liked, Whitening.fit(vectors), tuning)


def margin(encoder):
    """How much nearer things of a colour are to each other than to others."""
    vectors = encoder.encode(TEXTS)
    cosines = vectors @ vectors.T
    same = np.arange(len(TEXTS))[:, None] % 4 == np.arange(len(TEXTS))[None, :] % 4
    return cosines[same & ~np.eye(len(TEXTS), dtype=bool)].mean() - cosines[~same].mean()


def test_a_pair_counts_by_who_likes_both_over_the_root_of_what_each_is_liked():
    liked = np.array([[1, 1, 0, 1], [1, 1, 0, 1], [0, 1, 1, 1], [0, 0, 1, 1]], dtype=np.float32)
    batch = CoLikes(csr_array(liked), 4, 0).batch(0)
    shares = liked.sum(axis=1) ** -0.5
    together = (liked.T * shares) @ liked
    wanted = together / np.sqrt(np.outer(np.diag(together), np.diag(together)))
    np.fill_diagonal(wanted, 0)
    wanted /= wanted.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(batch.targets, wanted[np.ix_(batch.columns, batch.columns)], rtol=1e-5)
    roots = np.sqrt(liked.sum(axis=0))[batch.columns]
    np.testing.assert_allclose(batch.weights, roots / roots.sum(), rtol=1e-5)


def test_only_items_that_two_people_like_are_drawn_the_same_ones_for_the_same_step():
    liked = csr_array(np.array([[1, 1, 1, 0, 0], [1, 1, 0, 1, 0]], dtype=np.float32))
    pairs = CoLikes(liked, 100, 3)
    assert sorted(pairs.batch(0).columns) == [0, 1]
    many = CoLikes(tastes(), 8, 3)
    np.testing.assert_array_equal(many.batch(5).columns, CoLikes(tastes(), 8, 3).batch(5).columns)
    assert set(many.batch(5).columns) != set(many.batch(6).columns)


def test_an_item_without_company_has_no_weight():
    liked = np.zeros((6, 5), dtype=np.float32)
    liked[:4, :2] = 1
    liked[4:, 2] = 1
    batch = CoLikes(csr_array(liked), 5, 0).batch(0)
    assert batch.weights[batch.columns == 2] == 0
    np.testing.assert_array_equal(batch.targets[batch.columns == 2], 0)
    assert np.isfinite(batch.targets).all()


@pytest.mark.parametrize("liked", [np.zeros((3, 4)), np.eye(4), np.array([[1, 0], [1, 0]])])
def test_events_without_company_are_refused(liked):
    with pytest.raises(InputError, match="like together, and these events have none"):
        CoLikes(csr_array(liked.astype(np.float32)), 10, 0)


def test_what_is_liked_together_comes_nearer(encoder):
    trainer = trainer_of(encoder)
    before, first = margin(encoder), trainer.run(5)
    last = [trainer.run(5) for _ in range(8)][-1]
    assert last < first / 2
    assert margin(encoder) > before + 0.2


def test_an_item_that_was_not_trained_on_follows(encoder):
    liked = tastes().toarray()
    liked[:, :4] = 0  # the four stones
    trainer = trainer_of(encoder, csr_array(liked))
    trainer.run(40)
    cosines = encoder.encode(TEXTS[:4]) @ encoder.encode(TEXTS[4:]).T
    same = np.arange(4)[:, None] == np.arange(4, len(TEXTS))[None, :] % 4
    assert cosines[same].mean() > cosines[~same].mean() + 0.1


def test_only_the_last_layers_change(encoder, folder):
    trainer_of(encoder).run(3)
    before = load_encoder(folder, "tiny", "cpu").module.state_dict()
    changed = {name for name, value in encoder.module.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all("layer.1." in name or "layer.2." in name for name in changed)


def test_an_interrupted_tuning_goes_on_as_if_nothing_had_happened(folder, tmp_path):
    whole, first, second = (load_encoder(folder, "tiny", "cpu") for _ in range(3))
    trainer_of(whole).run(7)
    begun = trainer_of(first)
    begun.run(3)
    begun.save(tmp_path / "state.safetensors")
    begun.run(2)  # what came after the last state is lost
    later = trainer_of(second)
    later.restore(tmp_path / "state.safetensors")
    assert later.step == 3
    later.run(4)
    np.testing.assert_array_equal(second.encode(TEXTS), whole.encode(TEXTS))


def test_progress_is_told_after_each_step(encoder):
    steps = []
    trainer_of(encoder).run(3, lambda: steps.append(1))
    assert len(steps) == 3


def test_tuned_layers_take_the_place_of_the_untuned_ones(encoder, folder, tmp_path):
    trainer = trainer_of(encoder)
    trainer.run(3)
    trainer.save_layers(tmp_path / "layers.safetensors")
    loaded = load_encoder(folder, "again", "cpu", tmp_path / "layers.safetensors")
    np.testing.assert_allclose(loaded.encode(TEXTS), encoder.encode(TEXTS), atol=1e-5)
    assert np.abs(loaded.encode(TEXTS) - load_encoder(folder, "tiny", "cpu").encode(TEXTS)).max() > 0.01


def test_bfloat16_learns_as_well(encoder, monkeypatch):
    monkeypatch.setattr("finetune.encoder.computes_bfloat16", lambda: True)
    before, trainer = margin(encoder), trainer_of(encoder)
    trainer.run(40)
    assert margin(encoder) > before + 0.2


def test_a_damaged_state_is_named(encoder, tmp_path):
    path = tmp_path / "state.safetensors"
    for content in (b"", b"{}", b"\0" * 100):
        path.write_bytes(content)
        with pytest.raises(WorkspaceError, match=r"state\.safetensors cannot be read .* without --resume"):
            trainer_of(encoder).restore(path)
    save_file({"step": torch.tensor([3])}, path)
    with pytest.raises(WorkspaceError, match="without --resume"):
        trainer_of(encoder).restore(path)


@pytest.mark.parametrize("damage", ["gone", "cut", "of another model", "of another width"])
def test_layers_that_do_not_fit_are_refused(encoder, folder, tmp_path, damage):
    path = tmp_path / "layers.safetensors"
    trainer_of(encoder).save_layers(path)
    layers = load_file(path)
    name = next(iter(layers))
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    elif damage == "of another model":
        save_file({"0.other.weight": layers[name]}, path)
    else:
        save_file({name: torch.zeros(1)}, path)
    with pytest.raises(ModelError, match=r"layers\.safetensors holds"):
        load_encoder(folder, "again", "cpu", path)


def test_a_model_without_layers_cannot_be_tuned():
    with pytest.raises(ModelError, match="no layers that can be tuned"):
        last_layers(torch.nn.Linear(2, 2), 2)
