"""The report of an evaluation as one self-contained HTML page."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from agent.evaluation import plots
from agent.evaluation.metric_texts import ACCURACY, BEYOND, COST, METRICS, RATINGS, describe

PROVEN = 0.05
_SHAPED = re.compile(r"(\w+)\+(\w+)=(\d*\.?\d+)")
Column = tuple[str, int, str]  # metric, k, stratum
Table = tuple[Sequence[Column], Mapping[str, Sequence["Cell"]]]  # columns, and by system a cell for each of them


@dataclass(frozen=True)
class Lead:
    """What one system gains over another, above 0 where it is better, and how sure that is."""

    delta: float
    ends: tuple[float, ...]  # the 95 % interval, empty where there is none
    p: float

    @property
    def proven(self) -> bool:
        """Whether there is a gain beyond chance, after Holm's correction."""
        return self.p < PROVEN and self.delta > 0


@dataclass(frozen=True)
class Cell:
    """A figure in a table. best: none in its column is better; level: it cannot be told apart from the best."""

    text: str = "–"
    interval: str = ""
    best: bool = False
    level: bool = False


class Results:
    """The figures over all seeds, and what the comparisons prove; systems are ordered by the primary metric.

    columns: (metric, k, stratum) → system → figure. users: the most users behind a figure of a column.
    by_seed: the primary metric, seed → system → mean. Figures that are null or not finite are left out.
    """

    def __init__(self, report: Mapping[str, Any]):
        primary, rows, comparisons = report["meta"]["primary"], report["rows"], report["comparisons"]
        self.primary: Column = (primary["metric"], primary["k"], "all")
        self.columns: dict[Column, dict[str, plots.Estimate]] = {}
        self.users: dict[Column, int] = {}
        self.by_seed: dict[int, dict[str, float]] = {}
        for row in rows:
            self._add(row)
        self._comparisons = {(one["system"], one["reference"], one["metric"], one["k"]): one for one in comparisons}
        better, figures = describe(self.primary[0]).better or 1, self.columns.get(self.primary, {})
        self.leading = sorted(figures, key=lambda name: (-better * figures[name].mean, name))
        names = {one[end] for one in (*rows, *comparisons) for end in ("system", "reference") if end in one}
        self.systems = self.leading + sorted(names - set(self.leading))

    def _add(self, row: Mapping[str, Any]) -> None:
        column, mean = (row["metric"], row["k"], row["stratum"]), _known(row["mean"])
        if row["seed"] is not None and mean is not None and column == self.primary:
            self.by_seed.setdefault(row["seed"], {})[row["system"]] = mean
        if row["seed"] is not None or mean is None:
            return
        figures = self.columns.setdefault(column, {})
        if row["system"] in figures:
            raise ValueError(f"the report has two figures of {row['system']!r} for {column} over all seeds")
        figures[row["system"]] = plots.Estimate(mean, _known(row["low"]), _known(row["high"]))
        self.users[column] = max(self.users.get(column, 0), row["n_users"] or 0)

    def lead(self, system: str, other: str, column: Column) -> Lead | None:
        """What ``system`` gains over ``other``; of two comparisons the less sure one, None if there is none."""
        better, found = describe(column[0]).better or 1, []
        for sign, ours, theirs in ((better, system, other), (-better, other, system)):
            one = self._comparisons.get((ours, theirs, *column[:2]), {})
            gain, p = _known(one.get("delta")), _known(one.get("p_holm"))
            if column[2] == "all" and gain is not None and p is not None:
                ends = [_known(one["low"]), _known(one["high"])]
                found.append(Lead(sign * gain, tuple(sorted(sign * end for end in ends if end is not None)), p))
        return max(found, key=lambda lead: lead.p, default=None)

    def best(self, column: Column) -> list[str]:
        """The systems with the best figure, several where they are equal; none where no direction is better."""
        better = describe(column[0]).better or int(column == self.primary)
        figures = self.columns.get(column, {})
        top = max((better * one.mean for one in figures.values()), default=0.0)
        return [name for name in self.systems if better and name in figures and better * figures[name].mean == top]

    def level(self, column: Column) -> list[str]:
        """The systems that were compared with the best one and cannot be told apart from it."""
        best = self.best(column)
        leads = {name: self.lead(best[0], name, column) for name in self.systems if best and name not in best}
        return [name for name, lead in leads.items() if lead and not lead.proven]

    def of(self, metric: str) -> dict[str, plots.Estimate]:
        """System → figure of a metric over all users."""
        return self.columns.get(self.column_of(metric), {})

    def column_of(self, metric: str, stratum: str = "all") -> Column:
        """Where a metric stands: at the k of the primary metric, else at the first k that it has."""
        ks = [column[1] for column in self.columns if column[0] == metric and column[2] == stratum]
        return metric, self.primary[1] if self.primary[1] in ks or not ks else ks[0], stratum


def render_page(report: Mapping[str, Any]) -> str:
    """The page of a ``report.json``; it needs nothing beside itself, and shows – where a system has no figure.

    Raises:
        KeyError, jinja2.UndefinedError: the report lacks a part that every report has.
        ValueError: it has two figures over all seeds for the same system, stratum, metric and k.
    """
    results = Results(report)
    styles, place = plots.styles_of(results.systems), {name: i for i, name in enumerate(results.systems)}
    return _ENVIRONMENT.get_template("page.html.jinja").render(
        meta=report["meta"],
        results=results,
        tables=_tables(results),
        comparisons=sorted(report["comparisons"], key=lambda one: (place[one["system"]], place[one["reference"]])),
        strata=_strata(results),
        tradeoffs=_tradeoffs(results, styles),
        ranking=_ranking(results, styles),
        panels=_panels(results, styles),
        swatches={name: plots.swatch(style) for name, style in styles.items()},
        describe=describe,
        proven=PROVEN,
        most=plots.MOST_IN_PANEL,
    )


def _tables(results: Results) -> dict[str, Table]:
    """The tables by name; every figure over all users stands in one of them."""
    parts: dict[str, list[Column]] = {}
    for name, metrics in {"accuracy": ACCURACY, "ratings": RATINGS, "beyond": BEYOND, "cost": COST}.items():
        columns = [results.column_of(metric) for metric in metrics]
        parts[name] = [column for column in columns if column in results.columns and column != results.primary]
    parts["accuracy"] = [column for column in [results.primary, *parts["accuracy"]] if column in results.columns]
    placed = [column for columns in parts.values() for column in columns]
    for column in results.columns:
        if column not in placed and column[2] == "all":
            ours = column[0] not in METRICS and column == results.column_of(column[0])
            parts.setdefault("beyond" if ours else f"k = {column[1]}", []).append(column)
    parts["strata"] = [column for columns in _strata(results).values() for column in columns]
    return {name: _table(results, columns) for name, columns in parts.items() if columns}


def _strata(results: Results) -> dict[str, list[Column]]:
    """Group → the columns of the primary metric in its strata, and the gap between them if it was measured."""
    groups: dict[str, list[Column]] = {}
    for column in results.columns:
        if column[:2] == results.primary[:2] and column[2] != "all":
            groups.setdefault(column[2].partition("=")[0], []).append(column)
    gaps = {group: results.column_of(f"{results.primary[0]}-gap", group) for group in groups}
    return {group: groups[group] + [gap] * (gap in results.columns) for group, gap in gaps.items()}


def _table(results: Results, columns: Sequence[Column]) -> Table:
    """A row for each system that has a figure in one of the columns."""
    rows: dict[str, list[Cell]] = {name: [] for name in results.systems}
    for column in columns:
        figures, best, level = results.columns[column], results.best(column), results.level(column)
        for name, cells in rows.items():
            values = (one.mean, one.low, one.high) if (one := figures.get(name)) else (None, None, None)
            mean, *ends = (_number(value, column[0]) for value in values)
            interval = "" if "–" in ends else "–".join(ends)
            cells.append(Cell(mean, interval, name in best and len(figures) > 1, name in level))
    return columns, {name: cells for name, cells in rows.items() if any(cell != Cell() for cell in cells)}


def _ranking(results: Results, styles: Mapping[str, plots.Style]) -> str:
    metric, level = results.primary[0], results.level(results.primary)
    figures = {name: results.columns[results.primary][name] for name in results.leading}
    numbers = {name: _number(one.mean, metric) + " ≈" * (name in level) for name, one in figures.items()}
    return plots.plot_ranking(figures, styles, numbers) if figures else ""


def _panels(results: Results, styles: Mapping[str, plots.Style]) -> dict[str, str]:
    """Group → plot of the best systems in its strata, in the largest of these where there are many."""
    groups: dict[str, dict[str, dict[str, plots.Estimate]]] = {}
    shown = results.leading[: plots.MOST_IN_PANEL]
    for group, columns in _strata(results).items():
        strata = [one for one in columns if one[0] == results.primary[0] and results.columns[one].keys() & shown]
        largest = sorted(strata, key=lambda one: -results.users[one])[: plots.MOST_IN_PANEL]
        for one in (one for one in strata if one in largest):
            figures = {name: figure for name, figure in results.columns[one].items() if name in shown}
            groups.setdefault(group, {})[one[2].partition("=")[2] or group] = figures
    return plots.plot_strata(groups, styles) if groups else {}


def _tradeoffs(results: Results, styles: Mapping[str, plots.Style]) -> dict[str, str]:
    """Metric on the x axis → plot of the primary metric against it, where any system has both."""
    drawn, curves = {}, _curves(results.systems)
    for metric in ("latency-p50", "diversity", "popularity", *(("novelty", "miscalibration") if curves else ())):
        timed = metric == "latency-p50"
        figures = results.of(metric)
        shown = [name for name in results.leading if name in figures and (figures[name].mean > 0 or not timed)]
        points = [_point(results, name, metric) for name in shown]
        if points:
            labels = describe(metric).label, _label(results.primary)
            lines = [] if timed else curves
            drawn[metric] = plots.plot_tradeoff(metric, points, styles, labels, logarithmic=timed, curves=lines)
    return drawn


def _curves(systems: Sequence[str]) -> list[list[str]]:
    """Systems whose lists one step has shaped, the plain one first and then by strength."""
    found: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for name in systems:
        shaped = _SHAPED.fullmatch(name)
        if shaped and shaped[1] in systems:
            found.setdefault((shaped[1], shaped[2]), []).append((float(shaped[3]), name))
    return [[plain, *(name for _, name in sorted(one))] for (plain, _), one in found.items()]


def _point(results: Results, name: str, metric: str) -> plots.Point:
    """Latency reaches to its 95th percentile; beside popularity stands the coverage."""
    x, y = results.of(metric)[name], results.of(results.primary[0])[name]
    slow, coverage = results.of("latency-p95").get(name), results.of("coverage").get(name)
    if metric == "latency-p50" and slow:
        return plots.Point(name, plots.Estimate(x.mean, high=slow.mean), y)
    if metric == "popularity" and coverage:
        return plots.Point(name, x, y, f"{coverage.mean:.0%}", coverage.mean)
    return plots.Point(name, x, y)


def _known(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _number(value: float | None, metric: str, signed: bool = False) -> str:
    """As many decimals as the metric is shown with, – for what is not known."""
    decimals = describe(metric).decimals
    if value is None or _known(value) is None:
        return "–"
    if decimals is None:
        decimals = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:{'+' if signed else ''},.{decimals}f}".replace("-", "−")


def _label(column: Column) -> str:
    metric, k, _ = column
    return f"{describe(metric).label}@{k}" if metric in ACCURACY else describe(metric).label


def _pairs(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """What a nested mapping holds, as (names joined by a space, value)."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _pairs(part, f"{name} {key}".strip())
    else:
        yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


_ENVIRONMENT = Environment(loader=PackageLoader("agent", "evaluation"), autoescape=True, undefined=StrictUndefined)
_ENVIRONMENT.trim_blocks = _ENVIRONMENT.lstrip_blocks = True
_ENVIRONMENT.filters |= {"number": _number, "pairs": _pairs, "label": _label}
