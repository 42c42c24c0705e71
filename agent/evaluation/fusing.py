"""Find out on validation how scorers are best put together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from agent.evaluation.output import versions
from agent.evaluation.study import Study
from agent.evaluation.tuning import PLACES, Tuned, mean_ndcg
from agent.evaluation.watch import Watch
from retrieval.cf.fused import POOL, SINGLE, STRATEGIES, Candidates, Fusion, Strategy, find_candidates, joined_lists
from retrieval.cf.live import save_fusion
from retrieval.cf.scorer import Scorer
from retrieval.cf.scorers import SCORERS
from retrieval.cf.stack import Stack
from retrieval.data.splits import Task
from retrieval.errors import SplitError
from retrieval.metrics import Figures, find_hits, ranking_metrics
from retrieval.ranking import top
from retrieval.significance import bootstrap_means, interval

FUSED = ("soft-knn", "tower", "text-ease", "popularity", "item-knn", "mf", "ease", "ials")
USERS = 1_000  # whose lists the constants are chosen on
TRIALS = 100  # of a strategy's constants; each takes milliseconds
LEAST_WEIGHT = 0.05  # less is none, and the scorer need not run


@dataclass(frozen=True)
class Fusions:
    """Each strategy with the constants that won on validation, and what it reached there.

    values: NDCG@10 of each strategy on users whose lists its constants were not chosen on (two halves, each serving
    the other). singles: NDCG@10 of each scorer alone, on all users. best: the strategy with the highest value where
    its gain over the best scorer alone is proven on these users (95 % interval above 0), else that scorer.
    """

    strategies: dict[Strategy, Fusion]
    values: dict[Strategy, float]
    singles: dict[str, float]
    best: Strategy

    def constants(self, name: Strategy) -> dict[str, Any]:
        """What was chosen for a strategy, as plain data."""
        fusion = self.strategies[name]
        if name in (SINGLE, "weighted"):
            return {scorer: weight for scorer, weight in zip(fusion.scorers, fusion.weights, strict=True) if weight > 0}
        return {"cut by": fusion.pair[0], "to": fusion.cut, "ordered by": fusion.pair[1]} if name == "cascade" else {}


@dataclass(frozen=True)
class Lists:
    """Candidates of validation users with what is relevant, (n, c), and how many relevant items each user has."""

    candidates: Candidates
    relevant: NDArray[np.bool_]
    counts: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence["Lists"]) -> "Lists":
        """Those of several validations below each other."""
        return cls(
            Candidates.joined([part.candidates for part in parts]),
            joined_lists([part.relevant for part in parts]),
            np.concatenate([part.counts for part in parts]),
        )

    def take(self, rows: NDArray[np.int64]) -> "Lists":
        """Some of the users."""
        found = self.candidates
        by = None if found.found is None else found.found[:, rows]
        part = Candidates(found.columns[rows], found.scores[:, rows], found.lengths[rows], by)
        return Lists(part, self.relevant[rows], self.counts[rows])

    def figures(self, fusion: Fusion) -> Figures:
        """NDCG@10 of each user's fused list."""
        found = top(fusion.fuse(self.candidates), PLACES, "fusion")  # places in a list go by column, so do ties
        hits = np.take_along_axis(self.relevant, np.maximum(found.columns, 0), axis=1) & (found.columns >= 0)
        return ranking_metrics(hits, self.counts, PLACES)["ndcg"]

    def ndcg(self, fusion: Fusion) -> float:
        """NDCG@10 of the fused lists."""
        return float(np.nanmean(self.figures(fusion)))


def find_fusions(study: Study, winners: Sequence[Tuned], progress: Callable[[], None] = lambda: None) -> Fusions:
    """Fit the scorers on the training part and choose each strategy's constants on validation lists.

    ``progress`` is called after each scorer that was fitted and each strategy.

    Raises:
        SplitError: no user has a relevant item.
    """
    parts = []
    singles: dict[str, float] = dict.fromkeys((winner.scorer for winner in winners), 0.0)
    for place, part in enumerate(study.validations):
        scorers = []
        for winner in winners:
            scorers.append(winner.fit(part, "validation"))
            if place == 0:
                progress()
        task = part.task("validation").sample(USERS, study.seed)
        parts.append(validation_lists(part, task, scorers))
        for scorer in scorers:
            found = scorer.top(task.histories, PLACES, candidates=task.candidates)
            singles[scorer.name] += mean_ndcg(found.columns, part, task) / len(study.validations)
    lists = Lists.joined(parts)
    if len(lists.counts) == 1:
        raise SplitError(
            f"the split {study.name!r} leaves one user to validate on, and a fusion needs two: one half of them to "
            "choose its constants on, one to judge them; choose another with --split"
        )
    names = tuple(singles)
    strategies: dict[Strategy, Fusion] = {}
    figures: dict[Strategy, Figures] = {}
    halves = _halves([len(part.counts) for part in parts], study.seed)
    for strategy in (SINGLE, *STRATEGIES):
        strategies[strategy] = _chosen(strategy, names, lists, study.seed)
        figures[strategy] = np.concatenate(
            [
                lists.take(judged).figures(_chosen(strategy, names, lists.take(chosen), study.seed))
                for chosen, judged in (halves, halves[::-1])
            ]
        )
        progress()
    values = {strategy: float(np.mean(found)) for strategy, found in figures.items()}
    return Fusions(strategies, values, singles, proven(figures, study.seed))


def _halves(sizes: Sequence[int], seed: int) -> list[NDArray[np.int64]]:
    """Rows to choose constants on, and rows to judge them by: some draws of items and others, or some users of one."""
    if len(sizes) > 1:
        cut = sum(sizes[: len(sizes) // 2])
        return [np.arange(cut, dtype=np.int64), np.arange(cut, sum(sizes), dtype=np.int64)]
    drawn = np.random.default_rng(seed).permutation(sizes[0])
    return [np.sort(half) for half in np.array_split(drawn, 2)]


def proven(figures: dict[Strategy, Figures], seed: int) -> Strategy:
    """The best strategy if its gain over the best scorer alone is proven, else that scorer."""
    best = max(STRATEGIES, key=lambda name: float(np.mean(figures[name])))
    gains = (figures[best] - figures[SINGLE])[:, None]
    low, _ = interval(bootstrap_means(gains, seed)[:, 0])
    return best if low > 0 else SINGLE


def make_live(study: Study, winners: Sequence[Tuned], command: str, watch: Watch) -> Fusions:
    """Choose the constants on validation, train the scorers on all events, and let `whyrec recommend` use the best.

    Raises:
        SplitError: no user has a relevant item to validate on.
    """
    watch.start("Putting scorers together", len(winners) + 1 + len(STRATEGIES))
    fusions = find_fusions(study, winners, watch.advance)
    watch.start("Training on all events", len(winners))
    scorers, everything = [], study.everything()
    for winner in winners:
        kind = SCORERS[winner.scorer]
        scorers.append(kind.fit(everything, kind.config_type.from_json(winner.parameters)))
        watch.advance()
    made = {
        "command": command,
        "validation": {
            "split": study.name,
            "seed": study.seed,
            "fingerprint": study.split.fingerprint,
            "ndcg@10": {str(name): value for name, value in [*fusions.values.items(), *fusions.singles.items()]},
        },
        "versions": versions(),
    }
    folder = study.workspace.root / "models" / "fusion"
    fingerprints = study.workspace.catalog_fingerprint, study.workspace.events_fingerprint
    save_fusion(folder, fusions.strategies, fusions.best, scorers, *fingerprints, made, space=study.space)
    return fusions


def validation_lists(study: Study, task: Task, scorers: Sequence[Scorer]) -> Lists:
    """What the scorers find for the task's users who have a relevant item."""
    relevant = study.relevant(task)
    rows = np.flatnonzero(np.diff(relevant.indptr)).astype(np.int64)
    histories, wanted = task.histories.take(rows), relevant[rows]
    parts = list(find_candidates(scorers, histories, POOL, candidates=task.candidates))
    candidates = Candidates.joined(parts)
    return Lists(candidates, find_hits(candidates.columns, wanted), np.diff(wanted.indptr).astype(np.int64))


def _chosen(strategy: Strategy, names: tuple[str, ...], lists: Lists, seed: int) -> Fusion:
    """The strategy with the constants that are best on these lists."""
    if strategy == SINGLE:
        alone = [Fusion(SINGLE, names, weights=tuple(float(name == only) for name in names)) for only in names]
        return max(alone, key=lists.ndcg)
    if strategy == "weighted":
        return _search(lambda trial: _weighted(trial, names), lists, seed, _alone(names))
    if strategy == "cascade":
        pairs = [{"cheap": names.index(a), "dear": names.index(b), "cut": POOL} for a in names for b in names if a != b]
        return _search(lambda trial: _cascade(trial, names), lists, seed, pairs)
    if strategy == "stacked":
        found = lists.candidates
        return Fusion(
            strategy, names, stack=Stack.fit(found.scores, found.present, found.lengths, lists.relevant, seed)
        )
    return Fusion(strategy, names)


def _search(
    suggested: Callable[[optuna.Trial], Fusion], lists: Lists, seed: int, first: Sequence[dict[str, Any]]
) -> Fusion:
    """The best of ``TRIALS`` suggestions, among them those of ``first``."""
    search = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    for parameters in first:
        search.enqueue_trial(parameters)
    search.optimize(lambda trial: lists.ndcg(suggested(trial)), n_trials=max(TRIALS, len(first)))
    return suggested(optuna.trial.FixedTrial(search.best_params))


def _alone(names: tuple[str, ...]) -> list[dict[str, float]]:
    """Each scorer alone, and all with the same weight: the weights found are never worse than these on validation."""
    return [*({name: float(name == only) for name in names} for only in names), dict.fromkeys(names, 1.0)]


def _weighted(trial: Any, names: tuple[str, ...]) -> Fusion:
    weights = np.array([trial.suggest_float(name, 0, 1) for name in names])
    total = max(float(weights.sum()), 1e-9)
    weights = np.where(weights / total < LEAST_WEIGHT, 0.0, weights)
    if weights.sum() == 0:
        weights[:] = 1.0
    return Fusion("weighted", names, weights=tuple((weights / weights.sum()).round(4).tolist()))


def _cascade(trial: Any, names: tuple[str, ...]) -> Fusion:
    cheap = trial.suggest_int("cheap", 0, len(names) - 1)
    dear = trial.suggest_int("dear", 0, len(names) - 1)
    cut = trial.suggest_int("cut", PLACES, POOL, log=True)
    return Fusion("cascade", names, pair=(names[cheap], names[dear]), cut=cut)
