"""Tune the language model to rank what is found, and measure on validation where it may have a say."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from agent.evaluation.output import versions
from agent.evaluation.study import Study
from agent.evaluation.watch import Watch
from agent.gate import Gate, JudgedList, JudgedLists, fit_gate
from agent.models import Models
from agent.ranking_lists import RankingLists, ValidationLists
from agent.tuned_ranker import FORMAT_VERSION, Learnt, TunedRanker, current_ranker, save_ranker
from agent.unfinished import UNFINISHED, begin
from retrieval.data.seen import Seen
from retrieval.errors import InputError, ModelError, SplitError

if TYPE_CHECKING:
    from finetune.lora import LoraTuning
    from finetune.ranker_training import RankerTrainer, TrainingList

KEPT = 25  # steps between states on disk
WATCHED = 120  # validation users whose lists choose when training stops
JUDGED = 1_000  # validation users whose lists fit the gate, at most
WEIGHT = 0.4  # the language model's while training is watched


@dataclass(frozen=True)
class Plan:
    """lists: how many are learnt from, ``size`` candidates each. every: how many between two looks at validation."""

    lists: int = 1_000
    size: int = 10
    every: int = 500


@dataclass(frozen=True)
class Outcome:
    """gates: where the ranker has a say, by the fingerprint of the items. curve: what was seen while training.

    version: its name.
    """

    gates: Mapping[str, Gate]
    curve: Sequence[dict[str, float]]
    version: str


@dataclass(frozen=True)
class _Seen:
    """What was seen while training: figures on the watched lists, and the losses since the last of them."""

    curve: list[dict[str, float]]
    losses: list[float]

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))


class _Log:
    """What TensorBoard shows, by step; nothing without a folder."""

    def __init__(self, folder: Path | None):
        self._writer = None
        if folder is None:
            return
        if find_spec("tensorboard") is None:
            raise InputError("a log for TensorBoard needs it: pip install tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def write(self, name: str, value: float, step: int) -> None:
        if self._writer is not None:
            self._writer.add_scalar(name, value, step)
            self._writer.flush()


class RankerTuner:
    """Learns from training events, watches and judges on validation, and leaves the test alone.

    The state is in ``.unfinished`` in ``folder`` after each 25 steps. Of several processes (`accelerate launch`) the
    first looks at validation, judges and writes; the outcome of the others has no version.
    """

    def __init__(
        self,
        sources: Sequence[RankingLists],
        models: Models,
        plan: Plan,
        tuning: "LoraTuning",
        folder: Path,
        watch: Watch,
        start: TunedRanker | None = None,
        log: Path | None = None,
    ):
        """``sources``, all with the same retrieval, take turns in training. folder: where versions of rankers are kept.

        start: what to begin with. log: a folder for TensorBoard, which must be installed then.
        """
        if any(source.retrieval.described != sources[0].retrieval.described for source in sources):
            raise ValueError("a ranker is proven on the candidates of one retrieval")
        self._sources = sources
        self._models = models
        self._plan = plan
        self._tuning = tuning
        self._watch = watch
        self._folder = folder
        self._start = start
        self._log = _Log(log)
        self._state = folder / UNFINISHED

    def run(self, command: str, *, resume: bool = False) -> Outcome:
        """Tune, judge and keep the ranker; its gate may be closed.

        Raises:
            SplitError: nobody is left to validate on.
            InputError: there is nothing to learn from, or nothing that fits to resume.
            ModelError: the language model cannot be loaded or tuned, or training fails.
            WorkspaceError: what an interrupted run left cannot be read.
        """
        trainer = self._trainer()
        with trainer.first_alone():
            if trainer.is_first:
                self._begin(resume)
        curve = self._train(trainer)
        gates, name = dict[str, Gate](), ""
        with trainer.first_alone():
            if trainer.is_first:
                gates = self._gates()
                name = self._keep(gates, curve, command)
                shutil.rmtree(self._state)
        return Outcome(gates, curve, name)

    def _gates(self) -> dict[str, Gate]:
        """What validation proves, on every data set by itself."""
        judging: list[tuple[str, ValidationLists, int, int]] = []  # data, lists, the first and how many
        draws: dict[str, list[range]] = {}
        for source in self._sources:
            most = JUDGED // len(self._sources) // len(source.draws)
            data = source.study.workspace.catalog.fingerprint
            draws.setdefault(data, []).append(range(len(judging), len(judging) + len(source.draws)))
            for draw in source.draws:
                watched = self._watched_of(source) if draw is source.draws[0] else 0
                judging.append((data, draw, watched, min(most, draw.askable - watched)))
        self._watch.start("Judging on validation", sum(size for *_, size in judging))
        lists: dict[str, list[JudgedList]] = {}
        for number, (data, draw, watched, size) in enumerate(judging):
            found = self._judged(draw, watched, size)
            lists.setdefault(data, []).extend(replace(one, draw=number) for one in found)
        return {items: fit_gate(one, draws[items], self._tuning.seed) for items, one in lists.items()}

    def _keep(self, gates: Mapping[str, Gate], curve: Sequence[dict[str, float]], command: str) -> str:
        """Write the artefact."""
        from finetune.adapters import save_adapter
        from finetune.ranker import RANK

        models = self._models
        base = models.language_model_name
        made = {
            "command": command,
            "base": base,
            "base_fingerprint": models.language_model_fingerprint,
            "gates": {items: gate.to_json() for items, gate in gates.items()},
            "learnt_from": [asdict(one) for one in self._learnt_from],
            "seen": Seen.of(self._sources[0].study.workspace).to_json(),
            "retrieval": self._sources[0].retrieval.described,
            "plan": asdict(self._plan),
            "tuning": asdict(self._tuning),
            "started_from": self._start.version if self._start else None,
            "curve": list(curve),
            "versions": versions(),
        }
        return save_ranker(self._folder, lambda folder: save_adapter(models.language_model, RANK, folder, base), made)

    @property
    def _learnt_from(self) -> list[Learnt]:
        own = [source.learnt for source in self._sources]
        return [*own, *(self._start.learnt_from if self._start else ())]

    def _trainer(self) -> "RankerTrainer":
        from finetune.ranker_training import RankerTrainer

        draws = []
        asked = self._sources if self._plan.lists else []
        self._watch.start("Finding what training lists are made of", len(asked))
        for source in asked:
            draws.append(source.to_learn_from(self._plan.size, self._tuning.seed))
            self._watch.advance()

        def draw(number: int) -> "TrainingList":
            return draws[number % len(draws)](number // len(draws))

        steps = -(-self._plan.lists // self._tuning.lists)
        start = self._start.folder if self._start else None
        return RankerTrainer(self._models.language_model, draw, steps, self._tuning, start)

    def _train(self, trainer: "RankerTrainer") -> list[dict[str, float]]:
        """Train to the end; the trainer then has the adapter that was best on the lists that were watched."""
        from safetensors.torch import load_file, save_file

        best, checkpoint = self._state / "best.safetensors", self._state / "trainer.safetensors"
        seen = _Seen.from_json(trainer.restore(checkpoint)) if checkpoint.is_file() else _Seen([], [])
        if not seen.curve:
            self._look(trainer, seen)
            if trainer.is_first:
                save_file(trainer.adapter(), best)  # what every step made worse is not kept
        every = max(1, self._plan.every // self._tuning.lists)
        self._watch.start("Tuning the language model", trainer.steps)
        self._watch.advance(trainer.step)
        while trainer.step < trainer.steps:
            trainer.run(min(every - trainer.step % every, KEPT), self._told(trainer, seen))
            if trainer.step % every == 0 or trainer.step == trainer.steps:
                self._look(trainer, seen)
                if trainer.is_first and seen.curve[-1]["mixed"] >= max(one["mixed"] for one in seen.curve):
                    save_file(trainer.adapter(), best)
            trainer.save(checkpoint, json.dumps(asdict(seen)))
        if best.is_file():
            trainer.put(load_file(best))
        return seen.curve

    def _told(self, trainer: "RankerTrainer", seen: "_Seen") -> Callable[[float], None]:
        def told(loss: float) -> None:
            seen.losses.append(loss)
            self._log.write("loss", loss, trainer.step)
            self._watch.advance()

        return told

    def _look(self, trainer: "RankerTrainer", seen: _Seen) -> None:
        """Add NDCG@10 on the watched lists: by the retriever, by the language model, and by both."""
        with trainer.first_alone():
            if not trainer.is_first:
                return
            found = [
                one for source in self._sources for one in self._judged(source.draws[0], 0, self._watched_of(source))
            ]
            if not found:
                raise SplitError("nobody is left to watch the training on: give more data, or choose another --split")
            lists = JudgedLists.of(found)
            alphas = {"retrieved": 0.0, "mixed": WEIGHT, "ranked": 1.0}
            figures = {n: float(lists.figures(alpha).mean()) for n, alpha in alphas.items()}
            loss = {"loss": float(np.mean(seen.losses))} if seen.losses else {}
            seen.curve.append({"lists": trainer.step * self._tuning.lists, **figures, **loss})
            seen.losses.clear()
            for name in ("mixed", "ranked"):
                self._log.write(f"ndcg@10/{name}", figures[name], trainer.step)
            self._watch.note("  ".join(f"{name} {value:.4g}" for name, value in seen.curve[-1].items()))

    def _watched_of(self, source: RankingLists) -> int:
        """How many users of its first draw are watched; the others judge."""
        return min(WATCHED // len(self._sources), source.draws[0].askable // 2)

    def _judged(self, lists: ValidationLists, first: int, most: int) -> list[JudgedList]:
        from finetune.ranker import RANK, LMRanker

        ranker = LMRanker(self._models.language_model, RANK)
        return lists.judged(lists.asked(first, most), ranker, self._watch.advance)

    def _begin(self, resume: bool) -> None:
        made_of = [(source.study.fingerprint, source.retrieval.described) for source in self._sources]
        start, whyrec = self._start and self._start.folder, (FORMAT_VERSION, version("whyrec"))
        parts = (made_of, self._models.language_model_fingerprint, self._plan, self._tuning, start, whyrec)
        begin(self._state, parts, resume=resume)


def find_start(wanted: str, models: Models, study: Study) -> TunedRanker | None:
    """What tuning on a study may begin with: ``auto``, the packaged ranker if it fits; ``none``; or one in a folder.

    Raises:
        InputError: the folder's ranker belongs to another language model, or it has seen what the study holds out.
        ModelError: there is none in the folder, or it is damaged.
    """
    if wanted == "none":
        return None
    if wanted == "auto":
        packaged = models.packaged_ranker
        return packaged if packaged and packaged.may_be_measured(study.held_out) else None
    found = current_ranker(Path(wanted).expanduser())
    if found is None:
        raise ModelError(f"there is no tuned ranker in {wanted}")
    if found.base_fingerprint != models.language_model_fingerprint:
        raise InputError(
            f"the ranker in {wanted} belongs to the language model {found.base} ({found.base_fingerprint}), and the "
            f"settings name {models.language_model_name} ({models.language_model_fingerprint})"
        )
    if not found.may_be_measured(study.held_out):
        raise InputError(
            f"the ranker in {wanted} has learnt from what the split {study.name} with seed {study.seed} holds out"
        )
    return found
