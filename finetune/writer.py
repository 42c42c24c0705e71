"""The language model as a writer: it words an explanation within the sentences that the evidence allows."""

import math
import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from finetune.language_model import LanguageModel
from finetune.packing import Packed, pack

CONSIDERED = 6


@dataclass(frozen=True)
class WritingRequest:
    """A prompt to continue, and the sentences that are true of the evidence."""

    prompt: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Draft:
    """A sentence and the logarithm of the model's probability of writing it rather than another allowed one."""

    text: str
    log_probability: float


class LMWriter:
    """Words sentences token by token; where the allowed sentences part, the model's probabilities decide.

    This is constrained decoding: a token that continues no allowed sentence cannot be chosen, so an untuned model
    chooses words but not facts. All branches are packed into one tree behind the prompt, so that one forward pass
    gives the exact probability of each sentence and further samples cost nothing.
    """

    def __init__(self, language_model: LanguageModel):
        self._lm = language_model

    def write(self, requests: Sequence[WritingRequest], samples: int) -> list[list[Draft]]:
        """At most ``samples`` different drafts for each request, likeliest first.

        Six of the sentences are considered, drawn with a seed made of the prompt: so two items read differently and
        the same item always reads the same.
        """
        seeds = [random.Random(zlib.crc32(request.prompt.encode("utf-8", "replace"))) for request in requests]
        considered = [
            seed.sample(request.sentences, min(CONSIDERED, len(request.sentences)))
            for seed, request in zip(seeds, requests, strict=True)
        ]
        trees = [self._tree(request, kept) for request, kept in zip(requests, considered, strict=True)]
        drafts = []
        for seed, kept, tree, hidden in zip(seeds, considered, trees, self._lm.hidden_states(trees), strict=True):
            scores = self._log_probabilities(tree, hidden)
            drafts.append([Draft(kept[place], scores[place]) for place in _sampled(scores, samples, seed)])
        return drafts

    def _tree(self, request: WritingRequest, sentences: list[str]) -> Packed:
        stop = self._lm.tokenizer.eos_token_id
        prompt = self._lm.start_ids + self._lm.text_ids(request.prompt)
        return pack(prompt, [[*self._lm.text_ids(" " + sentence), stop] for sentence in sentences])

    def _log_probabilities(self, tree: Packed, hidden: torch.Tensor) -> list[float]:
        """The log-probability of each path, the softmax of every step taken over the allowed tokens alone."""
        children: dict[int, list[int]] = {}
        for path in tree.paths:
            for place in path:
                siblings = children.setdefault(tree.parents[place], [])
                if place not in siblings:
                    siblings.append(place)
        step: dict[int, float] = {}
        for parent, siblings in children.items():
            if len(siblings) > 1:
                logits = self._lm.head([tree.ids[place] for place in siblings]) @ hidden[parent]
                step.update(zip(siblings, logits.log_softmax(0).tolist(), strict=True))
        return [sum(step.get(place, 0.0) for place in path) for path in tree.paths]


def _sampled(scores: list[float], samples: int, seed: random.Random) -> list[int]:
    """Draw places without replacement in proportion to ``exp(score)`` (Gumbel top-k); the likeliest of them first."""
    noisy = [score - math.log(seed.expovariate(1.0)) for score in scores]
    drawn = sorted(range(len(scores)), key=lambda place: -noisy[place])[:samples]
    return sorted(drawn, key=lambda place: -scores[place])
