"""What a smaller language model costs: the same validation lists ordered by each, in turns."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agent.evaluation.watch import Watch
from agent.gate import JudgedLists
from agent.models import Models
from agent.ranker_tuning import WEIGHT
from agent.ranking_lists import Asked, ValidationLists
from agent.settings import Settings
from agent.tuned_ranker import current_ranker
from retrieval.errors import InputError, SplitError
from retrieval.metrics import Figures
from retrieval.precision import computes_bfloat16
from retrieval.significance import compare

if TYPE_CHECKING:
    from finetune.ranker import LMRanker
    from retrieval.contracts import RankRequest
    from retrieval.ranking import Floats

MEBIBYTE = 2**20
MOST = 0.02  # of NDCG@10 may be lost by what is to serve
LANGUAGE_MODEL, STUDENT, ENCODER = PARTS = ("language model", "student", "encoder")


@dataclass(frozen=True)
class Point:
    """One way to run a part, measured beside the way that is the default here.

    weights: bytes in memory. file: bytes on disk. seconds: of the processor, median. times: as fast as the default.
    ndcg: NDCG@10 of what is served (of the language model: both scores mixed, its own by `WEIGHT`); alone: of
    the language model's own order. lost: share of the default's ``ndcg`` for the same people; between: its 95 %
    interval. users: who judged. serves: whether it can be chosen at all.
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
    between: tuple[float, float]
    users: int
    serves: bool = True

    @property
    def passes(self) -> bool:
        """Whether it may serve: no more is lost than `MOST`."""
        return self.serves and self.lost <= MOST

    def as_row(self) -> dict[str, object]:
        """The same as plain data; sizes in MiB."""
        return {
            "part": self.part,
            "way": self.name,
            "default": self.default,
            "MiB": round(self.weights / MEBIBYTE, 1),
            "file": round(self.file / MEBIBYTE, 1),
            "ms": round(1_000 * self.seconds, 3),
            "times": round(self.times, 2),
            "NDCG@10": round(self.ndcg, 4),
            "alone": None if self.alone is None else round(self.alone, 4),
            "lost %": round(100 * self.lost, 2),
            "up to %": round(100 * self.between[1], 2),
            "users": self.users,
            "passes": self.passes,
        }


@dataclass(frozen=True)
class Way:
    """How a language model is loaded.

    layers: its first ones alone. healed: the folder of a ranker that was tuned on these layers; without it the ranker
    of all layers is cut to them.
    """

    precision: str
    layers: int | None = None
    healed: Path | None = None

    @property
    def name(self) -> str:
        """What the table calls it."""
        cut = f", first {self.layers} layers" if self.layers else ""
        return self.precision + cut + (", healed" if self.healed else "")

    def settings(self, settings: Settings) -> Settings:
        """The same with the language model of this way."""
        layers = self.layers or settings.language_model.layers
        chosen = settings.language_model.model_copy(update={"precision": self.precision, "layers": layers})
        return settings.model_copy(update={"language_model": chosen})


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
    from finetune.adapters import load_adapter, reaches
    from finetune.int8 import weight_bytes
    from finetune.ranker import RANK, LMRanker

    tuned = current_ranker(way.healed) if way.healed else Models(settings, say).local.tuned_ranker
    if tuned is None:
        raise InputError("there is no tuned ranker here, so no order to compare; make one: whyrec finetune ranker")
    language_model = Models(way.settings(settings), say).local.language_model
    weights = weight_bytes(language_model.model)
    if way.layers is not None and not reaches(tuned.folder, way.layers):
        return Loaded(LMRanker(language_model), weights, language_model.file_bytes)
    load_adapter(language_model, RANK, tuned.folder, cut=way.layers is not None and way.healed is None)
    return Loaded(LMRanker(language_model, RANK), weights, language_model.file_bytes)


def take_turns(
    loaded: Mapping[str, Loaded], request: "RankRequest", number: int
) -> Iterator[tuple[str, "Floats", float]]:
    """Score one list in each way: names, scores, and the seconds of the processor that they took.

    number: of the list; each begins with another way, so that what the processor's cache holds is nobody's advantage.
    """
    names = list(loaded)
    start = number % len(names)
    for name in names[start:] + names[:start]:
        begin = time.process_time()
        scores = loaded[name].ranker.score([request])[0]
        yield name, scores, time.process_time() - begin


@dataclass(frozen=True)
class Scored:
    """What one way made of the first lists, in order."""

    scores: list["Floats"] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def language_model_points(
    lists: ValidationLists, asked: Asked, wanted: Sequence[Way], settings: Settings, watch: Watch
) -> list[Point]:
    """Let every way order every list; the first one is the default.

    Raises:
        SplitError: there is no list.
        ModelError: one cannot be loaded.
        InputError: there is no tuned ranker.
    """
    if not asked.rows:
        raise SplitError("nobody is left to measure on: no validation user has something to be found")
    loaded = {way: load(way, settings, watch.note) for way in wanted}
    names = {way.name: one for way, one in loaded.items()}
    found = {name: Scored() for name in names}
    watch.start("Ordering lists by each language model", len(asked.rows))
    for number, request in enumerate(lists.requests(asked)):
        for name, scores, seconds in take_turns(names, request, number):
            found[name].scores.append(scores)
            found[name].seconds.append(seconds)
        watch.advance()
    return compare_language_models(lists, asked, loaded, found)


def compare_language_models(
    lists: ValidationLists, asked: Asked, loaded: Mapping[Way, Loaded], scored: Mapping[str, Scored]
) -> list[Point]:
    """The points of the language model; the first way is the default, and has scored all lists that others have."""
    first = next(iter(loaded))
    figures = {way: _figures(lists, asked, scored[way.name]) for way in loaded}
    points = []
    for way, one in loaded.items():
        mixed, alone = figures[way]
        lost, between = loss(mixed, figures[first][0][: len(mixed)])
        points.append(
            Point(
                part=LANGUAGE_MODEL,
                name=way.name,
                default=way == first,
                weights=one.weights,
                file=one.file,
                seconds=statistics.median(scored[way.name].seconds),
                times=ratio(scored[way.name].seconds, scored[first.name].seconds),
                ndcg=float(mixed.mean()),
                alone=float(alone.mean()),
                lost=lost,
                between=between,
                users=len(mixed),
                serves=way.layers is None or way.healed is not None,
            )
        )
    return points


def _figures(lists: ValidationLists, asked: Asked, scored: Scored) -> tuple[Figures, Figures]:
    """NDCG@10 of each list by both scores together and by the language model alone."""
    size = len(scored.scores)
    some = Asked(asked.rows[:size], asked.columns[:size], asked.scores[:size])
    judged = JudgedLists.of(lists.judged_by(some, scored.scores))
    return judged.figures(WEIGHT), judged.figures(1.0)


def ratio(seconds: Sequence[float], default: Sequence[float]) -> float:
    """How many times as fast as the default, the median over the turns that both took."""
    return statistics.median(other / own for own, other in zip(seconds, default, strict=False))


def loss(figures: Figures, default: Figures, seed: int = 0) -> tuple[float, tuple[float, float]]:
    """The share of the default's mean that is lost, and its 95 % interval (paired bootstrap over users)."""
    mean = float(np.nanmean(default))
    if mean == 0:
        return 0.0, (0.0, 0.0)
    difference = compare(figures, [default], seed)[0]
    found = np.array([difference.delta, difference.high, difference.low]) / -mean + 0.0  # no minus before 0
    return float(found[0]), (float(found[1]), float(found[2]))


def smallest(points: Sequence[Point], part: str) -> Point | None:
    """The passing point of a part that takes least memory, then least disk; None where that is the default."""
    passing = [point for point in points if point.part == part and (point.passes or point.default)]
    best = min(passing, key=lambda point: (point.weights, point.file), default=None)
    return None if best is None or best.default else best


def failing(points: Sequence[Point]) -> list[Point]:
    """What could serve if it did not lose too much."""
    return [point for point in points if point.serves and not point.passes]
