"""The contracts hold for the text retriever and for the encoder and ranker of the tests."""

import numpy as np
import pytest
from conftest import WordEncoder
from contracts import check_encoder, check_ranker, check_rankings, check_retriever

from retrieval.contracts import RankRequest
from retrieval.ranking import Rankings, order
from retrieval.text.profile import Profile, interest_in
from retrieval.text.retriever import TextRetriever

QUERIES = ("a story of space", "bread and garlic", "lone riders", "drama")


def requests_of(*sizes: int) -> list[RankRequest]:
    words = [f"{first} {second}" for first in ("red", "lone", "salt") for second in ("moon", "road", "table")]
    return [RankRequest(("red moon", "red table"), tuple("ihgfedcba"[:n]), tuple(words[:n])) for n in sizes]


class WordRanker:
    """Scores a candidate by its cosine to the history."""

    def score(self, requests):
        taste = [WordEncoder().encode([" ".join(request.history)]) for request in requests]
        return [
            (WordEncoder().encode(request.texts) @ vector.T)[:, 0]
            for request, vector in zip(requests, taste, strict=True)
        ]

    def rank(self, requests, k=None):
        longest = max((len(request.candidates) for request in requests), default=0)
        candidates = [request.candidates for request in requests]
        return order(candidates, self.score(requests), longest if k is None else k, "words")


class PlaceRanker(WordRanker):
    """Prefers what is given first, as a careless language model does."""

    def score(self, requests):
        return [values - np.arange(len(values), dtype=np.float32) for values in super().score(requests)]


class BatchRanker(WordRanker):
    """Lets the other requests of a batch change the scores."""

    def score(self, requests):
        return [values + np.float32(len(requests)) for values in super().score(requests)]


@pytest.mark.parametrize("k", [1, 5, 18, 30])
@pytest.mark.parametrize("several", [False, True])
def test_text_retriever(planted_index, k, several):
    interests = [interest_in(vector[None, :]) for vector in WordEncoder().encode(QUERIES)]

    def profiles_of(exclude):
        second = (interests[0],) if several else ()
        return [Profile((interest, *second), exclude) for interest in interests[1:]]

    check_retriever(TextRetriever(planted_index), profiles_of, k)


def test_text_retriever_gives_nothing_when_everything_is_excluded(planted, planted_index):
    profile = Profile((interest_in(WordEncoder().encode(["moon"])),), frozenset(planted.catalog.ids))
    assert list(TextRetriever(planted_index).retrieve([profile], 3)) == [[]]


def test_word_encoder():
    check_encoder(WordEncoder(), ["moon", "Salt and Lemon", "a story of red red roads, and more of it"], 1e-6)


def test_word_ranker():
    check_ranker(WordRanker(), requests_of(9, 3, 1, 6), 1e-6)


@pytest.mark.parametrize("ranker", [PlaceRanker(), BatchRanker()])
def test_the_check_of_rankers_notices_bad_ones(ranker):
    with pytest.raises(AssertionError):
        check_ranker(ranker, requests_of(9, 3), 1e-3)


@pytest.mark.parametrize(
    ("ids", "scores"),
    [
        (["a", "a"], [2, 1]),
        (["a", "b"], [1, 2]),
        (["b", "a"], [1, 1]),
        (["a", ""], [2, 1]),
    ],
    ids=["duplicate", "worst first", "equal scores not by id", "no id"],
)
def test_the_check_of_rankings_notices_bad_ones(ids, scores):
    bad = Rankings(np.array([ids]), np.array([scores], dtype=np.float32), np.array([2]))
    with pytest.raises(AssertionError):
        check_rankings(bad, 2)
