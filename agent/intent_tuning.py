"""Tune the language model to read what people say: from utterances about a catalog, not from what anybody did."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agent.evaluation.output import versions
from agent.evaluation.watch import Watch
from agent.intent import Intent
from agent.models import Models
from agent.tuned_adapter import save_tuned
from agent.unfinished import UNFINISHED, begin
from agent.utterances import YEAR, UtteranceMaker, Words
from prompts import phrasings
from retrieval.data.catalog import Catalog

if TYPE_CHECKING:
    from finetune.intent_training import IntentTrainer, Utterance
    from finetune.lora import LoraTuning

KEPT = 25  # steps between states on disk
FIELDS = ((YEAR,), (YEAR,), (YEAR, "price"), ("pages", YEAR), (YEAR, "minutes", "players"))
_CARD = """# Tuned reader of intents

Made by `{command}`. An adapter (LoRA) of the language model `{base}`: beside it, the model reads what somebody says in
a chat. It has learnt from utterances put together of phrasings, titles and attributes, and from nothing that anybody
did. Of {count} others, made of the same phrasings and of other titles, it read {exact:.0%} exactly.

`config.json` has the fingerprint of the model, the tuning and the versions.
"""


@dataclass(frozen=True)
class Plan:
    """steps: of training. validation: utterances that it is measured on, made of the phrasings that are tuned on."""

    steps: int = 1000
    validation: int = 100


def lora_tuning(rate: float = 8e-4, seed: int = 0) -> "LoraTuning":
    """How a reader is tuned."""
    from finetune.lora import LoraTuning

    # No noise: words are to be copied as they are.
    return LoraTuning(rank=8, alpha=16, share=1.0, rate=rate, lists=16, noise=0.0, seed=seed)


class IntentTuner:
    """The state is in ``.unfinished`` in ``folder`` after each 25 steps."""

    def __init__(self, models: Models, catalog: Catalog, plan: Plan, tuning: "LoraTuning", folder: Path, watch: Watch):
        """``catalog``: whose titles and attributes are named. folder: where versions are kept."""
        self._models = models
        self._catalog = catalog
        self._plan = plan
        self._tuning = tuning
        self._folder = folder
        self._watch = watch
        self._state = folder / UNFINISHED
        self._maker = UtteranceMaker(Words.of(catalog, "tuned"), "tuned")

    def run(self, command: str, *, resume: bool = False) -> tuple[str, dict[str, float]]:
        """Tune, measure and keep; the version, and the figures.

        Raises:
            InputError: there is nothing that fits to resume.
            ModelError: the language model cannot be loaded or tuned, or training fails.
            WorkspaceError: what an interrupted run left cannot be read.
        """
        made_of = (self._models.language_model_fingerprint, self._catalog.fingerprint, self._plan, self._tuning)
        begin(self._state, (*made_of, version("whyrec"), sorted(map(str, phrasings().items()))), resume=resume)
        trainer = self._trainer()
        checkpoint = self._state / "trainer.safetensors"
        if checkpoint.is_file():
            trainer.restore(checkpoint)
        self._watch.start("Tuning the language model to read", trainer.steps)
        self._watch.advance(trainer.step)
        while trainer.step < trainer.steps:
            loss = trainer.run(KEPT, lambda _: self._watch.advance())
            self._watch.note(f"step {trainer.step}  loss {loss:.3f}")
            trainer.save(checkpoint)
        figures = self._validated()
        name = self._keep(command, figures)
        shutil.rmtree(self._state)
        return name, figures

    def _trainer(self) -> "IntentTrainer":
        from finetune.intent_training import IntentTrainer

        return IntentTrainer(self._models.language_model, self._draw, self._plan.steps, self._tuning)

    def _draw(self, number: int) -> "Utterance":
        from finetune.intent_training import Utterance

        rng = np.random.default_rng([self._tuning.seed, number])
        said, lines = self._maker.make(rng)
        return Utterance(said, FIELDS[rng.integers(len(FIELDS))], lines)

    def _validated(self) -> dict[str, float]:
        from finetune.intent import INTENT, LMIntentReader

        reader = LMIntentReader(self._models.language_model, INTENT)
        maker = UtteranceMaker(Words.of(self._catalog, "held-out"), "tuned")
        seeds = ([self._tuning.seed + 1, number] for number in range(self._plan.validation))
        utterances = [maker.make(np.random.default_rng(seed)) for seed in seeds]
        self._watch.start("Reading utterances", len(utterances))

        def read(said: str) -> Intent | None:
            self._watch.advance()
            return read_by(reader.read, said, [YEAR])

        return agreement([(read(said), Intent.read(lines)) for said, lines in utterances])

    def _keep(self, command: str, figures: Mapping[str, float]) -> str:
        from finetune.adapters import save_adapter
        from finetune.intent import INTENT

        models = self._models
        base, lm = models.language_model_name, models.language_model
        made = {
            "command": command,
            "base": base,
            "base_fingerprint": models.language_model_fingerprint,
            "plan": asdict(self._plan),
            "tuning": asdict(self._tuning),
            "validation": dict(figures),
            "versions": versions(),
        }
        card = _CARD.format(command=command, base=base, count=self._plan.validation, exact=figures["exact"])
        return save_tuned("intent", self._folder, lambda folder: save_adapter(lm, INTENT, folder, base), made, card)


def read_by(read: Callable[[str, list[str]], str | None], said: str, fields: list[str]) -> Intent | None:
    """The intent that a language model reads; None where it came to no end."""
    lines = read(said, fields)
    return None if lines is None else Intent.read(lines)


def agreement(pairs: list[tuple[Intent | None, Intent]]) -> dict[str, float]:
    """Of intents read and meant: ``exact``, the share that agree wholly, and the F1 of each slot over all of them."""
    found = [(Intent() if one is None else one).slots() for one, _ in pairs]
    meant = [one.slots() for _, one in pairs]
    exact = np.mean([one == other for one, other in zip(found, meant, strict=True)])
    figures = {"exact": float(exact)}
    for slot in meant[0]:
        true = sum(len(one[slot] & other[slot]) for one, other in zip(found, meant, strict=True))
        total = sum(len(one[slot]) + len(other[slot]) for one, other in zip(found, meant, strict=True))
        figures[f"f1 {slot}"] = 2 * true / total if total else 1.0
    return figures
