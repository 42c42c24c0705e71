"""Find out on validation how scorers are best put together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from agent.evaluation.lists import Lists, validation_lists
from agent.evaluation.output import versions
from agent.evaluation.study import Study
from agent.evaluation.tuning import PLACES, Tuned, mean_ndcg
from agent.evaluation.watch import Watch
from retrieval.cf.fused import POOL, SINGLE, STRATEGIES, Fusion, Strategy
from retrieval.cf.live import TEXT, KeptFusion, save_fusion
from retrieval.cf.scorers import SCORERS
from retrieval.cf.stack import Stack
from retrieval.data.seen import Seen
from retrieval.errors import SplitError
from retrieval.metrics import Figures
from retrieval.significance import compare, reality_check

FUSED = ("soft-knn", "tower", "text-ease", "popularity", "item-knn", "mf", "ease", "ials")
USERS = 1_000  # whose lists the constants are chosen on
TRIALS = 100  # of a strategy's constants; each takes milliseconds
LEAST_USERS = 2  # one half chooses, one judges
LIKES = 3  # that somebody new names
LEVEL = 0.05
LEAST_WEIGHT = 0.05  # less is none, and the scorer need not run


@dataclass(frozen=True)
class Fusions:
    """Each strategy with the constants that won on validation, and what it reached there.

    values: NDCG@10 of each strategy on users whose lists its constants were not chosen on (two halves, each serving
    the other). singles: NDCG@10 of each scorer alone, on all users. best: the strategy with the highest value where
    its gain over the best scorer alone is `proven` on these users, else that scorer: the text, where no other is proven
    to be better. likes: for people who name a few items, None where nobody can be validated on.
    """

    strategies: dict[Strategy, Fusion]
    values: dict[Strategy, float]
    singles: dict[str, float]
    best: Strategy
    likes: "ForLikes | None"


@dataclass(frozen=True)
class ForLikes:
    """A weighted fusion of scorers that read text, and what it is worth; the others would name what everybody likes.

    value: NDCG@10 on users of whom three liked items are known, by weights chosen on others (two halves); by_text: that
    of the text alone. proven: whether the gain is (95 % interval above 0).
    """

    fusion: Fusion
    value: float
    by_text: float
    proven: bool


def fused_scorers(split: str) -> tuple[str, ...]:
    """The scorers that are put together; for cold items those that read text, as all items are alike to the others."""
    return tuple(name for name in FUSED if split != "cold-items" or SCORERS[name].reads_text)


def find_fusions(study: Study, winners: Sequence[Tuned], progress: Callable[[], None] = lambda: None) -> Fusions:
    """Fit the scorers on the training part and choose each strategy's constants on validation lists.

    ``progress`` is called after each scorer that was fitted and each strategy.

    Raises:
        SplitError: no user has a relevant item.
    """
    parts, named = [], []
    singles: dict[str, float] = dict.fromkeys((winner.scorer for winner in winners), 0.0)
    for place, part in enumerate(study.validations):
        scorers = []
        for winner in winners:
            scorers.append(winner.fit(part, "validation"))
            if place == 0:
                progress()
        task = part.task("validation").sample(USERS, study.seed)
        parts.append(validation_lists(part, task, scorers))
        few = task.histories.few(LIKES, study.settings.events.liked_from, study.seed)
        readers = [one for one in scorers if one.reads_text]
        named += [validation_lists(part, task, readers, few)] if readers else []
        for scorer in scorers:
            found = scorer.top(task.histories, PLACES, candidates=task.candidates)
            singles[scorer.name] += mean_ndcg(found.columns, part, task) / len(study.validations)
    lists = Lists.joined(parts)
    if len(lists.counts) < LEAST_USERS:
        raise SplitError(
            f"the split {study.name!r} leaves one user to validate on, and a fusion needs two: one half of them to "
            "choose its constants on, one to judge them; choose another with --split"
        )
    names = tuple(singles)
    strategies: dict[Strategy, Fusion] = {}
    figures: dict[Strategy, Figures] = {}
    halves = _halves([len(part.counts) for part in parts], study.seed)
    for strategy in (SINGLE, *STRATEGIES):
        choose = partial(_chosen, strategy, names, seed=study.seed)
        strategies[strategy] = choose(lists)
        figures[strategy] = _judged(lists, halves, choose)
        progress()
    if TEXT in names:
        text = _by_text(names)
        alone = lists.figures(text)
        if compare(figures[SINGLE], [alone], study.seed)[0].low <= 0:
            strategies[SINGLE], figures[SINGLE] = text, alone
    values = {strategy: float(np.mean(found)) for strategy, found in figures.items()}
    likes = _for_likes(named, tuple(name for name in names if SCORERS[name].reads_text), study.seed)
    progress()
    return Fusions(strategies, values, singles, proven(figures, study.seed), likes)


def _for_likes(parts: Sequence[Lists], names: tuple[str, ...], seed: int) -> ForLikes | None:
    """Choose and judge the weights for people who name a few items; None where there are no two of them, or no text."""
    if sum(len(part.counts) for part in parts) < LEAST_USERS:
        return None
    lists = Lists.joined(parts)
    halves = _halves([len(part.counts) for part in parts], seed)
    choose = partial(_chosen, "weighted", names, seed=seed)
    ours, text = _judged(lists, halves, choose), lists.figures(_by_text(names))
    gain = compare(ours, [text], seed)[0]
    return ForLikes(choose(lists), float(np.mean(ours)), float(np.mean(text)), gain.low > 0)


def _by_text(names: tuple[str, ...]) -> Fusion:
    """The text alone, which has learnt from nobody's events."""
    return Fusion(SINGLE, names, weights=tuple(float(name == TEXT) for name in names))


def _judged(lists: Lists, halves: Sequence[NDArray[np.int64]], choose: Callable[[Lists], Fusion]) -> Figures:
    """NDCG@10 of each user by the constants that were chosen on the other half."""
    found = np.empty(len(lists.counts))
    for chosen, judged in (halves, halves[::-1]):
        found[judged] = lists.take(judged).figures(choose(lists.take(chosen)))
    return found


def _halves(sizes: Sequence[int], seed: int) -> list[NDArray[np.int64]]:
    """Rows to choose constants on, and rows to judge them by: some draws of items and others, or some users of one."""
    if len(sizes) > 1:
        cut = sum(sizes[: len(sizes) // 2])
        return [np.arange(cut, dtype=np.int64), np.arange(cut, sum(sizes), dtype=np.int64)]
    drawn = np.random.default_rng(seed).permutation(sizes[0])
    return [np.sort(half) for half in np.array_split(drawn, 2)]


def proven(figures: dict[Strategy, Figures], seed: int) -> Strategy:
    """The best strategy if its gain over the best scorer alone is proven, else that scorer.

    Proven: a p-value below .05 that allows for its being the best of five (`reality_check`).
    """
    gains = np.stack([figures[name] - figures[SINGLE] for name in STRATEGIES], axis=1)
    best = int(gains.mean(axis=0).argmax())
    return STRATEGIES[best] if gains[:, best].mean() > 0 and reality_check(gains, seed) < LEVEL else SINGLE


def make_live(study: Study, winners: Sequence[Tuned], command: str, watch: Watch) -> Fusions:
    """Choose the constants on validation, train the scorers on all events, and let `whyrec recommend` use the best.

    Raises:
        SplitError: no user has a relevant item to validate on.
    """
    watch.start("Putting scorers together", len(winners) + 2 + len(STRATEGIES))
    fusions = find_fusions(study, winners, watch.advance)
    likes = fusions.likes
    watch.start("Training on all events", len(winners))
    scorers, everything = [], study.everything()
    for winner in winners:
        kind = SCORERS[winner.scorer]
        scorers.append(kind.fit(everything, kind.config_type.from_json(winner.parameters)))
        watch.advance()
    made = {
        "command": command,
        "seen": Seen.of(study.workspace).to_json(),
        "validation": {
            "split": study.name,
            "seed": study.seed,
            "fingerprint": study.split.fingerprint,
            "ndcg@10": {str(name): value for name, value in [*fusions.values.items(), *fusions.singles.items()]},
            f"ndcg@10 of {LIKES} likes": {"weighted": likes.value, TEXT: likes.by_text} if likes else None,
        },
        "versions": versions(),
    }
    folder = study.workspace.root / "models" / "fusion"
    fingerprints = study.workspace.catalog_fingerprint, study.workspace.events_fingerprint
    for_likes = likes.fusion if likes and likes.proven else None
    saved = fusions.strategies, fusions.best, scorers, *fingerprints, made
    save_fusion(folder, *saved, space=study.space, likes=for_likes)
    return fusions


def renew_live(study: Study, kept: KeptFusion, watch: Watch) -> None:
    """Train the scorers of a fusion on all events and items there are now, with the constants as they were."""
    watch.start("Training the scorers anew", len(kept.configs))
    scorers, everything = [], study.everything()
    for name, config in kept.configs.items():
        scorers.append(SCORERS[name].fit(everything, config))
        watch.advance()
    workspace = study.workspace
    fingerprints = workspace.catalog_fingerprint, workspace.events_fingerprint
    made = {**kept.made, "seen": Seen.of(workspace).to_json()}
    saved = kept.fusions, kept.best, scorers, *fingerprints, made
    save_fusion(workspace.root / "models" / "fusion", *saved, space=study.space, likes=kept.likes)


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
