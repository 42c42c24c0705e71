"""Tune the language model to word explanations: from a grammar, then from its own sentences that pass all checks."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from agent.evaluation.output import versions
from agent.evaluation.watch import Watch
from agent.evidence import Cited, Evidence, SharedAttribute
from agent.explanation import slots_of
from agent.models import Models
from agent.tuned_adapter import save_tuned
from agent.unfinished import UNFINISHED, begin
from agent.verifier import problems
from prompts import fill, patterns, shapes, wordings

if TYPE_CHECKING:
    from agent.evidence import Shape
    from finetune.lora import LoraTuning
    from finetune.writer_training import Sentences, WriterTrainer

KEPT = 25  # steps between states on disk
TOGETHER = 8  # sentences behind one prefix
OWN_SHARE = 0.5  # of what a round after the first learns from
STRANGE = 0.1  # of the grammar's sentences are less fluent than what is accepted
NOUN = "film"
_CARD = """# Tuned writer

Made by `{command}`. An adapter (LoRA) of the language model `{base}`: beside it, the model words explanations, with
slots where names, values and numbers go. It has learnt from sentences alone, and from no data. In each round the
model's own sentences that pass all checks join what the next one learns from:

| round | loss | written | come to an end | accepted | different | not in the grammar |
|---|---|---|---|---|---|---|
{rounds}

`config.json` has the fingerprint of the model, the tuning and the versions.
"""
STAND_IN = Evidence("0", "Solar Drift", "cited", "liked", query="space")


@dataclass(frozen=True)
class Plan:
    """first, further: steps of the first round and of each after it. written: sentences of each shape between two."""

    rounds: int = 3
    first: int = 120
    further: int = 40
    written: int = 60


def lora_tuning(rate: float = 8e-4, seed: int = 0) -> "LoraTuning":
    """How a writer is tuned."""
    from finetune.lora import LoraTuning

    return LoraTuning(rank=8, alpha=16, rate=rate, seed=seed)


@dataclass(frozen=True)
class Round:
    """What came of a round: its mean loss, and of the sentences that the model wrote after it how many came to an end,

    how many of these passed all checks, how many of those are different, and how many of those the grammar lacks.
    """

    loss: float
    written: int
    ended: int
    accepted: int
    different: int
    new: int

    def __str__(self) -> str:
        """As in a card's table."""
        counts = (self.written, self.ended, self.accepted, self.different, self.new)
        return f"| {self.loss:.3f} | {' | '.join(map(str, counts))} |"


class WriterTuner:
    """Learns from sentences with slots, and from no data; what it makes serves any catalog.

    Rejection sampling: what the model writes is filled with stand-ins for facts, and must pass the verifier
    (`agent.verifier`) and read as fluently, to the untuned model, as all but a tenth of the grammar's sentences of its
    shape. The state is in ``.unfinished`` in ``folder`` after each 25 steps.
    """

    def __init__(self, models: Models, plan: Plan, tuning: "LoraTuning", folder: Path, watch: Watch):
        """``folder``: where versions of writers are kept."""
        self._models = models
        self._plan = plan
        self._tuning = tuning
        self._folder = folder
        self._watch = watch
        self._state = folder / UNFINISHED
        self._rounds: list[Round] = []
        self._own: dict[str, list[str]] = {}  # by shape what the last round wrote that passed
        self._fluency: dict[str, float] = {}  # by shape the least that is accepted
        weights = np.sqrt([len(wordings(shape)) for shape in shapes()])
        self._weights = weights / weights.sum()

    def run(self, command: str, *, resume: bool = False) -> tuple[str, list[Round]]:
        """Tune, round by round, and keep the writer; its version, and what came of each round.

        Raises:
            InputError: there is nothing that fits to resume.
            ModelError: the language model cannot be loaded or tuned, or training fails.
            WorkspaceError: what an interrupted run left cannot be read.
        """
        made_of = (self._models.language_model_fingerprint, self._plan, self._tuning, version("whyrec"), _grammar())
        begin(self._state, made_of, resume=resume)
        trainer = self._trainer()
        checkpoint = self._state / "trainer.safetensors"
        losses: list[float] = []
        if checkpoint.is_file():
            seen = json.loads(trainer.restore(checkpoint))
            self._rounds, self._own = [Round(**one) for one in seen["rounds"]], seen["own"]
            losses += seen["losses"]
        self._watch.start("Tuning the language model to write", trainer.steps)
        self._watch.advance(trainer.step)
        while trainer.step < trainer.steps:
            end = self._plan.first + len(self._rounds) * self._plan.further
            trainer.run(min(end - trainer.step, KEPT), self._told(losses))
            if trainer.step == end:
                self.close_round(losses)
                losses.clear()
            notes = {"rounds": [asdict(one) for one in self._rounds], "own": self._own, "losses": losses}
            trainer.save(checkpoint, json.dumps(notes))
        name = self._keep(command)
        shutil.rmtree(self._state)
        return name, self._rounds

    def _told(self, losses: list[float]) -> Callable[[float], None]:
        def told(loss: float) -> None:
            losses.append(loss)
            self._watch.advance()

        return told

    def _trainer(self) -> "WriterTrainer":
        from finetune.writer_training import WriterTrainer

        steps = self._plan.first + (self._plan.rounds - 1) * self._plan.further
        return WriterTrainer(self._models.language_model, self.draw, steps, self._tuning)

    def draw(self, number: int) -> "Sentences":
        """Sentences of one shape, the richer in sentences the likelier; of each pattern as many as of another."""
        from finetune.writer_training import Sentences

        rng = np.random.default_rng([self._tuning.seed, number])
        shape = shapes()[rng.choice(len(self._weights), p=self._weights)]
        own = self._own.get(shape, [])
        every = patterns(shape)
        texts = []
        for _ in range(TOGETHER):
            if own and rng.random() < OWN_SHARE:
                texts.append(own[rng.integers(len(own))])
            else:
                pattern = every[rng.integers(len(every))]
                texts.append(pattern[rng.integers(len(pattern))])
        return Sentences(shape, tuple(dict.fromkeys(texts)))

    def close_round(self, losses: Sequence[float]) -> None:
        """Let the model write, and keep what it may learn from in the next round."""
        from finetune.wording import WritingRequest
        from finetune.writer import EXPLAIN, LMWriter

        writer = LMWriter(self._models.language_model, EXPLAIN)
        seeds = [f"{self._tuning.seed} {len(self._rounds)} {number}" for number in range(self._plan.written)]
        own: dict[str, list[str]] = {}
        ended = accepted = different = new = 0
        for shape in shapes():
            drafts = writer.write([WritingRequest(shape, seed) for seed in seeds], 1)
            texts = [draft.text for found in drafts for draft in found]
            passed = [text for text, good in zip(texts, self._good(shape, texts), strict=True) if good]
            ended, accepted, different = ended + len(texts), accepted + len(passed), different + len(set(passed))
            own[shape] = list(dict.fromkeys(passed))
            new += sum(text not in wordings(shape) for text in own[shape])
        written = len(shapes()) * self._plan.written
        self._rounds.append(Round(round(float(np.mean(losses)), 4), written, ended, accepted, different, new))
        self._own = own
        self._watch.note("  ".join(f"{name} {value:g}" for name, value in asdict(self._rounds[-1]).items()))

    def _good(self, shape: str, texts: Sequence[str]) -> list[bool]:
        """Of each sentence whether it is true of stand-ins for its facts, and fluent."""
        from finetune.writer_training import fluency

        if not texts:
            return []
        evidence = stand_in(shape)
        slots = slots_of(evidence, NOUN)
        filled = [fill(text, **slots) for text in texts]
        told = fluency(self._models.language_model, filled)
        least = self._least_fluent(shape)
        return [
            found >= least and not problems(text, evidence, {"Space", "Drama"}, "en", NOUN)
            for text, found in zip(filled, told, strict=True)
        ]

    def _least_fluent(self, shape: str) -> float:
        from finetune.writer_training import fluency

        if shape not in self._fluency:
            slots = slots_of(stand_in(shape), NOUN)
            told = fluency(self._models.language_model, [fill(text, **slots) for text in wordings(shape)])
            self._fluency[shape] = float(np.quantile(told, STRANGE))
        return self._fluency[shape]

    def _keep(self, command: str) -> str:
        from finetune.adapters import save_adapter
        from finetune.writer import EXPLAIN

        models = self._models
        base = models.language_model_name
        made = {
            "command": command,
            "base": base,
            "base_fingerprint": models.language_model_fingerprint,
            "plan": asdict(self._plan),
            "tuning": asdict(self._tuning),
            "rounds": [asdict(one) for one in self._rounds],
            "versions": versions(),
        }
        rounds = "\n".join(f"| {number} {one}" for number, one in enumerate(self._rounds, 1))
        card = _CARD.format(command=command, base=base, rounds=rounds)
        lm = models.language_model
        return save_tuned("writer", self._folder, lambda folder: save_adapter(lm, EXPLAIN, folder, base), made, card)


def stand_in(shape: str) -> Evidence:
    """Evidence of a shape about items that do not exist."""
    slots = wordings(shape)[0]
    return Evidence(
        STAND_IN.item_id,
        STAND_IN.label,
        cast("Shape", shape.removesuffix("-detailed")),
        STAND_IN.did,
        (Cited("1", "Quiet Harbor", 0.8, 0.1),) if "[CITED]" in slots else (),
        (SharedAttribute("genres", "Space", 1.0),) if "[COMMON]" in slots else (),
        ("space",) if "[WORDS]" in slots else (),
        STAND_IN.query,
        12 if "[PEOPLE]" in slots else 0,
        times=3.0,
        other="Blue Lantern" if "[OTHER]" in slots else "",
    )


def _grammar() -> tuple[tuple[str, ...], ...]:
    return tuple(wordings(shape) for shape in shapes())
