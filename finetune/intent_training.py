"""Tune a language model to read intents."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from finetune.intent import INTENT, LMIntentReader
from finetune.language_model import LanguageModel
from finetune.lora import AdapterTrainer, LoraTuning
from finetune.packing import Packed, pack


@dataclass(frozen=True)
class Utterance:
    """What was said of items with these fields of numbers, and the lines of the intent that was meant."""

    said: str
    fields: tuple[str, ...]
    lines: str


class IntentTrainer(AdapterTrainer[Utterance]):
    """Trains the adapter of a reader: ``L = −mean log p(token | utterance, intent so far)``, the end included."""

    most_tokens = 512  # utterances are short, and of many lengths

    def __init__(self, language_model: LanguageModel, draw: Callable[[int], Utterance], steps: int, tuning: LoraTuning):
        """As `AdapterTrainer`."""
        super().__init__(language_model, INTENT, draw, steps, tuning)
        self._reader = LMIntentReader(language_model, INTENT)
        self._head: torch.Tensor = language_model.model.get_output_embeddings().weight.detach()

    def _packed(self, example: Utterance) -> Packed:
        return pack(self._reader.prefix(example.said, example.fields), [self._reader.tokens(example.lines)])

    def _loss(self, states: torch.Tensor, packed: Packed, example: Utterance) -> torch.Tensor:  # noqa: ARG002
        path = packed.paths[0]
        with self._precision:
            logits = states[[packed.parents[place] for place in path]] @ self._head.T.to(states.dtype)
        tokens = torch.tensor([packed.ids[place] for place in path], device=states.device)
        return functional.cross_entropy(logits.float(), tokens)
