"""The language model as a ranker: how surely it would answer yes, for many candidates in one pass."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from finetune.adapters import using
from finetune.language_model import LanguageModel
from finetune.packing import Packed, pack
from prompts import render
from retrieval.contracts import RankRequest
from retrieval.errors import ScoreError
from retrieval.ranking import Floats, Rankings, order

RANK = "rank"  # the name of the adapter that was tuned to rank
MAX_TOKENS = 1536
HISTORY = 20
TEXT_TOKENS = 64


class LMRanker:
    """Scores a candidate by ``h·(W[yes] − W[no])`` at the last token of its segment (`Ranker`).

    All candidates of a request are packed behind one prefix (`finetune.packing`), so there is no position bias, and
    they are put in order of id first, so that the order in which they are given makes no difference at all.
    """

    def __init__(self, language_model: LanguageModel, adapter: str | None = None):
        """``adapter``: the name of the one that computes along; None: the model as it came."""
        self._lm = language_model
        self._adapter = adapter
        self._direction = yes_or_no(language_model)

    def rank(self, requests: Sequence[RankRequest], k: int | None = None) -> Rankings:
        """At most k candidates of each request, best first; all of them when k is None."""
        longest = max((len(request.candidates) for request in requests), default=0)
        candidates = [request.candidates for request in requests]
        return order(candidates, self.score(requests), longest if k is None else k, "the language model")

    def score(self, requests: Sequence[RankRequest]) -> list[Floats]:
        """For each request (N,) float32 log-odds of yes against no, in the order of its candidates.

        Raises:
            ScoreError: a score is not a finite number; names the item.
        """
        scores = [np.zeros(len(request.candidates), dtype=np.float32) for request in requests]
        jobs = [(index, job) for index, request in enumerate(requests) for job in self._packed(request)]
        with using(self._lm, self._adapter):
            states = self._lm.hidden_states([packed for _, (_, packed) in jobs])
        for (index, (places, packed)), hidden in zip(jobs, states, strict=True):
            ends = [path[-1] for path in packed.paths]
            scores[index][places] = (hidden[ends] @ self._direction).cpu().numpy()
        for request, values in zip(requests, scores, strict=True):
            if not np.isfinite(values).all():
                item = request.candidates[int((~np.isfinite(values)).argmax())]
                raise ScoreError(f"the language model gave a score that is not a number for item {item!r}")
        return scores

    def tokens(self, request: RankRequest) -> tuple[list[int], list[list[int]]]:
        """The prefix and the candidates as token ids. Every item text is cut at 64 tokens, the history at 20 items."""
        history = [self._cut(text) for text in request.history[-HISTORY:]]
        prefix = self._lm.start_ids + self._lm.text_ids(render("rank-prefix-v1", history=history, query=request.query))
        texts = [render("rank-candidate-v1", text=self._cut(text)) for text in request.texts]
        return prefix, [self._lm.text_ids(text) for text in texts]

    def _packed(self, request: RankRequest) -> Iterator[tuple[list[int], Packed]]:
        """The request as one packed sequence, or several when it is long, with the places of the candidates in each."""
        prefix, segments = self.tokens(request)
        group: list[int] = []
        length = len(prefix)
        for place in sorted(range(len(segments)), key=lambda place: request.candidates[place]):
            if group and length + len(segments[place]) > MAX_TOKENS:
                yield group, pack(prefix, [segments[member] for member in group])
                group, length = [], len(prefix)
            group.append(place)
            length += len(segments[place])
        if group:
            yield group, pack(prefix, [segments[member] for member in group])

    def _cut(self, text: str) -> str:
        ids = self._lm.text_ids(text)
        return text if len(ids) <= TEXT_TOKENS else str(self._lm.tokenizer.decode(ids[:TEXT_TOKENS])) + "…"


def yes_or_no(language_model: LanguageModel) -> torch.Tensor:
    """(d,) float32: a hidden state times it is how much likelier ``yes`` is to follow than ``no``."""
    yes, no = language_model.head([language_model.word_id(" yes"), language_model.word_id(" no")])
    direction: torch.Tensor = yes - no
    return direction
