"""The language model as a writer: it words an explanation, with slots where the facts go."""

import zlib
from collections import defaultdict
from collections.abc import Sequence

from llguidance import LLMatcher

from finetune.constrained import ConstrainedWriter
from finetune.language_model import LanguageModel
from finetune.wording import Draft, WritingRequest, grammar
from prompts import free, render, wordings

EXPLAIN = "explain"  # the name of the tuned adapter in the model
LONGER = 2  # times as many tokens as the longest known sentence has may be written


class LMWriter:
    """Writes sentences token by token, with slots for names, values and numbers.

    The model is told what kind of facts there are and never the facts themselves, so no title can tell it what to do
    and no name can be made up. It is held to what can be made of known sentences (`finetune.wording`). Each request has
    a seed of its own, so that it always reads the same.
    """

    def __init__(self, language_model: LanguageModel, adapter: str | None = None):
        """``adapter``: the name of a tuned adapter in the model; None writes with the model as it came."""
        self._lm = language_model
        self._constrained = ConstrainedWriter(language_model, adapter)
        self._matchers: dict[str, LLMatcher] = {}

    def write(self, requests: Sequence[WritingRequest], samples: int) -> list[list[Draft]]:
        """At most ``samples`` different drafts for each request, likeliest first; what came to no end is left out."""
        drafts: list[list[Draft]] = [[] for _ in requests]
        shapes = defaultdict(list)
        for place, request in enumerate(requests):
            shapes[request.shape].append(place)
        for shape, places in shapes.items():
            seeds = [zlib.crc32(requests[place].seed.encode("utf-8", "replace")) for place in places]
            rows = self._constrained.write(
                self.prefix(shape),
                self._matcher(shape),
                [(seed, number) for seed in seeds for number in range(samples)],
                LONGER * max(len(self.tokens(sentence)) for sentence in wordings(shape)),
                keep=True,
            )
            for order, place in enumerate(places):
                own = rows[order * samples : (order + 1) * samples]
                found = {row.text: Draft(row.text, row.log_probability) for row in own if row.ended}
                drafts[place] = sorted(found.values(), key=lambda draft: -draft.log_probability)
        return drafts

    def _matcher(self, shape: str) -> LLMatcher:
        if shape not in self._matchers:
            self._matchers[shape] = self._constrained.matcher(grammar(wordings(shape), free=free(shape)))
        return self._matchers[shape]

    def prefix(self, shape: str) -> list[int]:
        """The tokens that the sentence follows."""
        return self._lm.start_ids + self._lm.text_ids(render("explanation-v2", facts=wordings(shape)[0]))

    def tokens(self, sentence: str) -> list[int]:
        """A sentence as it is written, the end included."""
        return [*self._lm.text_ids(f" {sentence}"), self._lm.tokenizer.eos_token_id]
