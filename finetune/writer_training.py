"""Tune a language model to write explanations: sentences with slots, many behind one prefix."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch.nn import functional

from finetune.language_model import LanguageModel
from finetune.lora import AdapterTrainer, LoraTuning
from finetune.packing import Packed, pack
from finetune.writer import EXPLAIN, LMWriter


@dataclass(frozen=True)
class Sentences:
    """Sentences with slots that are all true of one shape of evidence."""

    shape: str
    texts: tuple[str, ...]


class WriterTrainer(AdapterTrainer[Sentences]):
    """Trains the adapter of a writer: ``L = −mean log p(token | prefix, sentence so far)``, the end included.

    Sentences that begin alike share these tokens (`finetune.packing`), which count once for each of them.
    """

    def __init__(self, language_model: LanguageModel, draw: Callable[[int], Sentences], steps: int, tuning: LoraTuning):
        """As `AdapterTrainer`."""
        super().__init__(language_model, EXPLAIN, draw, steps, tuning)
        self._writer = LMWriter(language_model, EXPLAIN)
        self._head: torch.Tensor = language_model.model.get_output_embeddings().weight.detach()

    def _packed(self, example: Sentences) -> Packed:
        return pack_sentences(self._writer, example)

    def _loss(self, states: torch.Tensor, packed: Packed, example: Sentences) -> torch.Tensor:  # noqa: ARG002
        return writing_loss(states, packed, self._head, self._precision)


def pack_sentences(writer: LMWriter, example: Sentences) -> Packed:
    """The sentences behind the prefix of their shape."""
    return pack(writer.prefix(example.shape), [writer.tokens(text) for text in example.texts])


def writing_loss(
    states: torch.Tensor, packed: Packed, head: torch.Tensor, precision: AbstractContextManager[object]
) -> torch.Tensor:
    """``L`` of `WriterTrainer` from (T, d) the states of packed sentences.

    head: (V, d), the model's output embeddings. precision: of the product with it.
    """
    times = Counter(place for path in packed.paths for place in path)
    parents = [packed.parents[place] for place in times]
    with precision:
        logits = states[parents] @ head.T.to(states.dtype)
    tokens = torch.tensor([packed.ids[place] for place in times], device=states.device)
    weights = torch.tensor(list(times.values()), device=states.device, dtype=torch.float32)
    return functional.cross_entropy(logits.float(), tokens, reduction="none") @ (weights / weights.sum())


def fluency(language_model: LanguageModel, texts: Sequence[str]) -> list[float]:
    """How readily the model as it came would say each text: the mean log-probability of its tokens in their order."""
    first = language_model.start_ids or [language_model.tokenizer.eos_token_id]
    packed = [pack(first, [language_model.text_ids(text)]) for text in texts]
    head = language_model.model.get_output_embeddings().weight.detach().float()
    found = []
    for one, states in zip(packed, language_model.hidden_states(packed), strict=True):
        path = one.paths[0]
        steps = (states[[one.parents[place] for place in path]] @ head.T).log_softmax(-1)
        found.append(float(steps[range(len(path)), [one.ids[place] for place in path]].mean()))
    return found
