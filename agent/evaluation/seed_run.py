"""One seed of an evaluation: every system tuned on validation, fitted for the test and measured."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from agent.encoders import OFF
from agent.evaluation.fusing import Fusions, find_fusions, fused_scorers
from agent.evaluation.measure import Key, Measured, Surroundings, measure, peak_memory
from agent.evaluation.served import Served
from agent.evaluation.strata import genres, item_strata, labelled_strata, user_strata
from agent.evaluation.study import Question, Study
from agent.evaluation.tuning import TRIALS, Tuned, tuned
from agent.evaluation.watch import Watch
from agent.stored_student import MEASURED, StoredStudent, student_of_split
from agent.teacher import measurable_ranker
from agent.tuned_ranker import TunedRanker
from agent.tuned_study import TunedStudy
from retrieval.artefacts import file_fingerprint, write_text
from retrieval.cf.fused import SINGLE, STRATEGIES, Fused
from retrieval.cf.live import BY_TEXT, TEXT, LiveFusion, described
from retrieval.cf.scorer import Scorer, System
from retrieval.cf.scorers import SCORERS
from retrieval.cf.student import Student
from retrieval.errors import InputError, command
from retrieval.shaping import PLAIN, Shaping
from retrieval.text.tower import Tower

SERVED, RANKED = "fused", "ranked"  # the very pipeline of `whyrec recommend`, without and with the tuned ranker
TWIN, TAUGHT = "twin", "student"  # without any language model: as `whyrec distill` begins, and as it ends
SYSTEMS = (*SCORERS, *STRATEGIES, SERVED, RANKED, TWIN, TAUGHT)


def unshaped(system: str) -> tuple[str, Shaping]:
    """The system of `SYSTEMS` behind a name such as ``fused+diversity=0.3``, and how its lists are shaped.

    Raises:
        InputError: there is no such system, or its lists cannot be shaped so.
    """
    base, plus, shaping = system.partition("+")
    if base not in SYSTEMS:
        raise InputError(f"no system {base!r}; there are {', '.join(SYSTEMS)}")
    if plus and base not in (SERVED, RANKED):
        raise InputError(f"the lists of {base!r} cannot be shaped; those of {SERVED} and {RANKED} can")
    return base, Shaping.parse(shaping) if plus else PLAIN


@dataclass(frozen=True)
class Plan:
    """What to evaluate. systems: as `unshaped` reads them, or empty for all that the data allow. seeds: how many,
    from ``first`` on.
    """

    question: Question
    systems: tuple[str, ...] = ()
    seeds: int = 1
    trials: int = TRIALS
    reference: str | None = None
    data: str = ""
    first: int = 0


@dataclass
class Account:
    """What an evaluation remembers beside figures: notes, parameters and the ranker by seed, and files of figures."""

    notes: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    rankers: dict[str, Any] = field(default_factory=dict)
    parts: list[Path] = field(default_factory=list)


class SeedRun:
    """One seed of an evaluation."""

    def __init__(self, study: Study, plan: Plan, watch: Watch, kept: Path, account: Account):
        self._study = study
        self._plan = plan
        self._watch = watch
        self._kept = kept
        self._account = account
        self._fitted: dict[str, Scorer] = {}
        self._fusions: Fusions | None = None

    def measured(self) -> list[Measured]:
        """The figures of every system that the data allow."""
        wanted = self._plan.systems or SYSTEMS
        bases = {name: unshaped(name)[0] for name in wanted}
        unserved = {name: self._why_not_served(name) for name in (SERVED, RANKED) if name in bases.values()}
        unserved |= {name: self._why_not_taught() for name in (TWIN, TAUGHT) if name in wanted}
        for name, why in unserved.items():
            if why:
                self._leave_out(name, why)
        fuses = any(name in (*STRATEGIES, SERVED, RANKED) for name in bases.values())
        fused = fused_scorers(self._study.name) if fuses else ()
        winners = self._winners([name for name in SCORERS if name in wanted or name in fused])
        found = []
        around = self._surroundings()
        for name in wanted:
            if name in SCORERS and name not in winners:
                continue
            if unserved.get(bases[name]):
                continue
            found.append(self._one(name, winners, around))
            if bases[name] == RANKED and self._ranker:
                self._account.rankers[str(self._study.seed)] = self._ranker.made
        return found

    def _why_not_served(self, name: str) -> str:
        """Why the pipeline of `whyrec recommend` cannot be measured; empty where it can."""
        if not self._study.has_text:
            return f"it needs an index; run: {command('index', self._root)}"
        if isinstance(self._study, TunedStudy):
            return "it asks the index, whose tuned encoder has seen what is held out; the strategies stand for it"
        if name == RANKED and self._ranker is None:
            if self._study.question.share < 1:
                return "no ranker can be tuned in a young workspace (--share), and what serves has seen its test part"
            again = command(f"finetune ranker --split {self._study.name} --seed {self._study.seed}", self._root)
            return f"no ranker was tuned on this split, and what serves has seen its test part; run: {again}"
        return ""

    def _why_not_taught(self) -> str:
        """Why there is no student to measure; empty where there is."""
        if not self._study.has_text:
            return f"it needs an index; run: {command('index', self._root)}"
        if self._student is not None:
            return ""
        if self._study.question.share < 1:
            return "nobody teaches a student in a young workspace (--share)"
        options = f"--split {self._study.name} --seed {self._study.seed}"
        again = f"{command(f'label {options}', self._root)} && {command(f'distill {options}', self._root)}"
        return f"no student was taught on this split; run: {again}"

    @property
    def _measures_student(self) -> bool:
        return TWIN in self._plan.systems or TAUGHT in self._plan.systems or not self._plan.systems

    @cached_property
    def _student(self) -> StoredStudent | None:
        """The one that was taught on this very split."""
        if not self._study.has_text:
            return None
        catalog, split = self._study.workspace.catalog_fingerprint, self._study.split.fingerprint
        return student_of_split(self._root / MEASURED, catalog, self._study.space, split)

    @property
    def _root(self) -> Path:
        return self._study.workspace.root

    @cached_property
    def _ranker(self) -> TunedRanker | None:
        return measurable_ranker(self._study)

    def _winners(self, names: Sequence[str]) -> dict[str, Tuned]:
        """The tuned parameters of each scorer; those that the data do not allow are left out with a note."""
        self._watch.start(f"Tuning (seed {self._study.seed})", len(names) * self._plan.trials)
        winners = {}
        for name in names:
            steps = [0]

            def step(steps: list[int] = steps) -> None:
                steps[0] += 1
                self._watch.advance()

            try:
                winners[name] = tuned(self._study, name, self._plan.trials, step)
            except InputError as error:
                if name in self._plan.systems or type(error) is not InputError:
                    raise
                self._leave_out(name, str(error))
            self._watch.advance(self._plan.trials - steps[0])
        self._account.parameters[str(self._study.seed)] = {
            name: dict(found.parameters) for name, found in winners.items()
        }
        return winners

    def _leave_out(self, name: str, why: str) -> None:
        if name in (unshaped(one)[0] for one in self._plan.systems):
            raise InputError(f"{name} cannot be measured: {why}")
        self._note(f"{name} is left out: {why}")

    def _note(self, message: str) -> None:
        if message not in self._account.notes:
            self._account.notes.append(message)
            self._watch.note(message)

    def _surroundings(self) -> Surroundings:
        study = self._study
        task = study.task("test")
        people = user_strata(task, study.workspace.users())
        if self._measures_student and self._student:
            people |= labelled_strata(task, self._student.labelled)
        return Surroundings(
            task,
            study.relevant(task),
            task.relevant(study.settings.events.liked_from),
            item_strata(task),
            people,
            genres(study.workspace.catalog, task.items),
            study.vectors if study.has_text else None,
        )

    def _one(self, name: str, winners: dict[str, Tuned], around: Surroundings) -> Measured:
        """Measure one system, or read what an interrupted run has measured."""
        study = self._study
        needed = {n: winners[n].parameters for n in (winners if name not in SCORERS else [name])}
        people = study.workspace.users_path
        known = file_fingerprint([people]) if people.exists() else ""
        ranker = self._ranker.version if unshaped(name)[0] == RANKED and self._ranker else ""
        student = self._student.version if self._measures_student and self._student else ""
        made = (needed, ranker, student, version("whyrec"))
        state = (study.fingerprint, known, self._plan.question, self._plan.trials, *made)
        key = hashlib.sha256(repr(state).encode()).hexdigest()[:16]
        path = self._kept / f"{study.label}-{name}-{key}.npz"
        constants = self._kept / f"{study.label}-constants-{key}.json"
        self._account.parts += [path, constants]
        self._watch.start(f"{name} (seed {study.seed})", len(around.task.histories))
        if path.is_file():
            self._watch.note(f"{name} (seed {study.seed}) was measured before the interruption")
            if constants.is_file():
                self._remember(json.loads(constants.read_text(encoding="utf-8")))
            return Measured.load(path)
        totals: dict[Key, float] = {}
        with peak_memory(totals):
            start = time.perf_counter()
            system = self._system(name, winners)
            if name in SCORERS:
                totals[Key("all", "training", 0)] = time.perf_counter() - start
            threshold = winners[name].threshold if name in SCORERS else None
            found = replace(measure(system, around, study.seed, threshold, self._watch.advance), system=name)
        found.totals |= totals
        path.parent.mkdir(parents=True, exist_ok=True)
        if self._fusions is not None and name not in SCORERS:
            write_text(constants, json.dumps(self._constants(self._fusions)))
        found.save(path)
        return found

    def _system(self, name: str, winners: dict[str, Tuned]) -> System:
        study = self._study
        if name in SCORERS:
            scorer = winners[name].fit(study, "test")
            if name in fused_scorers(study.name):
                self._fitted[name] = scorer
            return scorer
        if name in (TWIN, TAUGHT) and self._student:
            student = self._student.student
            return student if name == TAUGHT else Student.fit(study.training_data("test"), student.config)
        chosen = [winners[n] for n in fused_scorers(study.name) if n in winners]
        if self._fusions is None:
            self._fusions = find_fusions(study, chosen)
            self._remember(self._constants(self._fusions))
        for winner in chosen:
            if winner.scorer not in self._fitted:
                self._fitted[winner.scorer] = winner.fit(study, "test")
        scorers = [self._fitted[winner.scorer] for winner in chosen]
        set_to = study.settings.ranking.fusion
        if name in STRATEGIES:
            return Fused(self._fusions.strategies[name], scorers)
        base, shaping = unshaped(name)
        shaping = replace(shaping, seed=study.seed)
        ranker = str(self._ranker.folder) if base == RANKED and self._ranker else OFF
        if set_to == "off":
            return Served(name, study, None, ranker, shaping)
        fusion = self._fusions.strategies[self._fusions.best if set_to == "auto" else set_to]
        others = {scorer.name: scorer for scorer in scorers if scorer.name not in BY_TEXT}
        tower = next((s for s in scorers if isinstance(s, Tower) and s.name in fusion.used), None)
        items = tuple(sorted(study.workspace.catalog.ids))
        live = LiveFusion(fusion, others, items, self._fitted[TEXT].config, tower)
        if base == RANKED and self._ranker and self._ranker.retrieval != described(live.fusion):
            self._note(
                "ranked is the same as fused: the gate was proven on other candidates; tune the ranker with "
                f"--trials {self._plan.trials}"
            )
        return Served(name, study, live, ranker, shaping)

    @staticmethod
    def _constants(fusions: Fusions) -> dict[str, Any]:
        """What was chosen for each strategy, and which of them serves."""
        best = fusions.strategies[fusions.best].used[0] if fusions.best == SINGLE else fusions.best
        return {**{strategy: fusions.strategies[strategy].constants for strategy in STRATEGIES}, SERVED: best}

    def _remember(self, constants: dict[str, Any]) -> None:
        self._account.parameters[str(self._study.seed)] |= constants
