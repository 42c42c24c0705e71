"""One adapter that ranks and writes against two: `multi-task.json`.

    python -m benchmarks.multi_task
    python -m benchmarks.multi_task --only ranker --only "both 0.3"

MovieLens-small, cold items, seed 0, 20 candidates of the text alone; the test part is not touched. `ranker` and
`writer` learn one task each, tuned as they are by default; `both λ` learns the two from one adapter of the ranker's
size, ``L = L_rank + λ L_write``. All see the same lists and the same sentences, in as many steps. A fifth of the
sentences of each shape are held out.

Ranking: NDCG@10 on validation lists as retrieved, mixed (the language model's weight is 0.4) and by the language model
alone. Writing: the loss per token of held-out sentences, and what becomes of sentences that are written, as
`whyrec finetune writer` counts it, but that the model's own are not learnt from. λ is chosen on one half of the lists
and of the held-out sentences: least in sum is lost, in shares, of the two adapters' NDCG@10 (mixed) and loss. All
figures of ranking and of held-out sentences are of the other half; intervals are of 95 %, by a paired bootstrap.
Seconds are of the processor. What was trained and measured is kept in --work, so an interrupted run goes on where it
was; what was measured before with the same settings stays in the report.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from agent.cli.console import Steps, say
from agent.cli.options import Opened, open_workspace
from agent.evaluation.study import Question, Study
from agent.evaluation.watch import Watch
from agent.gate import JudgedLists
from agent.models import Models
from agent.ranker_tuning import WEIGHT
from agent.ranking_lists import RankingLists, Retrieval
from agent.writer_tuning import Plan, WriterTuner, lora_tuning
from benchmarks.multi_task_table import SEED, SYSTEMS, Measured, figures, joined, kept
from benchmarks.quality import workspace
from benchmarks.reporting import RESULTS, write_report
from finetune.adapters import WEIGHTS, load_adapter, save_adapter, using
from finetune.language_model import LanguageModel
from finetune.lora import AdapterTrainer, LoraTuning
from finetune.multi_task import MultiTaskTrainer
from finetune.ranker import RANK, LMRanker
from finetune.ranker_training import RankerTrainer
from finetune.writer import EXPLAIN, LMWriter
from finetune.writer_training import Sentences, WriterTrainer, pack_sentences, writing_loss
from prompts import shapes, wordings
from retrieval.cf.live import TEXT_ALONE

NAME, CANDIDATES, SIZE, KEPT = "multi-task", 20, 10, 5
HELD_OUT = 0.2  # of the sentences of each shape
ALPHAS = {"retrieved": 0.0, "mixed": WEIGHT, "ranked": 1.0}


@dataclass(frozen=True)
class Size:
    """lists: that are learnt from, and groups of sentences. watched: validation lists. written: of each shape."""

    lists: int
    watched: int
    written: int


def held_out() -> dict[str, tuple[str, ...]]:
    """By shape the sentences that nothing learns from."""
    rng = np.random.default_rng(SEED)
    found = {}
    for shape in shapes():
        every = wordings(shape)
        places = rng.choice(len(every), max(1, round(HELD_OUT * len(every))), replace=False)
        found[shape] = tuple(every[place] for place in sorted(places.tolist()))
    return found


def learnable(draw: Callable[[int], Sentences]) -> Callable[[int], Sentences]:
    """The same without what is held out."""
    left_out = held_out()

    def drawn(number: int) -> Sentences:
        one = draw(number)
        return Sentences(one.shape, tuple(text for text in one.texts if text not in left_out[one.shape]))

    return drawn


def losses(lm: LanguageModel) -> list[float]:
    """For each held-out sentence the loss per token."""
    writer, head = LMWriter(lm), lm.model.get_output_embeddings().weight.detach().float()
    packed = [
        pack_sentences(writer, Sentences(shape, (text,))) for shape, texts in held_out().items() for text in texts
    ]
    with using(lm, EXPLAIN):
        states = lm.hidden_states(packed)
    pairs = zip(states, packed, strict=True)
    return [float(writing_loss(found, one, head, torch.inference_mode())) for found, one in pairs]


class Bench:
    """Trains and measures, each adapter in a language model of its own."""

    def __init__(self, opened: Opened, work: Path, size: Size, watch: Watch):
        self._opened = opened
        self._work = work / NAME
        self._size = size
        self._watch = watch
        self._fluency: dict[str, float] = {}  # by shape the least that is accepted, of the untuned model

    @cached_property
    def source(self) -> RankingLists:
        settings = self._opened.settings
        settings = settings.model_copy(
            update={"ranking": settings.ranking.model_copy(update={"candidates": CANDIDATES})}
        )
        study = Study(self._opened.workspace, settings, Models(settings, say), Question("cold-items"), SEED)
        return RankingLists(study, Retrieval(TEXT_ALONE))

    def known(self, name: str) -> Measured | None:
        """What was measured, if it was."""
        path = self._measured(name)
        return Measured(**json.loads(path.read_text())) if path.is_file() else None

    def measured(self, name: str) -> Measured:
        """Train and measure what has not been."""
        found = self.known(name)
        if found is None:
            self._watch.note(name)
            seconds = self._trained(name)
            found = self._measure(name, seconds)
            self._measured(name).write_text(json.dumps(asdict(found)))
        return found

    def _folder(self, name: str) -> Path:
        return self._work / f"{name.replace(' ', '-')}-{self._size.lists}"

    def _measured(self, name: str) -> Path:
        return self._folder(name) / f"measured-{self._size.watched}-{self._size.written}.json"

    def _trained(self, name: str) -> float:
        """The seconds that training took; the adapter is in the folder."""
        folder, models = self._folder(name), Models(self._opened.settings, say)
        done, checkpoint = folder / "trained.json", folder / "trainer.safetensors"
        if done.is_file():
            return float(json.loads(done.read_text())["seconds"])
        folder.mkdir(parents=True, exist_ok=True)
        trainer = self._trainer(name, models)
        notes = json.loads(trainer.restore(checkpoint)) if checkpoint.is_file() else {"seconds": 0.0, "losses": []}
        self._watch.start("Tuning the language model", trainer.steps)
        self._watch.advance(trainer.step)
        while trainer.step < trainer.steps:
            begun = time.process_time()
            notes["losses"].append(trainer.run(KEPT, lambda _: self._watch.advance()))
            notes["seconds"] += time.process_time() - begun
            self._watch.note(f"step {trainer.step}  loss {notes['losses'][-1]:.4g}  seconds {notes['seconds']:.0f}")
            trainer.save(checkpoint, json.dumps(notes))
        adapter = EXPLAIN if name == "writer" else RANK
        save_adapter(models.language_model, adapter, folder / "adapter", models.language_model_name)
        done.write_text(json.dumps(notes))
        return float(notes["seconds"])

    def _trainer(self, name: str, models: Models) -> AdapterTrainer:
        lm, steps, weight = models.language_model, -(-self._size.lists // LoraTuning().lists), SYSTEMS[name]
        sentences = learnable(self._writer_tuner(models).draw)
        if name == "writer":
            return WriterTrainer(lm, sentences, steps, lora_tuning(seed=SEED))
        lists, tuning = self.source.to_learn_from(SIZE, SEED), LoraTuning(seed=SEED)
        if weight is None:
            return RankerTrainer(lm, lists, steps, tuning)
        return MultiTaskTrainer(lm, lists, sentences, steps, tuning, weight)

    def _writer_tuner(self, models: Models) -> WriterTuner:
        tuner = WriterTuner(models, Plan(written=self._size.written), lora_tuning(seed=SEED), self._work, self._watch)
        tuner._fluency = self._fluency
        return tuner

    def _measure(self, name: str, seconds: float) -> Measured:
        models = Models(self._opened.settings, say)
        lm, adapter = models.language_model, self._folder(name) / "adapter"
        ndcg: dict[str, list[float]] = {}
        loss: list[float] = []
        written: dict[str, int] = {}
        if name != "writer":
            load_adapter(lm, RANK, adapter)
            asked = self.source.everybody.asked(0, self._size.watched)
            self._watch.start("Ranking validation lists", len(asked.rows))
            lists = JudgedLists.of(self.source.everybody.judged(asked, LMRanker(lm, RANK), self._watch.advance))
            ndcg = {one: lists.figures(alpha).tolist() for one, alpha in ALPHAS.items()}
        if name != "ranker":
            load_adapter(lm, EXPLAIN, adapter)
            loss = losses(lm)
            self._watch.start("Writing", 1)
            tuner = self._writer_tuner(models)
            tuner.close_round(loss)
            written = {key: value for key, value in asdict(tuner._rounds[0]).items() if key != "loss"}
        return Measured(ndcg, loss, written, (adapter / WEIGHTS).stat().st_size, seconds)


def main() -> None:
    """Train and measure each, and write the report after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(SYSTEMS), help="one of them; may be given again")
    parser.add_argument("--lists", type=int, default=160, help="learnt from, and as many groups of sentences")
    parser.add_argument("--watched", type=int, default=160, help="validation lists")
    parser.add_argument("--written", type=int, default=10, help="sentences of each shape")
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where the workspace and adapters are kept")
    asked = parser.parse_args()
    opened = open_workspace(workspace("movielens-small", asked.work, None, {}))
    size = Size(asked.lists, asked.watched, asked.written)
    settings = {
        **asdict(size),
        "candidates": CANDIDATES,
        "size": SIZE,
        "seed": SEED,
        "tuning": asdict(LoraTuning(seed=SEED)),
    }
    settings["tuning of the writer"] = asdict(lora_tuning(seed=SEED))
    before = kept(RESULTS / f"{NAME}.json", settings)
    with Steps() as watch:
        bench = Bench(opened, asked.work, size, watch)
        for name in asked.only or SYSTEMS:
            bench.measured(name)
            every = {other: bench.known(other) for other in SYSTEMS}
            found = {other: one for other, one in every.items() if one is not None}
            write_report(NAME, joined(before, figures(found)), **settings)


if __name__ == "__main__":
    main()
