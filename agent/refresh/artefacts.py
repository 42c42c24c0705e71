"""What `whyrec refresh` trains again: how each kind is read, measured, and made by the commands' own means."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from agent.distillation import Distiller
from agent.evaluation.fusing import fused_scorers, make_live, renew_live
from agent.evaluation.served import Served
from agent.evaluation.study import Question, Study
from agent.evaluation.tuning import tune_each
from agent.evaluation.watch import Watch
from agent.labelling import Budget, Labeller
from agent.lesson import Lesson
from agent.models import Models
from agent.recommender import serving
from agent.stored_student import STUDENT, current_student
from agent.teacher import open_teacher
from agent.tuned_study import open_study
from agent.twin_tuning import student_config
from retrieval.cf.live import kept_fusion
from retrieval.cf.scorer import System
from retrieval.data.labels import LABELS, LabelStore
from retrieval.data.workspace import Workspace
from retrieval.errors import ModelError, first_line
from retrieval.versions import current_version

MODELS = Path("models")


@dataclass(frozen=True)
class Made:
    """The version that serves, and what its config.json says of how it was made."""

    version: str
    config: Mapping[str, Any]


def made_of(root: Path, kind: str) -> Made | None:
    """That of a kind in the workspace at ``root``; None where none was made.

    Raises:
        ModelError: it is damaged.
    """
    version = current_version(root / MODELS / kind)
    if version is None:
        return None
    path = root / MODELS / kind / version / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return Made(version, {**config})
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path} cannot be read ({first_line(error)}); make it anew") from error


@dataclass(frozen=True)
class Watched:
    """A kind that a refresh does not train: its drift is measured, and ``again`` is what people are told to do."""

    kind: str
    again: tuple[str, ...]


class Artefact(Protocol):
    """A kind that a refresh trains. kind: its folder in models/. again: the commands that make it by hand.

    rests_on: kinds that it is taught or served by, which must not have seen what it is measured on.
    keeps_all: whether all versions are kept, or those that serve now and served before alone.
    """

    kind: str
    again: tuple[str, ...]
    rests_on: tuple[str, ...]
    keeps_all: bool

    def fits(self, made: Made, study: Study) -> bool:
        """Whether it can serve the items and vectors that there are now."""
        ...

    def reached(self, made: Made) -> float | None:
        """NDCG@10 on validation when it was made, if that was measured."""
        ...

    def system(self, workspace: Workspace, study: Study) -> System:
        """The current one of a workspace, to be measured in a study of the same items."""
        ...

    def train(self, made: Made, trial: Workspace, watch: Watch) -> None:
        """Make one as ``made`` was, from the events of a trial, and let it be the current one there."""
        ...

    def complete(self, made: Made, trial: Workspace, whole: Workspace, watch: Watch) -> None:
        """Make it again as in ``trial``, from the events of ``whole``, and let it be the current one there."""
        ...


class FusionArtefact:
    """The scorers and their fusion, as `whyrec tune` makes them. Completed, the parameters stay as they were found."""

    kind = "fusion"
    again: tuple[str, ...] = ("tune",)
    rests_on: tuple[str, ...] = ()
    keeps_all = False

    def __init__(self, models: Models, trials: int, command: str):
        """``trials``: of the search for each scorer's parameters. command: what is written as its origin."""
        self._models = models
        self._trials = trials
        self._command = command

    def fits(self, made: Made, study: Study) -> bool:
        """Both items and vectors must be the same."""
        same = made.config["catalog"] == study.workspace.catalog_fingerprint
        return bool(same and made.config["space"] in ("", study.space))

    def reached(self, made: Made) -> float | None:
        """What the best strategy reached; among cold items alone it says nothing of all."""
        found = made.config["validation"]
        return None if found["split"] == "cold-items" else float(found["ndcg@10"][made.config["best"]])

    def system(self, workspace: Workspace, study: Study) -> System:
        """The pipeline that serves, without the language model."""
        return Served(self.kind, study, serving(workspace, self._models.settings))

    def train(self, made: Made, trial: Workspace, watch: Watch) -> None:
        """As `whyrec tune`, on the split that it was tuned on."""
        study = self._study(made, trial)
        winners = tune_each(study, fused_scorers(study.name), self._trials, watch)
        make_live(study, winners, self._command, watch)

    def complete(self, made: Made, trial: Workspace, whole: Workspace, watch: Watch) -> None:
        """Scorers are trained on all events, with parameters and weights as they are."""
        kept = kept_fusion(trial.root / MODELS / self.kind)
        if kept is None:
            raise ValueError(f"{trial.root} has no fusion")
        renew_live(self._study(made, whole), kept, watch)

    def _study(self, made: Made, workspace: Workspace) -> Study:
        validation = made.config["validation"]
        question = Question(validation["split"])
        return open_study(workspace, self._models.settings, self._models, question, validation["seed"])


class StudentArtefact:
    """The student, as `whyrec label --lists 0` and `whyrec distill` make it: taught by the scorers alone."""

    kind = "student"
    again: tuple[str, ...] = ("label", "distill")
    rests_on: tuple[str, ...] = ("fusion",)
    keeps_all = True

    def __init__(self, models: Models, trials: int, command: str):
        """As for `FusionArtefact`."""
        self._models = models
        self._trials = trials
        self._command = command

    def fits(self, made: Made, study: Study) -> bool:
        """It serves without vectors, so the items alone must be the same."""
        return bool(made.config["catalog"] == study.workspace.catalog_fingerprint)

    def reached(self, made: Made) -> float | None:
        """What serves of student and twin reached."""
        found = made.config["validation"]
        return float(found["student" if found["proven"] else "twin"])

    def system(self, workspace: Workspace, study: Study) -> System:  # noqa: ARG002 - it needs nothing else
        """The student itself."""
        stored = current_student(workspace.root / STUDENT)
        if stored is None:
            raise ValueError(f"{workspace.root} has no student")
        return stored.student

    def train(self, made: Made, trial: Workspace, watch: Watch) -> None:
        """Let the scorers of the trial label lists, and teach."""
        if made.config["lists"]["asked"]:
            watch.note("the student had lists by the language model; trained again, it is taught by the scorers alone")
        from finetune.distill import Distillation  # needs torch
        from finetune.pretraining import Pretraining

        seed, how = made.config["validation"]["seed"], made.config["how"]
        lesson = Lesson(
            Pretraining(seed=seed) if how.get("pretraining") else None,
            Distillation(seed=seed) if how.get("teaching") or not how.get("pretraining") else None,
        )
        teacher, retrieval = open_teacher(trial, self._models, None, seed, self._trials, watch)
        store = LabelStore(trial.root / LABELS)
        Labeller(teacher, store, watch).run(Budget(0))
        config = student_config(teacher.study, self._trials, watch)
        distiller = Distiller(teacher, retrieval, config, lesson, watch)
        distiller.run(store, trial.root / STUDENT, self._command)

    def complete(self, made: Made, trial: Workspace, whole: Workspace, watch: Watch) -> None:  # noqa: ARG002
        """The same from all events."""
        self.train(made, whole, watch)
