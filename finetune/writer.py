"""The language model as a writer: it words an explanation, with slots where the facts go."""

import copy
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import DynamicCache, LogitsProcessorList

from finetune.adapters import using
from finetune.language_model import LanguageModel
from finetune.wording import Place, Wording
from prompts import free, render, wordings

EXPLAIN = "explain"  # the name of the tuned adapter in the model


@dataclass(frozen=True)
class WritingRequest:
    """A shape of evidence (`prompts.sentences`), and what tells this request from others of the shape."""

    shape: str
    seed: str


@dataclass(frozen=True)
class Draft:
    """A sentence with slots, and the logarithm of the model's probability of writing it rather than another."""

    text: str
    log_probability: float


class LMWriter:
    """Writes sentences token by token, with slots for names, values and numbers.

    The model is told what kind of facts there are and never the facts themselves, so no title can tell it what to do
    and no name can be made up. It is held to what can be made of known sentences (`Wording`): constrained decoding. All
    requests of a shape share the prefix's key-value cache and are sampled in one batch, each from a seed of its own
    (Gumbel-max), so that the same request always reads the same.
    """

    def __init__(self, language_model: LanguageModel, adapter: str | None = None):
        """``adapter``: the name of a tuned adapter in the model; None writes with the model as it came."""
        self._lm = language_model
        self._adapter = adapter
        self._wordings: dict[str, Wording] = {}
        self._prefixes: dict[str, DynamicCache] = {}

    def write(self, requests: Sequence[WritingRequest], samples: int) -> list[list[Draft]]:
        """At most ``samples`` different drafts for each request, likeliest first; what came to no end is left out."""
        drafts: list[list[Draft]] = [[] for _ in requests]
        shapes = defaultdict(list)
        for place, request in enumerate(requests):
            shapes[request.shape].append(place)
        for shape, places in shapes.items():
            seeds = [zlib.crc32(requests[place].seed.encode("utf-8", "replace")) for place in places]
            rows = self._written(shape, [(seed, number) for seed in seeds for number in range(samples)])
            for order, place in enumerate(places):
                found = {row.text: row for row in rows[order * samples : (order + 1) * samples] if row.text}
                drafts[place] = sorted(found.values(), key=lambda draft: -draft.log_probability)
        return drafts

    def wording(self, shape: str) -> Wording:
        """What may be written of evidence of this shape."""
        if shape not in self._wordings:
            stop = self._lm.tokenizer.eos_token_id
            self._wordings[shape] = Wording(wordings(shape), self._lm.text_ids, stop, free=free(shape))
        return self._wordings[shape]

    def prefix(self, shape: str) -> list[int]:
        """The tokens that the sentence follows."""
        return self._lm.start_ids + self._lm.text_ids(render("explanation-v2", facts=wordings(shape)[0]))

    @torch.inference_mode()
    def _written(self, shape: str, seeds: Sequence[tuple[int, int]]) -> list[Draft]:
        model, wording, prefix = self._lm.model, self.wording(shape), self.prefix(shape)
        with using(self._lm, self._adapter):
            if shape not in self._prefixes:
                self._prefixes[shape] = DynamicCache(config=model.config)
                model(torch.tensor([prefix[:-1]], device=self._lm.device), cache=self._prefixes[shape])
            cache = copy.deepcopy(self._prefixes[shape])
            cache.batch_repeat_interleave(len(seeds))
            ids = torch.tensor([prefix] * len(seeds), device=self._lm.device)
            held = _Held(wording, seeds)
            model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                cache=cache,
                logits_processor=LogitsProcessorList([held]),
                do_sample=False,
                max_new_tokens=wording.longest,
                eos_token_id=wording.stop,
                pad_token_id=wording.stop,
            )
        return [Draft(row.text, row.log_probability) for row in held.rows]


@dataclass
class _Row:
    """A sentence that is being written: the ways to read it so far; ``text`` once it has come to its end."""

    noise: np.random.Generator
    places: frozenset[Place] = frozenset({Place()})
    log_probability: float = 0.0
    text: str = ""


class _Held:
    """A logits processor that chooses each row's next token, by its probability among those that may come."""

    def __init__(self, wording: Wording, seeds: Sequence[tuple[int, int]]):
        self.rows = [_Row(np.random.default_rng(seed)) for seed in seeds]
        self._wording = wording

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """(B, vocabulary) zero for the token to write, impossible for all others."""
        chosen = torch.full_like(scores, float("-inf"))
        for row, one, logits in zip(self.rows, chosen, scores, strict=True):
            one[self._choose(row, logits)] = 0.0
        return chosen

    def _choose(self, row: _Row, logits: torch.Tensor) -> int:
        """The token; the end where the row has one, or a dead end, behind it."""
        stop = self._wording.stop
        allowed = sorted(self._wording.allowed(row.places))
        if not allowed:
            return stop
        weights = logits[allowed].float().log_softmax(0).numpy(force=True)
        place = int(np.argmax(weights + row.noise.gumbel(size=len(allowed))))
        row.log_probability += float(weights[place])
        if allowed[place] == stop:
            row.text = "".join(next(one.pieces for one in row.places if not one.begun)).lstrip()
            row.places = frozenset()
        else:
            row.places = self._wording.advance(row.places, allowed[place])
        return allowed[place]
