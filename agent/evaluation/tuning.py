"""Search a scorer's parameters on the validation part: the same number of trials for each."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from agent.evaluation.study import Study
from agent.evaluation.watch import Watch
from retrieval.artefacts import write_text
from retrieval.cf.scorer import AT_ONCE, Scorer
from retrieval.cf.scorers import SCORERS
from retrieval.data.splits import Stage, Task
from retrieval.errors import SplitError, WorkspaceError, first_line
from retrieval.metrics import accuracy_threshold, find_hits, is_liked, ranking_metrics
from retrieval.ranking import Columns, Floats

TRIALS = 20
USERS = 2_000  # validation is on at most so many users
PLACES = 10
NDCG, RMSE = "ndcg@10", "rmse"

optuna.logging.set_verbosity(optuna.logging.ERROR)  # errors are raised anyway


@dataclass(frozen=True)
class Trial:
    """One set of parameters, its figure on validation, and the seconds it took to fit and score."""

    parameters: Mapping[str, Any]
    value: float
    seconds: float


@dataclass(frozen=True)
class Tuned:
    """The parameters that won on the validation part of one split, and all that were tried.

    metric: what was optimised, NDCG@10, or RMSE where the scorer predicts values. threshold: the score from which
    "liked" was the best guess on validation. fingerprint: of the split, the items' vectors and what counts as relevant.
    validations: how many parts were validated on; 0 where an older whyrec did not say.
    """

    scorer: str
    fingerprint: str
    metric: str
    parameters: Mapping[str, Any]
    value: float
    threshold: float
    trials: tuple[Trial, ...]
    validations: int = 0

    def fit(self, study: Study, stage: Stage) -> Scorer:
        """The scorer with these parameters, fitted for a stage."""
        kind = SCORERS[self.scorer]
        return kind.fit(study.training_data(stage), kind.config_type.from_json(self.parameters))


def tuned(study: Study, name: str, trials: int, progress: Callable[[], None] = lambda: None) -> Tuned:
    """What was found before for this scorer on this very split with so many trials, or a new search.

    Kept in ``tuning/<label>-<relevant>/<scorer>-<trials>.json``: more trials that somebody made before would be
    an advantage in a comparison. ``progress`` is called after each trial.

    Raises:
        InputError: the data do not have what this scorer needs.
        WorkspaceError: the file of an earlier search cannot be read.
    """
    wanted = _wanted(study, name, trials)
    path = tuning_folder(study) / f"{name}-{wanted}.json"
    known = _read(path)
    has = {"positive_from", *SCORERS[name].config_type.ranges()}  # others, if another version of whyrec searched
    same = known and (known.fingerprint, known.validations) == (study.fingerprint, len(study.validations))
    if known and same and len(known.trials) == wanted and known.parameters.keys() == has:
        return known
    found = _search(study, name, trials, progress)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(asdict(found), indent=1) + "\n")
    return found


def tune_each(study: Study, names: Iterable[str], trials: int, watch: Watch) -> list[Tuned]:
    """`tuned` for several scorers."""
    winners = []
    for name in names:
        watch.start(f"Tuning {name}", trials)
        winners.append(tuned(study, name, trials, watch.advance))
    return winners


def tuning_folder(study: Study) -> Path:
    """Where the results for this split are kept."""
    return study.workspace.root / "tuning" / f"{study.label}-{study.question.relevant}"


def _read(path: Path) -> Tuned | None:
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Tuned(**{**values, "trials": tuple(Trial(**trial) for trial in values["trials"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise WorkspaceError(f"{path} cannot be read ({first_line(error)}); delete it to search again") from error


def _wanted(study: Study, name: str, trials: int) -> int:
    """The number of trials that make sense: at least the defaults, not the same ones twice, and for cold items no more
    where the text is not read, for then all of them are alike.
    """
    if study.name == "cold-items" and not SCORERS[name].reads_text:
        return 1
    if SCORERS[name].config_type.ranges():
        return max(1, trials)
    return min(max(1, trials), len(_choices(study, name)))


def _choices(study: Study, name: str) -> list[float | None]:
    """What may count as positive."""
    if SCORERS[name].predicts_values or not study.value_matters:
        return [None]
    return [None, study.settings.events.liked_from]


def _search(study: Study, name: str, trials: int, progress: Callable[[], None]) -> Tuned:
    kind, choices = SCORERS[name], _choices(study, name)
    ranges = kind.config_type.ranges()
    tasks = [part.task("validation").sample(USERS, study.seed) for part in study.validations]
    metric = RMSE if kind.predicts_values else NDCG
    sign = -1 if metric == RMSE else 1
    done: list[Trial] = []
    best: list[Scorer] = []

    def objective(trial: optuna.Trial) -> float:
        start = time.perf_counter()
        parameters = {"positive_from": trial.suggest_categorical("positive_from", choices)}
        parameters |= {parameter: _suggest(trial, name, parameter) for parameter in ranges}
        config = kind.config_type.from_json(parameters)
        scorers = [kind.fit(part.training_data("validation"), config) for part in study.validations]
        value = float(np.mean([_figure(one, study, task, metric) for one, task in zip(scorers, tasks, strict=True)]))
        if not done or sign * value > max(sign * earlier.value for earlier in done):
            best[:] = scorers[:1]
        done.append(Trial(parameters, value, round(time.perf_counter() - start, 3)))
        progress()
        return sign * value

    # The defaults first: tuned is never worse than they on validation. Without ranges, the choices are all there is.
    defaults = {name: getattr(kind.config_type(), name) for name in ranges}
    search = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=study.seed))
    for choice in choices[-1:] if ranges else choices[::-1]:
        search.enqueue_trial({"positive_from": choice, **defaults})
    search.optimize(objective, n_trials=_wanted(study, name, trials))
    winner = done[search.best_trial.number]
    threshold = _threshold(best[0], study, tasks[0])
    return Tuned(name, study.fingerprint, metric, winner.parameters, winner.value, threshold, tuple(done), len(tasks))


def _suggest(trial: optuna.Trial, name: str, parameter: str) -> float:
    """A value out of the parameter's range; whole where its default is whole."""
    within = SCORERS[name].config_type.ranges()[parameter]
    if isinstance(getattr(SCORERS[name].config_type(), parameter), int):
        return int(trial.suggest_int(parameter, int(within.low), int(within.high), log=within.log))
    return float(trial.suggest_float(parameter, within.low, within.high, log=within.log))


def _figure(scorer: Scorer, study: Study, task: Task, metric: str) -> float:
    """NDCG@10, or RMSE over the held-out values.

    Raises:
        SplitError: no user has a relevant item.
    """
    if metric == RMSE:
        errors = held_out_scores(scorer, task).astype(np.float64) - task.held_out.data
        return float(np.sqrt(np.mean(errors**2)))
    found = scorer.top(task.histories, PLACES, candidates=task.candidates)
    return mean_ndcg(found.columns, study, task)


def mean_ndcg(columns: Columns, study: Study, task: Task) -> float:
    """NDCG@10 of lists (n, k) over the users who have a relevant item.

    Raises:
        SplitError: there is no such user.
    """
    relevant = study.relevant(task)
    counts = np.diff(relevant.indptr)
    if not counts.any():
        raise SplitError(
            f"the split {study.name!r} leaves no user with a relevant item to validate on; choose another with "
            "--split, or let more count as liked: events.liked_from in whyrec.toml"
        )
    values = ranking_metrics(find_hits(columns, relevant), counts, PLACES)["ndcg"]
    return float(np.nanmean(values))


def held_out_scores(scorer: Scorer, task: Task) -> Floats:
    """One score for each held-out event, in the order of ``task.held_out``."""
    size = max(1, AT_ONCE // max(1, len(task.items)))
    parts = [np.zeros(0, dtype=np.float32)]
    for start in range(0, len(task.histories), size):
        rows = slice(start, start + size)
        held_out = task.held_out[rows]
        owner = np.repeat(np.arange(held_out.shape[0]), np.diff(held_out.indptr))
        parts.append(scorer.score(task.histories.take(rows))[owner, held_out.indices])
    return np.concatenate(parts)


def _threshold(scorer: Scorer, study: Study, task: Task) -> float:
    liked = is_liked(task.held_out, task.relevant(study.settings.events.liked_from))
    return accuracy_threshold(held_out_scores(scorer, task), liked)
