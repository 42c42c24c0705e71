"""Tune the language model to rank what the scorers find, and measure on validation where it may have a say."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Self

import numpy as np

from agent.evaluation.fusing import find_fusions, fused_scorers
from agent.evaluation.output import versions
from agent.evaluation.study import Study
from agent.evaluation.tuning import Tuned, tuned
from agent.evaluation.watch import Watch
from agent.gate import KINDS, Gate, JudgedList, JudgedLists, fit_gate
from agent.models import Models
from agent.settings import RANKER
from agent.tuned_ranker import save_ranker
from agent.unfinished import UNFINISHED, begin
from retrieval.cf.fused import Fused, Fusion
from retrieval.cf.scorer import System
from retrieval.cf.scorers import SCORERS
from retrieval.contracts import RankRequest
from retrieval.data.histories import Histories
from retrieval.metrics import find_hits
from retrieval.ranking import Columns, Floats
from retrieval.text.profile import telling

if TYPE_CHECKING:
    from finetune.lora import LoraTuning, RankerTrainer

KEPT = 25  # steps between states on disk
WATCHED = 120  # validation users whose lists choose when training stops
JUDGED = 1_000  # validation users whose lists fit the gate, at most
HALF = 0.5  # the language model's weight while training is watched


@dataclass(frozen=True)
class Plan:
    """lists: how many are learnt from, ``size`` candidates each. every: how many between two looks at validation.

    trials: of the scorers' parameters, where they have not been tuned yet.
    """

    lists: int = 2_000
    size: int = 10
    every: int = 250
    trials: int = 20


@dataclass(frozen=True)
class Asked:
    """Validation lists: each user's row in the task, the candidates found (c,) best first, and their scores."""

    rows: list[int]
    columns: list[Columns]
    scores: list[Floats]


@dataclass(frozen=True)
class Outcome:
    """gate: where the ranker has a say. curve: what was seen while training. version: its name."""

    gate: Gate
    curve: Sequence[dict[str, float]]
    version: str


class Retrieval:
    """What the ranker is given: the fusion that `whyrec tune` would serve, trained on whatever events it is given."""

    def __init__(self, study: Study, winners: Sequence[Tuned], fusion: Fusion):
        used = [winner for winner in winners if winner.scorer in fusion.used]
        names = tuple(winner.scorer for winner in used)
        if fusion.weights:
            weight = dict(zip(fusion.scorers, fusion.weights, strict=True))
            fusion = replace(fusion, weights=tuple(weight[name] for name in names))
        self._study = study
        self._winners = used
        self.fusion = replace(fusion, scorers=names)

    def fit(self, histories: Histories) -> System:
        """The fused scorers, trained on these histories, which are of the validation stage's training part."""
        data = replace(self._study.training_data("validation"), histories=histories)
        kinds = [SCORERS[winner.scorer] for winner in self._winners]
        configs = [kind.config_type.from_json(w.parameters) for kind, w in zip(kinds, self._winners, strict=True)]
        return Fused(self.fusion, [kind.fit(data, config) for kind, config in zip(kinds, configs, strict=True)])


@dataclass(frozen=True)
class _Seen:
    """What was seen while training: figures on the watched lists, and the losses since the last of them."""

    curve: list[dict[str, float]]
    losses: list[float]

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))


class RankerTuner:
    """Learns from training events, watches and judges on validation, and leaves the test alone.

    The state is in ``models/ranker/.unfinished`` after each 25 steps.
    """

    def __init__(self, study: Study, models: Models, plan: Plan, tuning: "LoraTuning", watch: Watch):
        self._study = study
        self._models = models
        self._plan = plan
        self._tuning = tuning
        self._watch = watch
        self._folder = study.workspace.root / RANKER
        self._state = self._folder / UNFINISHED

    def run(self, command: str, *, resume: bool = False) -> Outcome:
        """Tune, judge and keep the ranker; its gate may be closed.

        Raises:
            SplitError: nobody is left to validate on.
            InputError: there is nothing to learn from, or nothing that fits to resume.
            ModelError: the language model cannot be loaded or tuned, or training fails.
            WorkspaceError: what an interrupted run left cannot be read.
        """
        self._begin(resume)
        trainer = self._trainer()
        curve = self._train(trainer)
        self._watch.start("Judging on validation", JUDGED)
        gate = fit_gate(self.judged(self._asked(judging=True)), self._study.seed)
        name = self._keep(gate, curve, command)
        shutil.rmtree(self._state)
        return Outcome(gate, curve, name)

    def _keep(self, gate: Gate, curve: Sequence[dict[str, float]], command: str) -> str:
        """Write the artefact."""
        from finetune.adapters import save_adapter
        from finetune.ranker import RANK

        study, models, fusion = self._study, self._models, self.retrieval.fusion
        base = study.settings.language_model.model
        made = {
            "command": command,
            "base": base,
            "base_fingerprint": models.language_model_fingerprint,
            "gate": gate.to_json(),
            "split": study.name,
            "seed": study.seed,
            "split_fingerprint": study.split.fingerprint,
            "retrieval": {"strategy": fusion.strategy, **fusion.constants},
            "plan": asdict(self._plan),
            "tuning": asdict(self._tuning),
            "curve": list(curve),
            "versions": versions(),
        }
        return save_ranker(self._folder, lambda folder: save_adapter(models.language_model, RANK, folder, base), made)

    @cached_property
    def retrieval(self) -> Retrieval:
        """What finds the candidates: the best fusion on validation."""
        names = fused_scorers(self._study.name)
        self._watch.start("Tuning scorers", len(names) * self._plan.trials)
        winners = [tuned(self._study, name, self._plan.trials, self._watch.advance) for name in names]
        fusions = find_fusions(self._study, winners)
        return Retrieval(self._study, winners, fusions.strategies[fusions.best])

    @cached_property
    def _texts(self) -> list[str]:
        catalog = self._study.workspace.catalog
        return [catalog.text(item_id) for item_id in self._ids]

    @cached_property
    def _ids(self) -> list[str]:
        return sorted(self._study.workspace.catalog.ids)

    def _request(self, history: Sequence[int], candidates: Sequence[int]) -> RankRequest:
        told = tuple(self._texts[column] for column in history)
        return RankRequest(
            told, tuple(self._ids[column] for column in candidates), tuple(self._texts[column] for column in candidates)
        )

    def _trainer(self) -> "RankerTrainer":
        from finetune.examples import ListSampler, cold_pools, warm_pools
        from finetune.lora import RankerTrainer

        study, liked_from = self._study, self._study.settings.events.liked_from
        train = study.task("validation").train
        self._watch.start("Finding what training lists are made of", 1)
        make = cold_pools if study.name == "cold-items" else warm_pools
        pools = make(train, liked_from, self.retrieval.fit, study.seed)
        popularity = np.bincount(train.values.indices, minlength=len(self._ids))
        sampler = ListSampler(pools, popularity, study.vectors, self._plan.size, study.seed)

        def draw(number: int) -> RankRequest:
            one = sampler.draw(number)
            return self._request(one.history, one.candidates)

        steps = -(-self._plan.lists // self._tuning.lists)
        return RankerTrainer(self._models.language_model, draw, steps, self._tuning)

    def _train(self, trainer: "RankerTrainer") -> list[dict[str, float]]:
        """Train to the end; the trainer then has the adapter that was best on the lists that were watched."""
        from safetensors.torch import load_file, save_file

        best, checkpoint = self._state / "best.safetensors", self._state / "trainer.safetensors"
        watched = self._asked(judging=False)
        seen = _Seen.from_json(trainer.restore(checkpoint)) if checkpoint.is_file() else _Seen([], [])
        if not seen.curve:
            seen.curve.append(self._look(trainer, watched))
        every = max(1, self._plan.every // self._tuning.lists)
        self._watch.start("Tuning the language model", trainer.steps)
        self._watch.advance(trainer.step)
        while trainer.step < trainer.steps:
            trainer.run(min(every - trainer.step % every, KEPT), self._told(seen))
            if trainer.step % every == 0 or trainer.step == trainer.steps:
                seen.curve.append(self._look(trainer, watched) | {"loss": float(np.mean(seen.losses))})
                self._watch.note("  ".join(f"{name} {value:.4g}" for name, value in seen.curve[-1].items()))
                seen.losses.clear()
                if seen.curve[-1]["mixed"] >= max(one["mixed"] for one in seen.curve):
                    save_file(trainer.adapter(), best)
            trainer.save(checkpoint, json.dumps(asdict(seen)))
        if best.is_file():
            trainer.put(load_file(best))
        return seen.curve

    def _told(self, seen: "_Seen") -> Callable[[float], None]:
        def told(loss: float) -> None:
            seen.losses.append(loss)
            self._watch.advance()

        return told

    def _look(self, trainer: "RankerTrainer", watched: Asked) -> dict[str, float]:
        """NDCG@10 on the watched lists: by the retriever, by the language model, and by both in equal parts."""
        lists = JudgedLists.of(self.judged(watched))
        found = {"retrieved": 0.0, "mixed": HALF, "ranked": 1.0}
        both = {name: dict.fromkeys(KINDS, alpha) for name, alpha in found.items()}
        figures = {name: float(lists.figures(alpha).mean()) for name, alpha in both.items()}
        return {"lists": trainer.step * self._tuning.lists, **figures}

    def _asked(self, *, judging: bool) -> Asked:
        """Lists of candidates for users who have something to be found: some to watch, and others to judge by."""
        study = self._study
        task = study.task("validation")
        relevant = study.relevant(task)
        rows = np.flatnonzero((np.diff(relevant.indptr) > 0) & (task.histories.counts > 0))
        drawn = np.random.default_rng(study.seed).permutation(rows)
        cut = min(WATCHED, len(drawn) // 2)
        rows = np.sort(drawn[cut : cut + JUDGED] if judging else drawn[:cut])
        found = self._retriever.top(
            task.histories.take(rows), self._study.settings.ranking.candidates, candidates=task.candidates
        )
        there = found.columns >= 0
        columns = [one[keep] for one, keep in zip(found.columns, there, strict=True)]
        scores = [one[keep] for one, keep in zip(found.scores, there, strict=True)]
        return Asked(rows.tolist(), columns, scores)

    @cached_property
    def _retriever(self) -> System:
        return self.retrieval.fit(self._study.task("validation").train)

    def judged(self, asked: Asked) -> list[JudgedList]:
        """The language model's scores beside the retriever's, and what was to be found."""
        from finetune.ranker import RANK, LMRanker

        study, vectors = self._study, self._study.vectors
        task = study.task("validation")
        relevant = study.relevant(task)
        liked = task.histories.positives(study.settings.events.liked_from)
        requests = []
        for row, columns in zip(asked.rows, asked.columns, strict=True):
            had = liked.indices[liked.indptr[row] : liked.indptr[row + 1]]
            told = had[telling(vectors[had], vectors[columns])]
            requests.append(self._request(told.tolist(), columns.tolist()))
        ranked = LMRanker(self._models.language_model, RANK).score(requests)
        warm = task.popularity > 0
        lists = []
        for row, columns, scores, rank in zip(asked.rows, asked.columns, asked.scores, ranked, strict=True):
            hits = find_hits(columns[None, :], relevant[[row]])[0]
            count = int(relevant.indptr[row + 1] - relevant.indptr[row])
            known = int(task.histories.counts[row])
            lists.append(JudgedList(scores, rank, hits, count, warm[columns], known))
            self._watch.advance()
        return lists

    def _begin(self, resume: bool) -> None:
        models, study = self._models, self._study
        parts = (study.fingerprint, models.language_model_fingerprint, self._plan, self._tuning, version("whyrec"))
        begin(self._state, parts, resume=resume)
