"""Constrained decoding: what a language model writes is held to a grammar (llguidance), many texts in one batch."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import llguidance.hf
import llguidance.numpy
import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray
from transformers import DynamicCache, LogitsProcessorList

from finetune.adapters import using
from finetune.language_model import LanguageModel


@dataclass(frozen=True)
class Written:
    """A text, and the logarithm of its probability among what the grammar allows; ended: whether it came to its end."""

    text: str
    log_probability: float
    ended: bool


class ConstrainedWriter:
    """Continues prefixes within grammars, the texts behind one prefix in one batch that shares its key-value cache."""

    def __init__(self, language_model: LanguageModel, adapter: str | None = None):
        """``adapter``: the name of a tuned adapter in the model; None writes with the model as it came."""
        self._lm = language_model
        self._adapter = adapter
        self._caches: dict[tuple[int, ...], DynamicCache] = {}

    @cached_property
    def _tokenizer(self) -> LLTokenizer:
        return llguidance.hf.from_tokenizer(self._lm.tokenizer, n_vocab=self._lm.model.config.vocab_size)

    def matcher(self, grammar: str) -> LLMatcher:
        """What a grammar in llguidance's form of Lark allows.

        Raises:
            ValueError: it is none.
        """
        matcher = LLMatcher(self._tokenizer, grammar)
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        return matcher

    @torch.inference_mode()
    def write(
        self,
        prefix: Sequence[int],
        matcher: LLMatcher,
        seeds: Sequence[Sequence[int] | None],
        longest: int,
        *,
        keep: bool = False,
    ) -> list[Written]:
        """A text for each seed, drawn from the model's probabilities (Gumbel-max); None: the likeliest token each time.

        prefix: at least two tokens. longest: tokens of a text. keep: the prefix's cache, as it will be continued again.
        """
        model, device = self._lm.model, self._lm.device
        rows = [_Row(matcher.deep_copy(), None if seed is None else np.random.default_rng(seed)) for seed in seeds]
        stop = self._lm.tokenizer.eos_token_id
        held = _Held(rows, stop)
        with using(self._lm, self._adapter):
            cache = self._cache(tuple(prefix), keep=keep)
            cache.batch_repeat_interleave(len(seeds))
            ids = torch.tensor([list(prefix)] * len(seeds), device=device)
            model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                cache=cache,
                logits_processor=LogitsProcessorList([held]),
                do_sample=False,
                max_new_tokens=longest,
                eos_token_id=stop,
                pad_token_id=stop,
            )
        decode = self._lm.tokenizer.decode
        return [Written(decode(row.tokens).strip(), row.log_probability, row.ended) for row in rows]

    def _cache(self, prefix: tuple[int, ...], *, keep: bool) -> DynamicCache:
        """That of all but the last token."""
        if prefix in self._caches:
            return copy.deepcopy(self._caches[prefix])
        cache = DynamicCache(config=self._lm.model.config)
        self._lm.model.base_model(torch.tensor([prefix[:-1]], device=self._lm.device), cache=cache)
        if keep:
            self._caches[prefix] = copy.deepcopy(cache)
        return cache


@dataclass
class _Row:
    """A text that is being written."""

    matcher: LLMatcher
    noise: np.random.Generator | None
    tokens: list[int] = field(default_factory=list)
    log_probability: float = 0.0
    ended: bool = False


class _Held:
    """A logits processor that chooses each row's next token among those that its grammar allows."""

    def __init__(self, rows: list[_Row], stop: int):
        self._rows = rows
        self._stop = stop

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """(B, vocabulary) zero for the token to write, impossible for all others."""
        mask = llguidance.numpy.allocate_token_bitmask(1, scores.shape[1])
        chosen = torch.full_like(scores, float("-inf"))
        for place, row in enumerate(self._rows):
            llguidance.numpy.fill_next_token_bitmask(row.matcher, mask)
            allowed = np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little"))
            chosen[place, self._choose(row, scores[place], allowed)] = 0.0
        return chosen

    def _choose(self, row: _Row, logits: torch.Tensor, allowed: NDArray[np.int64]) -> int:
        if row.ended:
            return self._stop
        weights = logits[torch.from_numpy(allowed).to(logits.device)].float().log_softmax(0).numpy(force=True)
        noise = 0.0 if row.noise is None else row.noise.gumbel(size=len(allowed))
        place = int(np.argmax(weights + noise))
        token = int(allowed[place])
        row.log_probability += float(weights[place])
        row.ended = token == self._stop
        if not row.ended:
            row.tokens.append(token)
            row.matcher.consume_token(token)
        return token
