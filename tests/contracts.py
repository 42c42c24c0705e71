"""What every encoder, retriever and ranker must do; each check runs on any implementation."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from retrieval.contracts import RankRequest
from retrieval.ranking import Rankings


def check_rankings(found: Rankings, k: int) -> None:
    """At most k, no duplicates, best first, equal scores by id, float32, padded with ``""`` and ``-inf``."""
    assert found.ids.shape == found.scores.shape == (len(found), k)
    assert found.scores.dtype == np.float32
    for index, row in enumerate(found):
        names = [item_id for item_id, _ in row]
        assert len(row) <= k
        assert len(set(names)) == len(names)
        assert row == sorted(row, key=lambda pair: (-pair[1], pair[0]))
        assert all(names)
        assert (found.ids[index, len(row) :] == "").all()
        assert (found.scores[index, len(row) :] == -np.inf).all()


def check_encoder(encoder, texts: Sequence[str], tolerance: float) -> None:
    """``texts``: several different ones of unlike length, none without a word."""
    vectors = encoder.encode(texts)
    assert vectors.shape == (len(texts), encoder.dimension)
    assert vectors.dtype == np.float32
    assert encoder.fingerprint
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(texts[::-1])[::-1], vectors, atol=tolerance)
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(encoder.encode([text])[0], vector, atol=tolerance)
    nothing = encoder.encode([])
    assert nothing.shape == (0, encoder.dimension)
    assert nothing.dtype == np.float32


def check_retriever(retriever, profiles_of: Callable[[frozenset[str]], Sequence], k: int) -> None:
    """``profiles_of(exclude)`` gives two or more different profiles, each of which excludes these items."""
    profiles = profiles_of(frozenset())
    found = retriever.retrieve(profiles, k)
    assert len(found) == len(profiles)
    check_rankings(found, k)
    assert (found.lengths > 0).all()
    assert list(retriever.retrieve(profiles[::-1], k))[::-1] == list(found)
    for profile, row in zip(profiles, found, strict=True):
        assert list(retriever.retrieve([profile], k)) == [row]

    best = frozenset(found.ids[:, 0].tolist())
    without = retriever.retrieve(profiles_of(best), k)
    check_rankings(without, k)
    assert best.isdisjoint(without.ids.ravel().tolist())

    nothing = retriever.retrieve([], k)
    assert len(nothing) == 0
    check_rankings(nothing, k)


def check_ranker(ranker, requests: Sequence[RankRequest], tolerance: float) -> None:
    """``requests``: some with three or more candidates, of unlike number; ``tolerance`` is that of a score."""
    longest = max(len(request.candidates) for request in requests)
    found = ranker.rank(requests)
    check_rankings(found, longest)
    scores = ranker.score(requests)
    for request, row, values in zip(requests, found, scores, strict=True):
        assert values.dtype == np.float32
        assert {item_id for item_id, _ in row} == set(request.candidates)
        _check_close(row, list(zip(request.candidates, values.tolist(), strict=True)), tolerance)
        _check_close(ranker.rank([request]).row(0), row, tolerance)

    turned = [_turned(request) for request in requests]
    for row, other in zip(found, ranker.rank(turned), strict=True):
        _check_close(other, row, tolerance)
    for row, other in zip(reversed(list(found)), ranker.rank(requests[::-1]), strict=True):
        _check_close(other, row, tolerance)

    first = ranker.rank(requests, 2)
    check_rankings(first, 2)
    for row, two in zip(found, first, strict=True):
        _check_close(two, row[:2], tolerance)

    nobody, nothing = ranker.rank([]), ranker.rank([RankRequest(("a text",), (), ())])
    assert list(nobody) == []
    assert list(nothing) == [[]]


def _turned(request: RankRequest) -> RankRequest:
    return replace(request, candidates=request.candidates[::-1], texts=request.texts[::-1])


def _check_close(row: list[tuple[str, float]], other: list[tuple[str, float]], tolerance: float) -> None:
    """The same items with the same scores; which goes first may differ where the scores are that close."""
    assert len(row) == len(other)
    expected = dict(other)
    for item_id, score in row:
        assert item_id in expected or any(abs(score - value) <= tolerance for value in expected.values())
        assert abs(score - expected.get(item_id, score)) <= tolerance
