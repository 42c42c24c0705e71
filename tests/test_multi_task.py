"""One adapter for ranking and writing: the loss is the weighted sum, and the benchmark holds out what it says."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from evaluation_world import SETTINGS, Notebook
from ranker_world import indexed_world
from test_lora import TUNING, draw
from tiny_language_model import save_tiny_language_model

from agent.cli.options import Opened
from agent.settings import EncoderSettings, FeatureSettings, LanguageModelSettings
from benchmarks.multi_task import Bench, Size, held_out, learnable
from benchmarks.multi_task_table import LOSS, MIXED, Measured, figures, halves, joined, kept, shortfall
from finetune.adapters import using
from finetune.language_model import load_language_model
from finetune.multi_task import MultiTaskTrainer
from finetune.packing import collate
from finetune.ranker import RANK
from finetune.ranker_training import RankerTrainer
from finetune.writer_training import Sentences, WriterTrainer
from prompts import wordings
from retrieval.data.workspace import Workspace


def sentences(number):
    return Sentences("new", wordings("new")[number % 3 : number % 3 + 4])


@pytest.fixture
def fresh(tmp_path):
    """Makes the same language model again."""
    folder = save_tiny_language_model(tmp_path / "model")
    return lambda: load_language_model(folder, tmp_path / "cache", device="cpu", precision="float32")


def both(language_model, weight, steps=6):
    return MultiTaskTrainer(language_model, draw, sentences, steps, TUNING, weight)


def test_the_loss_is_the_weighted_sum(fresh):
    ranking = RankerTrainer(fresh(), draw, 6, TUNING).run(1)
    writing = WriterTrainer(fresh(), sentences, 6, TUNING).run(1)
    for weight in (0.3, 1.0):
        assert both(fresh(), weight).run(1) == pytest.approx(ranking + weight * writing, rel=1e-5)


def test_without_weight_it_is_the_rankers_adapter_step_for_step(fresh):
    alone, joint, weighted = RankerTrainer(fresh(), draw, 6, TUNING), both(fresh(), 0.0), both(fresh(), 0.3)
    for _ in range(6):
        assert joint.run(1) == pytest.approx(alone.run(1), rel=1e-4)
        weighted.run(1)
        apart = [difference(one, alone) for one in (joint, weighted)]
        assert apart[0] < 1e-4
        assert apart[1] > 1e-3


def difference(one, other):
    """The largest between two adapters."""
    return max(float((value - other.adapter()[name]).abs().max()) for name, value in one.adapter().items())


def test_one_adapter_learns_both(fresh):
    trainer = MultiTaskTrainer(fresh(), draw, sentences, 80, replace(TUNING, rate=1e-2), 1.0)
    before = task_losses(trainer)
    trainer.run(80)
    assert all(after < 0.9 * early for after, early in zip(task_losses(trainer), before, strict=True))


@torch.no_grad()
def task_losses(trainer):
    """Of ranking and of writing, on the first of the examples."""
    found = []
    with using(trainer._lm, RANK):
        for examples in ([draw(number) for number in range(20)], [sentences(number) for number in range(3)]):
            packed = [trainer._packed(one) for one in examples]
            states = [trainer._backbone(collate([one], torch.device("cpu")))[0] for one in packed]
            losses = [trainer._loss(*parts) for parts in zip(states, packed, examples, strict=True)]
            found.append(float(torch.stack(losses).mean()))
    return found


def test_nothing_learns_from_what_is_held_out():
    left_out = held_out()
    every = Sentences("cited", wordings("cited"))
    drawn = learnable(lambda _: every)(0)
    assert drawn.shape == "cited"
    assert 0 < len(left_out["cited"]) < 0.3 * len(every.texts)
    assert set(drawn.texts) == set(every.texts) - set(left_out["cited"])
    assert all(0 < len(texts) < len(wordings(shape)) for shape, texts in left_out.items())


def test_each_is_trained_and_measured_once(tmp_path, folders):
    root = indexed_world(tmp_path / "ws", folders)
    changes = {
        "device": "cpu",
        "encoder": EncoderSettings(model=str(folders[0])),
        "features": FeatureSettings(model="off"),
        "language_model": LanguageModelSettings(model=str(folders[1]), precision="float32"),
    }
    opened = Opened(Workspace(root), SETTINGS.model_copy(update=changes))

    def bench():
        return Bench(opened, tmp_path, Size(8, 6, 1), Notebook())

    found = {name: bench().measured(name) for name in ("ranker", "writer", "both 1")}
    again = bench()
    assert {name: again.known(name) for name in found} == found
    assert again.known("both 0.3") is None
    assert (len(found["ranker"].ndcg["mixed"]), found["ranker"].loss, found["writer"].ndcg) == (6, [], {})
    assert len(found["both 1"].loss) == len(found["writer"].loss) == sum(map(len, held_out().values()))
    assert found["both 1"].size == found["ranker"].size > found["writer"].size
    assert found["both 1"].written["written"] == found["writer"].written["written"] == len(held_out())
    assert found["both 1"].ndcg["retrieved"] == found["ranker"].ndcg["retrieved"]
    assert found["both 1"].loss != found["writer"].loss
    assert set(figures(found)["lost where λ is chosen"]) == {"both 1"}


def measured(mixed, loss, **changes):
    """Of an adapter whose figures are a number for the half to choose on, and another for the other half."""

    def spread(pair):
        values = np.empty(8)
        for half, value in zip(halves(8), pair, strict=True):
            values[half] = value
        return values.tolist()

    ndcg = {name: spread(mixed) for name in ("retrieved", "mixed", "ranked")} if mixed else {}
    return replace(Measured(ndcg, spread(loss) if loss else [], {}, 100, 10.0), **changes)


RANKER, WRITER = measured((0.4, 0.4), None), measured(None, (0.5, 0.5), written={"written": 9})


def test_lambda_is_chosen_on_one_half_and_reported_on_the_other():
    low, high = measured((0.39, 0.2), (0.51, 0.9)), measured((0.3, 0.4), (0.5, 0.5))
    assert shortfall(low, RANKER, WRITER) == pytest.approx(0.025 + 0.02)
    found = figures({"ranker": RANKER, "writer": WRITER, "both 0.3": low, "both 1": high})
    assert found["chosen"] == "both 0.3"
    assert found["table"]["both 0.3"][MIXED] == 0.2
    assert found["table"]["both 0.3"][LOSS] == 0.9
    assert found["table"]["two adapters"] | {MIXED: 0.4, LOSS: 0.5, "written": 9} == found["table"]["two adapters"]
    assert (found["table"]["two adapters"]["bytes"], found["table"]["both 1"]["bytes"]) == (200, 100)
    assert found["one against two"]["both 0.3"][MIXED]["delta"] == pytest.approx(-0.2)
    assert found["one against two"]["both 0.3"][LOSS]["high"] == pytest.approx(0.4)


def test_without_both_adapters_nothing_is_chosen():
    assert set(figures({"ranker": RANKER, "both 1": RANKER})) == {"table"}


def test_what_was_measured_before_stays():
    before = {"table": {"ranker": 1, "writer": 2}, "chosen": "both 1"}
    now = {"table": {"ranker": 3, "both 1": 4}}
    assert joined(before, now) == {"table": {"ranker": 3, "writer": 2, "both 1": 4}, "chosen": "both 1"}


def test_a_report_of_other_settings_is_not_kept(tmp_path):
    path = tmp_path / "report.json"
    assert kept(path, {"lists": 8}) == {}
    path.write_text(json.dumps({"meta": {"settings": {"lists": 8}}, "figures": {"table": {"ranker": 1}}}))
    assert kept(path, {"lists": 8}) == {"table": {"ranker": 1}}
    assert kept(path, {"lists": 9}) == {}


def test_the_halves_share_nothing():
    first, second = halves(9)
    assert not set(first) & set(second)
    assert sorted([*first, *second]) == list(range(9))
