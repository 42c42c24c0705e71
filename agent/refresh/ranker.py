"""The tuned ranker as something that `whyrec refresh --ranker` trains again."""

import shutil

from agent.evaluation.served import Served
from agent.evaluation.study import Question, Study
from agent.evaluation.watch import Watch
from agent.gate import Gate
from agent.models import Models
from agent.ranker_tuning import Plan, RankerTuner, find_start
from agent.ranking_lists import RankingLists, find_retrieval
from agent.recommender import serving
from agent.refresh.artefacts import Made
from agent.settings import RANKER
from agent.tuned_study import open_study
from retrieval.cf.scorer import System
from retrieval.data.workspace import Workspace
from retrieval.versions import CURRENT, current_version


class RankerArtefact:
    """As `whyrec finetune ranker` makes it. It learns from training lists and never from all events, so that what was
    measured is what serves.
    """

    kind = "ranker"
    again: tuple[str, ...] = ("finetune ranker",)
    rests_on: tuple[str, ...] = ("fusion",)
    keeps_all = True

    def __init__(self, models: Models, trials: int, command: str):
        """As for `FusionArtefact`."""
        self._models = models
        self._trials = trials
        self._command = command

    def fits(self, made: Made, study: Study) -> bool:  # noqa: ARG002
        """It must be of the language model that the settings name."""
        return bool(made.config["base_fingerprint"] == self._models.language_model_fingerprint)

    def reached(self, made: Made) -> float | None:
        """What everybody's lists reached; among cold items alone it says nothing of all."""
        cold = made.config["learnt_from"][0]["split"] == "cold-items"
        return None if cold else Gate.from_json(next(iter(made.config["gates"].values()))).reached

    def system(self, workspace: Workspace, study: Study) -> System:
        """The pipeline that serves, with the ranker of the workspace and the scorers of the study's, if it has any."""
        live = serving(study.workspace, study.settings)
        return Served(self.kind, study, live, ranker=str(workspace.root / RANKER))

    def train(self, made: Made, trial: Workspace, watch: Watch) -> None:
        """With its plan and rates, on what the scorers of the trial find."""
        watch.note("the ranker is tuned on the default split, and begins with the packaged one where that fits")
        from finetune.lora import LoraTuning

        models = Models(self._models.settings, self._models.say)  # the adapter of another one is in use there
        own = made.config["learnt_from"][0]
        study = open_study(trial, models.settings, models, Question(), own["seed"])
        source = RankingLists(study, find_retrieval(study, self._trials, watch))
        plan, tuning = Plan(**made.config["plan"]), LoraTuning(**made.config["tuning"])
        start = find_start("auto", models, study)
        RankerTuner([source], models, plan, tuning, trial.root / RANKER, watch, start).run(self._command)

    def complete(self, made: Made, trial: Workspace, whole: Workspace, watch: Watch) -> None:  # noqa: ARG002
        """The very same one."""
        version = current_version(trial.root / RANKER) or ""
        shutil.copytree(trial.root / RANKER / version, whole.root / RANKER / version)
        shutil.copy(trial.root / RANKER / CURRENT, whole.root / RANKER / CURRENT)
