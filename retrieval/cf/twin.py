"""The tables that a student begins with, in closed form: EASE, and what text says of items that nobody has had."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

from retrieval.cf.ease import MOST_ITEMS, ease_weights
from retrieval.cf.scorer import TrainingData
from retrieval.data.histories import strengths
from retrieval.ranking import Floats
from retrieval.text.spread import Spread
from retrieval.text.text_ease import TextEase, TextEaseConfig

if TYPE_CHECKING:
    from retrieval.cf.student import StudentConfig

RANK = 256  # dimensions for what the text does not say of an item
USERS = 10_000  # who tell which dimensions matter, at most
BLOCK = 1_024


def tables(data: TrainingData, config: "StudentConfig") -> tuple[Floats, Floats]:
    """h and v (m, q): their product is ``B + near·GGᵀ``, G (m, c) what `closeness` makes of the texts.

    B is EASE's for items with events, and what `TextEase` predicts of it for others.
    """
    return with_closeness(learnt_tables(data, config), closeness(data.text("the student"), config.flat), config.near)


def closeness(texts: Floats, flat: float) -> Floats:
    """(m, c) whose products say how close texts (m, d) are: `Spread.flattened`, with rows of length 1 in the mean."""
    found = Spread.fit(texts).flattened(texts, flat)
    length = np.sqrt(np.mean(np.square(found, dtype=np.float64).sum(axis=1))) if len(found) else 0.0
    return np.asarray(found / np.float32(length) if length > 0 else found)


def with_closeness(learnt: tuple[Floats, Floats], closeness: Floats, near: float) -> tuple[Floats, Floats]:
    """Further dimensions of the tables, with ``near`` times the products of `closeness`."""
    if near == 0:
        return learnt
    parts, vectors = learnt
    return np.concatenate([parts, near * closeness], axis=1), np.concatenate([vectors, closeness], axis=1)


def learnt_tables(data: TrainingData, config: "StudentConfig") -> tuple[Floats, Floats]:
    """h and v (m, q), whose product is B.

    The first 256 dimensions are those of `TextEase`; the others hold ``R = B − predicted``, which is 0 for an item
    without events, by the best approximation of its rank on the users trained on.
    """
    text = TextEaseConfig(
        config.positive_from, config.strength, config.noise, config.sharpness, config.facts, config.weak
    )
    reads = TextEase.fit(data, text).arrays()
    users = strengths(data.histories, config.positive_from, config.weak)
    counts = np.bincount(users.indices, minlength=users.shape[1])
    warm = np.sort(np.argsort(-counts, kind="stable")[:MOST_ITEMS])
    warm = warm[counts[warm] > 0]
    if len(warm) == 0:
        return reads["parts"], reads["vectors"]
    rest = ease_weights(csr_array(users[:, warm]), config.own)
    for start in range(0, len(warm), BLOCK):
        rows = slice(start, start + BLOCK)
        rest[rows] -= reads["parts"][warm[rows]] @ reads["vectors"][warm].T
    directions = _directions(csr_array(users[:, warm]), rest, data.seed)
    shape = (len(counts), directions.shape[1])
    parts, vectors = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    parts[warm], vectors[warm] = rest @ directions, directions
    return np.concatenate([reads["parts"], parts], axis=1), np.concatenate([reads["vectors"], vectors], axis=1)


def _directions(users: csr_array, weights: Floats, seed: int) -> Floats:
    """(w, q) the right singular vectors of ``X·R``, the largest first, as some users show them."""
    from sklearn.utils.extmath import randomized_svd

    rows = np.random.default_rng(seed).permutation(users.shape[0])[:USERS]
    sums = np.asarray(csr_array(users[rows]) @ weights, dtype=np.float32)
    _, _, directions = randomized_svd(sums, min(RANK, *sums.shape), random_state=seed)
    return np.ascontiguousarray(directions.T, dtype=np.float32)
