"""From figures of users to the rows of a report, each with its interval."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from agent.evaluation.measure import DEEP, Key, Measured
from retrieval.metrics import Figures
from retrieval.significance import bootstrap_means, compare, holm, interval

PRIMARY = Key("all", "ndcg", 10)
COMPARED = (PRIMARY, Key("all", "recall", 10), Key("all", "recall", DEEP))
ITEM_GROUPS = ("all", "item", "popularity")
POOLED = {"accuracy": "right", "rmse": "squared-error"}  # by events, not by users
FEWEST = 5  # users that a group needs to be reported


@dataclass(frozen=True)
class Row:
    """One figure of the report; low and high bound its 95 % interval; seed None: over all seeds."""

    data: str
    split: str
    system: str
    stratum: str
    metric: str
    k: int
    mean: float | None
    low: float | None
    high: float | None
    n_users: int
    seed: int | None


@dataclass(frozen=True)
class Rows:
    """Makes the rows of one data set and split."""

    data: str
    split: str
    seed: int = 0

    def of(self, runs: Sequence[Measured]) -> list[Row]:
        """The rows of one system, measured with one or more seeds: over all seeds in full, for each seed overall."""
        rows = self._of(pooled(runs), None)
        if len(runs) > 1:
            for run in runs:
                overall = {key: values for key, values in run.by_user.items() if key.stratum == "all"}
                rows += self._of(replace(run, by_user=overall), run.seed)
        return rows

    def _of(self, run: Measured, seed: int | None) -> list[Row]:
        figures = {key: v for key, v in run.by_user.items() if key.stratum == "all" or (~np.isnan(v)).sum() >= FEWEST}
        resampled = bootstrap_means(np.stack(list(figures.values()), axis=1), self.seed)
        column = {key: place for place, key in enumerate(figures)}
        rows = []
        for key, values in figures.items():
            if key.metric in ("events", *POOLED.values()):
                continue
            low, high = interval(resampled[:, column[key]])
            rows.append(self._row(run, seed, key, _mean(values), low, high, int((~np.isnan(values)).sum())))
        events = column.get(Key("all", "events", 0))
        for metric, sums in POOLED.items():
            if Key("all", sums, 0) in column and events is not None:
                rows.append(
                    self._pooled_row(run, seed, metric, figures, resampled[:, [column[Key("all", sums, 0)], events]])
                )
        rows += self._gaps(run, seed, figures, resampled, column)
        return rows + [
            self._row(run, seed, key, value, None, None, len(run.users)) for key, value in run.totals.items()
        ]

    def _gaps(
        self,
        run: Measured,
        seed: int | None,
        figures: Mapping[Key, Figures],
        resampled: Figures,
        column: Mapping[Key, int],
    ) -> list[Row]:
        """For each way of grouping users, the highest minus the lowest group mean of NDCG@10.

        The interval is of the difference between these two groups.
        """
        groups: dict[str, list[Key]] = {}
        for key in figures:
            name = key.stratum.partition("=")[0]
            if name not in ITEM_GROUPS and (key.metric, key.k) == (PRIMARY.metric, PRIMARY.k):
                groups.setdefault(name, []).append(key)
        rows = []
        for name, keys in groups.items():
            if len(keys) > 1:
                means = [_mean(figures[key]) for key in keys]
                high, low = (column[keys[int(find(means))]] for find in (np.argmax, np.argmin))
                gap, spread = float(np.ptp(means)), resampled[:, high] - resampled[:, low]
                users = int((~np.isnan(np.stack([figures[key] for key in keys]))).any(axis=0).sum())
                rows.append(self._row(run, seed, Key(name, "ndcg-gap", 10), gap, *interval(spread), users))
        return rows

    def _pooled_row(
        self, run: Measured, seed: int | None, metric: str, figures: Mapping[Key, Figures], resampled: Figures
    ) -> Row:
        sums, events = figures[Key("all", POOLED[metric], 0)], figures[Key("all", "events", 0)]
        mean, spread = np.nansum(sums) / np.nansum(events), resampled[:, 0] / resampled[:, 1]
        if metric == "rmse":
            mean, spread = np.sqrt(mean), np.sqrt(spread)
        return self._row(run, seed, Key("all", metric, 0), float(mean), *interval(spread), int((events > 0).sum()))

    def _row(
        self, run: Measured, seed: int | None, key: Key, mean: float, low: float | None, high: float | None, users: int
    ) -> Row:
        mean, low, high = (_plain(value) for value in (mean, low, high))  # type: ignore[assignment]
        return Row(self.data, self.split, run.system, *key, mean, low, high, users, seed)


def pooled(runs: Sequence[Measured]) -> Measured:
    """Several seeds as one: each user's mean over the seeds that say something about them, and the mean of totals."""
    if len(runs) == 1:
        return runs[0]
    users = tuple(sorted({user for run in runs for user in run.users}))
    row_of = {user: row for row, user in enumerate(users)}
    found = Measured(runs[0].system, runs[0].seed, users)
    for key in _shared(run.by_user for run in runs):
        sums, counts = np.zeros(len(users)), np.zeros(len(users))
        for run in runs:
            rows, values = np.array([row_of[user] for user in run.users]), run.by_user[key]
            known = ~np.isnan(values)
            sums[rows[known]] += values[known]
            counts[rows[known]] += 1
        found.by_user[key] = np.divide(sums, counts, out=np.full(len(users), np.nan), where=counts > 0)
    for key in _shared(run.totals for run in runs):
        found.totals[key] = float(np.mean([run.totals[key] for run in runs]))
    return found


def _shared(parts: Iterable[Mapping[Key, Any]]) -> list[Key]:
    """Keys that any of them has and all have."""
    kept = [dict(part) for part in parts]
    return [key for key in kept[0] if all(key in part for part in kept)]


def comparisons(runs: Mapping[str, Measured], reference: str | None, seed: int = 0) -> list[dict[str, Any]]:
    """Each system against the reference (None: the best one by the metric at hand), paired by user, Holm-corrected.

    The correction is over the systems, for each metric by itself.
    """
    found = []
    for key in COMPARED if len(runs) > 1 else ():
        means = {name: np.nan_to_num(_mean(run.by_user[key]), nan=-1.0) for name, run in runs.items()}
        best = reference or max(means, key=lambda name: means[name])
        others = [name for name in runs if name != best]
        ours = runs[best].by_user[key]
        against = compare(ours, [_aligned(runs[name], runs[best].users, key) for name in others], seed)
        corrected = holm([difference.p for difference in against])
        for name, one, p in zip(others, against, corrected, strict=True):
            figures = {k: _plain(v) for k, v in asdict(one).items() if k != "users"}
            place = {"system": best, "reference": name, "metric": key.metric, "k": key.k}
            found.append({**place, **figures, "p_holm": _plain(p), "n_users": one.users})
    return found


def _aligned(run: Measured, users: tuple[str, ...], key: Key) -> Figures:
    if run.users == users:
        return run.by_user[key]
    values = dict(zip(run.users, run.by_user[key], strict=True))
    return np.array([values.get(user, np.nan) for user in users])


def _mean(values: Figures) -> float:
    return float(np.nanmean(values)) if (~np.isnan(values)).any() else float("nan")


def _plain(value: float | None) -> float | None:
    """Six significant digits, None for what is no number."""
    return None if value is None or np.isnan(value) else float(f"{value:.6g}")
