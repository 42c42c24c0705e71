"""What every encoder, retriever, scorer and ranker must do; each check runs on any implementation."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from retrieval.cf.scorers import load_scorer, save_scorer
from retrieval.contracts import RankRequest
from retrieval.data.events import History
from retrieval.data.histories import Histories
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


def check_scorer(scorer, histories: Histories, folder: Path, tolerance: float = 1e-5) -> None:
    """``histories``: several, one of them empty, of users who still lack some items; ``folder``: an empty one."""
    assert (histories.counts == 0).any()
    scores = _checked_scores(scorer, histories)
    turned = np.arange(len(histories))[::-1]
    np.testing.assert_allclose(scorer.score(histories.take(turned))[turned], scores, rtol=tolerance, atol=tolerance)
    for row in range(len(histories)):
        alone = _checked_scores(scorer, histories.take(slice(row, row + 1)))
        np.testing.assert_allclose(alone[0], scores[row], rtol=tolerance, atol=tolerance)
    _checked_scores(scorer, histories.take(slice(0, 0)))
    some = np.array([len(histories.items) - 1, 0])
    np.testing.assert_array_equal(scorer.score(histories, some), scores[:, some])
    stranger = History((histories.items[0], histories.items[-1]), (1.0, 5.0))
    _checked_scores(scorer, Histories.of([stranger], histories.items))
    np.testing.assert_array_equal(scorer.score(histories), scores)  # scoring changes nothing

    check_recommends(scorer, histories, tolerance)
    everything = scorer.recommend(histories, len(histories.items))
    assert everything.lengths.tolist() == (len(histories.items) - histories.counts).tolist()

    save_scorer(scorer, folder)
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}
    loaded = load_scorer(scorer.name, folder)
    assert (type(loaded), loaded.config, loaded.items) == (type(scorer), scorer.config, scorer.items)
    np.testing.assert_array_equal(loaded.score(histories), scores)


def check_recommends(recommender, histories: Histories, tolerance: float = 1e-5) -> None:
    """What is true of scorers and of those who put several together; ``histories`` as for `check_scorer`."""
    items = histories.items
    seen = [{items[column] for column in histories.values[[row]].indices} for row in range(len(histories))]
    found = recommender.recommend(histories, 5)
    assert len(found) == len(histories)
    assert (found.lengths > 0).all()
    for k in (1, 5, len(items) + 5):
        listed = recommender.recommend(histories, k)
        _check_lists(listed, k, seen, set(items))
        for row, first in zip(found, listed, strict=True):
            _check_close(first[:5], row[:k], tolerance)
    turned = recommender.recommend(histories.take(np.arange(len(histories))[::-1]), 5)
    for index, row in enumerate(found):
        alone = recommender.recommend(histories.take(slice(index, index + 1)), 5)
        _check_close(alone.row(0), row, tolerance)
        _check_close(turned.row(len(found) - 1 - index), row, tolerance)

    first = csr_array(
        (np.ones(len(histories)), ([*range(len(histories))], [0] * len(histories))), histories.values.shape
    )
    without = recommender.recommend(histories, len(items), exclude=first)
    _check_lists(without, len(items), [{items[0]}] * len(histories), set(items))
    assert any(own & {item_id for item_id, _ in row} for own, row in zip(seen, without, strict=True))

    some = np.arange(len(items)) % 3 == 1
    few = recommender.recommend(histories, len(items), candidates=some)
    _check_lists(few, len(items), seen, set(np.array(items)[some].tolist()))
    assert (few.lengths > 0).any()
    assert not recommender.recommend(histories, 5, candidates=np.zeros(len(items), dtype=np.bool_)).lengths.any()
    assert list(recommender.recommend(histories.take(slice(0, 0)), 5)) == []


def check_refuses_other_items(scorer, items: Sequence[str]) -> None:
    """Histories over more or fewer items than the scorer was fitted on have other columns."""
    for others in (items[:-1], (*items, "zzz")):
        histories = Histories.of([History(tuple(others[:1]), (5.0,))], others)
        with pytest.raises(ValueError, match="items"):
            scorer.score(histories)
        with pytest.raises(ValueError, match="items"):
            scorer.recommend(histories, 3)


def _checked_scores(scorer, histories: Histories) -> np.ndarray:
    scores = scorer.score(histories)
    assert scores.shape == histories.values.shape
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    return scores


def _check_lists(found: Rankings, k: int, without: Sequence[set[str]], among: set[str]) -> None:
    check_rankings(found, found.ids.shape[1])
    assert found.ids.shape[1] <= k
    for row, unwanted in zip(found, without, strict=True):
        listed = {item_id for item_id, _ in row}
        assert listed.isdisjoint(unwanted)
        assert listed <= among


def _turned(request: RankRequest) -> RankRequest:
    return replace(request, candidates=request.candidates[::-1], texts=request.texts[::-1])


def _check_close(row: list[tuple[str, float]], other: list[tuple[str, float]], tolerance: float) -> None:
    """The same items with the same scores; which goes first may differ where the scores are that close."""
    assert len(row) == len(other)
    expected = dict(other)
    for item_id, score in row:
        assert item_id in expected or any(abs(score - value) <= tolerance for value in expected.values())
        assert abs(score - expected.get(item_id, score)) <= tolerance
