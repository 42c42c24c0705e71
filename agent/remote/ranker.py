"""A remote language model as a ranker: how surely it would answer yes."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from agent.mcp.untrusted import cleaned, quoted
from agent.remote.answers import Answer
from agent.remote.endpoint import RANKING, Endpoint
from agent.remote.kept import KeptScores
from prompts import render
from retrieval.contracts import RankRequest
from retrieval.errors import RemoteError
from retrieval.ranking import Floats, Rankings, order

HISTORY = 20  # items that it is told of
LETTERS = 250  # of an item's text
LIKELIEST = 20  # tokens whose probabilities are asked for, the most that endpoints give
AT_ONCE = 4  # requests


class RemoteRanker:
    """Scores a candidate by the log-odds of yes against no as the first word of an answer (`Ranker`, `Judge`).

    Each candidate is asked about by itself, so the others and their order make no difference. It is sent the texts of
    liked items and of the candidate, in quotes, and the words of a query; no id and no name of a person.
    """

    def __init__(self, endpoint: Endpoint, kept: KeptScores | None = None):
        """``kept``: what it need not be asked again; what it answers joins it."""
        self._endpoint = endpoint
        self._kept = kept

    def rank(self, requests: Sequence[RankRequest], k: int | None = None) -> Rankings:
        """At most k candidates of each request, best first; all of them when k is None."""
        longest = max((len(request.candidates) for request in requests), default=0)
        candidates = [request.candidates for request in requests]
        return order(candidates, self.score(requests), longest if k is None else k, "the remote language model")

    def score(self, requests: Sequence[RankRequest]) -> list[Floats]:
        """For each request (N,) float32 log-odds, in the order of its candidates.

        Raises:
            RemoteError: an answer is missing, or says neither how likely yes is nor how likely no.
        """
        asked = [(request, place) for request in requests for place in range(len(request.candidates))]
        found = iter(self._all(asked))
        return [np.array([next(found) for _ in request.candidates], dtype=np.float32) for request in requests]

    def _all(self, asked: Sequence[tuple[RankRequest, int]]) -> list[float]:
        """Several at a time; after the first failure that is final no further one is sent."""
        with self._endpoint.together() as halt, ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                futures = [pool.submit(self._asked, request, place) for request, place in asked]
                return [future.result() for future in futures]
            except BaseException:
                halt()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _asked(self, request: RankRequest, place: int) -> float:
        said = render(
            RANKING,
            history=[_shown(text) for text in request.history[-HISTORY:]],
            query=_shown(request.query) if request.query else "",
            text=_shown(request.texts[place]),
        )
        known = self._kept.find(said) if self._kept else None
        if known is not None:
            return known
        options = {"logprobs": True, "top_logprobs": LIKELIEST, "temperature": 0}
        answer = self._endpoint.ask("scoring candidates", [{"role": "user", "content": said}], 1, options)
        score = self._log_odds(answer, request.candidates[place])
        if self._kept:
            self._kept.keep(said, score)
        return score

    def _log_odds(self, answer: Answer, item: str) -> float:
        logprobs = answer.choices[0].logprobs
        name = self._endpoint.settings.name
        if not logprobs or not logprobs.content or not logprobs.content[0].top_logprobs:
            raise RemoteError(f"the endpoint of {name} gives no log-probabilities, so this model cannot rank")
        likeliest = logprobs.content[0].top_logprobs
        least = min(one.logprob for one in likeliest)  # what is not among them is less likely
        yes, no = ([one.logprob for one in likeliest if one.token.strip().casefold() == word] for word in ("yes", "no"))
        if not yes and not no:
            raise RemoteError(f"the language model {name} answers neither yes nor no about item {item!r}")
        return _together(yes, least) - _together(no, least)


def _together(logprobs: Sequence[float], least: float) -> float:
    """The logarithm of the sum of probabilities."""
    if not logprobs:
        return least
    most = max(logprobs)
    return most + math.log(sum(math.exp(one - most) for one in logprobs))


def _shown(text: str) -> str:
    """A text as data: cut, in one line and in quotes."""
    plain = " ".join(str(cleaned(text)).split())
    return quoted(plain if len(plain) <= LETTERS else plain[:LETTERS] + "…")
