"""Tune the sentence encoder on what people like together, if held-out items prove that it helps."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from agent.evaluation.output import versions
from agent.evaluation.study import Question, Study
from agent.evaluation.tuning import PLACES, mean_ndcg
from agent.evaluation.watch import Watch
from agent.models import Models
from agent.settings import TUNED, Settings
from agent.unfinished import UNFINISHED, begin
from retrieval.artefacts import write_text
from retrieval.cf.scorer import TrainingData
from retrieval.data.histories import Histories
from retrieval.data.seen import Seen
from retrieval.data.workspace import Workspace
from retrieval.errors import WorkspaceError, first_line
from retrieval.ranking import Floats
from retrieval.text.text_ease import TextEase, TextEaseConfig
from retrieval.text.tuned import save_tuned
from retrieval.text.whitening import Whitening

if TYPE_CHECKING:
    from finetune.encoder import EncoderTrainer, EncoderTuning

ROUND = 40  # steps, after which held-out items are ranked
ROUNDS = 3
SURE = 0.95


@dataclass(frozen=True)
class Judged:
    """NDCG@10 on one draw of held-out items: ``before``, and ``after`` ``steps`` that were chosen on other draws."""

    before: float
    after: float
    steps: int

    @property
    def gain(self) -> float:
        """What tuning adds."""
        return self.after - self.before


@dataclass(frozen=True)
class Outcome:
    """draws: what each showed. low: below the mean gain with 95 % confidence. steps: best of all. version: None where
    the gain is not proven, and nothing was kept.
    """

    draws: tuple[Judged, ...]
    low: float
    steps: int
    version: str | None


class EncoderTuner:
    """Tunes on the events outside each draw of cold items, ranks the draw's items, and tunes on all events at last.

    No encoder ever ranks items whose events it has seen. What is ranked by is `TextEase` on the tuned vectors beside
    the untuned ones. After each round the state is on disk, in ``models/encoder/.unfinished``.
    """

    def __init__(self, workspace: Workspace, settings: Settings, models: Models, seed: int, watch: Watch):
        self._models = models.untuned
        self._study = Study(workspace, settings, self._models, Question("cold-items"), seed)
        self._liked_from = settings.events.liked_from
        self._folder = workspace.root / TUNED
        self._state = self._folder / UNFINISHED
        self._seed = seed
        self._watch = watch

    def run(self, command: str, *, resume: bool = False) -> Outcome:
        """Tune, judge, and keep the encoder where its gain is proven.

        Raises:
            SplitError: too few items have five events or more.
            InputError: no items are liked together, or there is nothing that fits to resume.
            ModelError: the encoder cannot be loaded or tuned.
            WorkspaceError: what an interrupted run left cannot be read.
        """
        draws = self._study.validations
        self._begin(resume)
        figures = np.array([self._figures(place, draw) for place, draw in enumerate(draws)])  # (p, 1 + rounds)
        judged, low = judge(figures)
        steps = ROUND * (1 + int(figures[:, 1:].mean(axis=0).argmax()))
        name = self._keep(steps, judged, command) if low > 0 else None
        shutil.rmtree(self._state)
        return Outcome(judged, low, steps, name)

    @cached_property
    def _tuning(self) -> "EncoderTuning":
        from finetune.encoder import EncoderTuning

        return EncoderTuning(seed=self._seed)

    @cached_property
    def _texts(self) -> list[str]:
        return texts_of(self._study.workspace)

    @cached_property
    def _untuned(self) -> Floats:
        return self._models.remembering_encoder(self._study.workspace.root).encode(self._texts)

    def _begin(self, resume: bool) -> None:
        parts = (
            self._study.split.fingerprint,
            self._study.workspace.catalog_fingerprint,
            self._models.encoder_fingerprint,
            (self._tuning, self._liked_from, ROUND, ROUNDS, version("whyrec")),
        )
        begin(self._state, parts, resume=resume)

    def _figures(self, place: int, draw: Study) -> list[float]:
        """NDCG@10 before tuning and after each round."""
        path = self._state / f"draw-{place}.json"
        try:
            done: list[float] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        except ValueError as error:
            raise WorkspaceError(f"{path} cannot be read ({first_line(error)}); tune without --resume") from error
        if len(done) == 1 + ROUNDS:
            return done
        self._watch.start(f"Tuning without draw {place + 1} of {len(self._study.validations)}", ROUND * ROUNDS)
        if not done:
            done.append(self._ranked(draw, self._untuned))
        trainer, checkpoint = self._trainer(draw.task("validation").train, f"draw-{place}")
        while len(done) <= ROUNDS:
            trainer.run(max(0, ROUND * len(done) - trainer.step), self._watch.advance)
            trainer.save(checkpoint)
            done.append(self._ranked(draw, np.hstack([self._untuned, trainer.encoder.encode(self._texts)])))
            write_text(path, json.dumps(done))
        checkpoint.unlink()
        return done

    def _trainer(self, histories: Histories, name: str) -> "tuple[EncoderTrainer, Path]":
        """A trainer on these events, as far as an interrupted run has come, and the file for its state."""
        untuned, path = self._untuned, self._state / f"{name}.safetensors"
        trainer = make_trainer(self._models, self._texts, untuned, histories, self._liked_from, self._tuning)
        if path.is_file():
            trainer.restore(path)
            self._watch.advance(trainer.step)
        return trainer, path

    def _ranked(self, draw: Study, vectors: Floats) -> float:
        """NDCG@10 of the draw's items by raw vectors (m, d)."""
        task = draw.task("validation")
        data = TrainingData(task.train, Whitening.fit(vectors)(vectors), self._seed, draw.facts)
        scorer = TextEase.fit(data, TextEaseConfig(positive_from=self._liked_from))
        found = scorer.top(task.histories, PLACES, candidates=task.candidates)
        return mean_ndcg(found.columns, draw, task)

    def _keep(self, steps: int, judged: Sequence[Judged], command: str) -> str:
        """Tune on all events and write the artefact."""
        self._watch.start("Tuning on all events", steps)
        columns = sorted(self._study.workspace.catalog.ids)
        trainer, checkpoint = self._trainer(Histories.from_events(self._study.split.events, columns), "all")
        while trainer.step < steps:
            trainer.run(ROUND, self._watch.advance)
            trainer.save(checkpoint)
        made = {
            "command": command,
            "base": self._models.sentence_fingerprint,
            "steps": steps,
            "tuning": asdict(self._tuning),
            "catalog": self._study.workspace.catalog_fingerprint,
            "events": self._study.workspace.events_fingerprint,
            "seen": Seen.of(self._study.workspace).to_json(),
            "validation": {
                "split": self._study.name,
                "seed": self._seed,
                "fingerprint": self._study.split.fingerprint,
                "ndcg@10": [asdict(one) for one in judged],
            },
            "versions": versions(),
        }
        return save_tuned(self._folder, trainer.save_layers, made)


def judge(figures: NDArray[np.float64]) -> tuple[tuple[Judged, ...], float]:
    """What each draw shows, and what the mean gain is above with 95 % confidence.

    ``figures`` (p, 1 + r): a row for each draw, before tuning and after each round. The round is chosen on one half of
    the draws for the other half; the confidence is that of a one-sided t-interval over the draws, which differ more
    than users do.
    """
    halves = np.array_split(np.arange(len(figures)), 2)
    rounds = np.empty(len(figures), dtype=np.int64)
    for chosen, judged in (halves, halves[::-1]):
        rounds[judged] = 1 + figures[chosen, 1:].mean(axis=0).argmax()
    draws = tuple(
        Judged(float(row[0]), float(row[at]), ROUND * int(at)) for row, at in zip(figures, rounds, strict=True)
    )
    gains = np.array([draw.gain for draw in draws])
    error = gains.std(ddof=1) / np.sqrt(len(gains))
    return draws, float(gains.mean() - student_t.ppf(SURE, len(gains) - 1) * error)


def texts_of(workspace: Workspace) -> list[str]:
    """The text of each item, by column."""
    return [workspace.catalog.text(item_id) for item_id in sorted(workspace.catalog.ids)]


def make_trainer(
    models: Models,
    texts: Sequence[str],
    untuned: Floats,
    histories: Histories,
    liked_from: float,
    tuning: "EncoderTuning",
) -> "EncoderTrainer":
    """A trainer on what is liked in these histories; ``untuned`` (m, d): vectors that begin with the encoder's own."""
    from finetune.encoder import EncoderTrainer

    encoder = models.torch_encoder(models.sentence_fingerprint)
    whitening = Whitening.fit(untuned[:, : encoder.dimension])
    return EncoderTrainer(encoder, texts, histories.positives(liked_from), whitening, tuning)
