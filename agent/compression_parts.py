"""What a student in fewer bits and an encoder in int8 cost, on the same validation events."""

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
from numpy.typing import NDArray

from agent.compression import ENCODER, STUDENT, Point, loss, ratio
from agent.encoder_speed import BACKENDS
from agent.evaluation.study import Study
from agent.models import Models
from agent.settings import Settings
from retrieval.cf.rounding import TablePrecision, restored, rounded
from retrieval.cf.scorer import System, TrainingData
from retrieval.cf.student import Student, StudentConfig
from retrieval.data.splits import Task
from retrieval.metrics import Figures, find_hits, ranking_metrics
from retrieval.model_source import locate_model
from retrieval.ranking import Floats
from retrieval.text.scorers import SoftKnn, SoftKnnConfig
from retrieval.text.whitening import Whitening

if TYPE_CHECKING:
    from retrieval.contracts import Encoder

K = 10
TURNS = 30  # people who are scored one by one, for the time that it takes
TEXTS = 256  # encoded in each turn


def student_points(study: Study, config: StudentConfig) -> list[Point]:
    """The tables of a twin that has seen no validation event, in each precision; every one is float32 once loaded."""
    twin = Student.fit(study.training_data("validation"), config)
    people = _People.of(study)
    kept = {precision: rounded(twin.arrays(), precision) for precision in get_args(TablePrecision)}
    loaded = {name: Student.from_arrays(config, twin.items, restored(tables)) for name, tables in kept.items()}
    figures = {name: people.figures(student) for name, student in loaded.items()}
    seconds: dict[str, list[float]] = {name: [] for name in loaded}
    for number in range(TURNS):
        one = people.task.histories.take(people.rows[[number % len(people.rows)]])
        for name, student in loaded.items():
            begin = time.process_time()
            student.top(one, K, candidates=people.task.candidates)
            seconds[name].append(time.process_time() - begin)
    size = _bytes(twin.arrays())
    files = {name: _bytes(tables) for name, tables in kept.items()}
    return _points(STUDENT, figures, seconds, {name: (size, files[name]) for name in kept}, serves=True)


def _bytes(arrays: Mapping[str, NDArray[np.generic]]) -> int:
    return sum(values.nbytes for values in arrays.values())


def encoder_points(study: Study, settings: Settings, say: Callable[[str], None], most: int) -> list[Point]:
    """Each backend of the sentence encoder: what soft-knn finds by its vectors for at most so many people.

    None of them is chosen: the index is made of vectors of one backend.

    Raises:
        ModelError: one cannot be had.
    """
    encoders: dict[str, Encoder] = {}
    for backend in BACKENDS:
        chosen = settings.encoder.model_copy(update={"backend": backend})
        encoders[backend] = Models(settings.model_copy(update={"encoder": chosen}), say).query_encoder
    people = _People.of(study, most)
    columns = people.columns()
    items = sorted(study.workspace.catalog.ids)
    texts = [study.workspace.catalog.text(items[column]) for column in columns]
    vectors, seconds = _encoded(encoders, texts)
    figures = {}
    for name, found in vectors.items():
        every = np.zeros((len(items), found.shape[1]), dtype=np.float32)
        every[columns] = Whitening.fit(found)(found)
        data = TrainingData(people.task.train, every)
        liked_from = study.settings.events.liked_from
        figures[name] = people.figures(SoftKnn.fit(data, SoftKnnConfig(positive_from=liked_from)))
    sizes = {"torch": _files(locate_model(settings.encoder.model), "*.safetensors")}
    sizes["onnx-int8"] = _files(settings.cache.expanduser() / "encoders", f"{encoders['onnx-int8'].fingerprint}/*.onnx")
    return _points(ENCODER, figures, seconds, {name: (size, size) for name, size in sizes.items()}, serves=False)


def _files(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern))


def _encoded(encoders: "Mapping[str, Encoder]", texts: list[str]) -> tuple[dict[str, Floats], dict[str, list[float]]]:
    """The vectors by each, and the seconds for a text in each turn."""
    parts: dict[str, list[Floats]] = {name: [] for name in encoders}
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    for start in range(0, len(texts), TEXTS):
        some = texts[start : start + TEXTS]
        for name, encoder in encoders.items():
            begin = time.process_time()
            parts[name].append(encoder.encode(some))
            seconds[name].append((time.process_time() - begin) / len(some))
    return {name: np.concatenate(found) for name, found in parts.items()}, seconds


class _People:
    """Those of whom something is to be found on validation."""

    def __init__(self, study: Study, task: Task, rows: NDArray[np.int64]):
        self.task = task
        self.rows = rows
        self._relevant = study.relevant(task)[rows]

    @classmethod
    def of(cls, study: Study, most: int | None = None) -> "_People":
        task = study.task("validation")
        rows = np.flatnonzero((np.diff(study.relevant(task).indptr) > 0) & (task.histories.counts > 0))
        return cls(study, task, np.sort(np.random.default_rng(study.seed).permutation(rows)[:most]))

    def figures(self, system: System) -> Figures:
        """(n,) NDCG@10."""
        found = system.top(self.task.histories.take(self.rows), K, candidates=self.task.candidates)
        hits = find_hits(found.columns, self._relevant)
        return ranking_metrics(hits, np.diff(self._relevant.indptr), K)["ndcg"]

    def columns(self) -> NDArray[np.int64]:
        """The items that they had, and those that are asked for."""
        if self.task.candidates is None:
            return np.arange(self.task.held_out.shape[1])
        had = self.task.histories.take(self.rows).values.indices
        return np.union1d(had, np.flatnonzero(self.task.candidates)).astype(np.int64)


def _points(
    part: str,
    figures: Mapping[str, Figures],
    seconds: Mapping[str, list[float]],
    sizes: Mapping[str, tuple[int, int]],
    *,
    serves: bool,
) -> list[Point]:
    """The first is the default."""
    first = next(iter(figures))
    points = []
    for name, found in figures.items():
        lost, between = loss(found, figures[first])
        points.append(
            Point(
                part=part,
                name=name,
                default=name == first,
                weights=sizes[name][0],
                file=sizes[name][1],
                seconds=statistics.median(seconds[name]),
                times=ratio(seconds[name], seconds[first]),
                ndcg=float(np.nanmean(found)),
                alone=None,
                lost=lost,
                between=between,
                users=int((~np.isnan(found)).sum()),
                serves=serves,
            )
        )
    return points
