"""What a smaller language model costs: the same validation lists ordered by each, in turns."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agent.gate import KINDS, JudgedLists
from agent.models import Models
from agent.ranker_tuning import WEIGHT
from agent.ranking_lists import Asked, RankingLists
from agent.settings import Settings
from retrieval.errors import InputError
from retrieval.metrics import Figures
from retrieval.precision import computes_bfloat16
from retrieval.significance import compare

if TYPE_CHECKING:
    from finetune.ranker import LMRanker
    from retrieval.contracts import RankRequest
    from retrieval.ranking import Floats

MOST = 0.02  # of NDCG@10 may be lost by what is to serve
LANGUAGE_MODEL, STUDENT, ENCODER = PARTS = ("language model", "student", "encoder")


@dataclass(frozen=True)
class Point:
    """One way to run a part, measured beside the way that is the default here.

    weights: bytes in memory. file: bytes on disk. seconds: of the processor, median. times: as fast as the default.
    ndcg: NDCG@10 of what is served (of the language model: both scores mixed, its own by `WEIGHT`); alone: of
    the language model's own order. lost: share of the default's ``ndcg``; worst: the higher end of its 95 % interval.
    serves: whether it can be chosen at all.
    """

    part: str
    name: str
    default: bool
    weights: int
    file: int
    seconds: float
    times: float
    ndcg: float
    alone: float | None
    lost: float
    worst: float
    users: int
    serves: bool = True

    @property
    def passes(self) -> bool:
        """Whether it may serve: no more is lost than `MOST`."""
        return self.serves and self.lost <= MOST


@dataclass(frozen=True)
class Way:
    """How a language model is loaded. layers: its first ones alone, whose ranker is cut to them and not healed."""

    precision: str
    layers: int | None = None

    @property
    def name(self) -> str:
        """What the table calls it."""
        return self.precision + (f", first {self.layers} layers" if self.layers else "")


def default_precision() -> str:
    """What ``auto`` stands for on this processor."""
    return "bfloat16" if computes_bfloat16() else "float32"


def ways(layers: int | None) -> list[Way]:
    """Those that are compared, the default of this processor first; ``layers``: with these first layers as well."""
    default = default_precision()
    plain = [Way(name) for name in dict.fromkeys((default, "float32", "int8"))]
    return plain + [Way(name, layers) for name in (default, "int8") if layers]


@dataclass(frozen=True)
class Loaded:
    """A language model as a ranker, and how large it is."""

    ranker: "LMRanker"
    weights: int
    file: int


def load(way: Way, settings: Settings, say: Callable[[str], None]) -> Loaded:
    """The settings' language model in this way, with the ranker that the settings name.

    Raises:
        ModelError: it cannot be loaded.
        InputError: there is no tuned ranker, so no order that could suffer.
    """
    from finetune.adapters import load_adapter
    from finetune.int8 import weight_bytes
    from finetune.ranker import RANK, LMRanker

    tuned = Models(settings, say).tuned_ranker
    if tuned is None:
        raise InputError("there is no tuned ranker here, so no order to compare; make one: whyrec finetune ranker")
    chosen = settings.language_model.model_copy(update={"precision": way.precision, "layers": way.layers})
    models = Models(settings.model_copy(update={"language_model": chosen}), say)
    language_model = models.language_model
    weights = weight_bytes(language_model.model)
    load_adapter(language_model, RANK, tuned.folder, cut=way.layers is not None)
    return Loaded(LMRanker(language_model, RANK), weights, language_model.file_bytes)


def score_in_turns(
    loaded: Mapping[str, Loaded], requests: Sequence["RankRequest"]
) -> Iterator[tuple[str, "Floats", float]]:
    """For each list, each name with its scores and the seconds of the processor that they took.

    Each list begins with another one, so that what a list finds in the processor's cache is nobody's advantage.
    """
    names = list(loaded)
    for place, request in enumerate(requests):
        start = place % len(names)
        for name in names[start:] + names[:start]:
            begin = time.process_time()
            scores = loaded[name].ranker.score([request])[0]
            yield name, scores, time.process_time() - begin


@dataclass(frozen=True)
class Scored:
    """What one way made of all lists."""

    scores: list["Floats"]
    seconds: list[float]


def compare_language_models(
    source: RankingLists, asked: Asked, loaded: Mapping[Way, Loaded], scored: Mapping[str, Scored]
) -> list[Point]:
    """The points of the language model; the first way is the default."""
    first = next(iter(loaded))
    mixed, alone = ({}, {})
    for way in loaded:
        lists = JudgedLists.of(source.judged_by(asked, scored[way.name].scores))
        mixed[way], alone[way] = (lists.figures(dict.fromkeys(KINDS, alpha)) for alpha in (WEIGHT, 1.0))
    points = []
    for way, one in loaded.items():
        seconds, others = scored[way.name].seconds, scored[first.name].seconds
        lost, worst = loss(mixed[way], mixed[first])
        points.append(
            Point(
                part=LANGUAGE_MODEL,
                name=way.name,
                default=way == first,
                weights=one.weights,
                file=one.file,
                seconds=statistics.median(seconds),
                times=statistics.median(other / own for own, other in zip(seconds, others, strict=True)),
                ndcg=float(mixed[way].mean()),
                alone=float(alone[way].mean()),
                lost=lost,
                worst=worst,
                users=len(asked.rows),
                serves=way.layers is None,
            )
        )
    return points


def loss(figures: Figures, default: Figures, seed: int = 0) -> tuple[float, float]:
    """The share of the default's mean that is lost, and the higher end of its 95 % interval (paired bootstrap)."""
    mean = float(np.nanmean(default))
    if mean == 0:
        return 0.0, 0.0
    difference = compare(figures, [default], seed)[0]
    return -difference.delta / mean, -difference.low / mean


def smallest(points: Sequence[Point], part: str) -> Point | None:
    """The passing point of a part that takes least memory, then least disk; None where that is the default."""
    passing = [point for point in points if point.part == part and (point.passes or point.default)]
    best = min(passing, key=lambda point: (point.weights, point.file), default=None)
    return None if best is None or best.default else best
