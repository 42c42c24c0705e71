"""The plots of a report as inline SVG (`agent.evaluation.svg`).

Names of systems are shown as they are, never read as TeX, and shortened in the middle above `LONGEST` characters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from agent.evaluation.svg import DOTS, INK, LINE, MUTED, PAPER, VARIABLES, as_svg

WIDTH = 480  # pixels
LONGEST = 26
MOST_IN_PANEL = 8  # systems, and strata, in a plot by stratum
# Okabe & Ito (2008) without yellow, which is lost on white; their black is the page's ink.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#010101")
MARKERS = {"o": "M1 6a5 5 0 1 0 10 0a5 5 0 1 0-10 0z", "s": "M2 2h8v8h-8z", "D": "M6 .5L11.5 6L6 11.5L.5 6z"}
DECADES = 1_000  # the range up to which 2 and 5 are marked on a logarithmic axis
ROOM, CROWDED = 44, 24  # characters side by side below an axis; markers in a panel from which they shrink
DISTANCES, DIRECTIONS = (4, 13, 24, 38), 12  # where a label may stand around its marker
Boxes = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval, None where there is none."""

    mean: float
    low: float | None = None
    high: float | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest value to draw."""
        known = [value for value in (self.low, self.mean, self.high) if value is not None]
        return min(known), max(known)


@dataclass(frozen=True)
class Style:
    """How a system looks in every plot."""

    colour: str
    marker: str


@dataclass(frozen=True)
class Point:
    """A system in a plot of two figures. note: printed behind its name; share: area of its marker, 0 to 1."""

    system: str
    x: Estimate
    y: Estimate
    note: str = ""
    share: float = 0.06


def styles_of(systems: Sequence[str]) -> dict[str, Style]:
    """A colour and a shape for each system; the first 21 differ, neighbours differ in both."""
    shapes = tuple(MARKERS)
    return {name: Style(PALETTE[i % len(PALETTE)], shapes[i % len(shapes)]) for i, name in enumerate(systems)}


def swatch(style: Style) -> str:
    """The marker of a system as a small inline SVG, for tables and legends."""
    colour = VARIABLES.get(style.colour, style.colour)
    return (
        f'<svg class="swatch" viewBox="0 0 12 12" aria-hidden="true"><path d="{MARKERS[style.marker]}" '
        f'style="fill: {colour}"/></svg>'
    )


def plot_ranking(estimates: Mapping[str, Estimate], styles: Mapping[str, Style], numbers: Mapping[str, str]) -> str:
    """Each system's figure with its interval, the first at the top; ``numbers`` are printed at the right."""
    figure, axes = _canvas(46 + 25 * len(estimates))
    right = axes.get_yaxis_transform()
    for place, (name, estimate) in enumerate(estimates.items()):
        axes.plot(estimate.ends, [place, place], color=styles[name].colour, linewidth=2, solid_capstyle="butt")
        _mark(axes, estimate.mean, place, styles[name], 8)
        axes.text(1.02, place, numbers[name], transform=right, va="center", color=INK, fontsize=12)
    axes.set_yticks(range(len(estimates)), [_short(name) for name in estimates], parse_math=False, color=INK)
    axes.set_ylim(len(estimates) - 0.4, -0.6)
    axes.set_xlim(*_limits(list(estimates.values())))
    axes.grid(axis="x", color=LINE, linewidth=0.8)
    said = ", ".join(f"{name} {numbers[name]}" for name in estimates)
    return as_svg(figure, "ranking", f"Systems from best to worst, with 95 % intervals: {said}")


def plot_strata(
    groups: Mapping[str, Mapping[str, Mapping[str, Estimate]]], styles: Mapping[str, Style]
) -> dict[str, str]:
    """For each group a panel: strata on the x axis, systems side by side; all panels have the same y axis.

    groups: group → stratum → system → estimate. The caller leaves out what is beyond `MOST_IN_PANEL`.
    """
    limits = _limits([one for strata in groups.values() for systems in strata.values() for one in systems.values()])
    return {group: _panel(group, strata, styles, limits) for group, strata in groups.items()}


def _panel(
    group: str,
    strata: Mapping[str, Mapping[str, Estimate]],
    styles: Mapping[str, Style],
    limits: tuple[float, float],
) -> str:
    figure, axes = _canvas(250)
    shown = [name for name in styles if any(name in systems for systems in strata.values())]
    step = 0.76 / len(shown)
    for place, systems in enumerate(strata.values()):
        if place % 2:
            axes.axvspan(place - 0.5, place + 0.5, color=LINE, alpha=0.35, linewidth=0)
        for name, estimate in systems.items():
            x = place + (shown.index(name) - (len(shown) - 1) / 2) * step
            axes.plot([x, x], estimate.ends, color=styles[name].colour, linewidth=1.5, solid_capstyle="butt")
            _mark(axes, x, estimate.mean, styles[name], 7 if len(shown) * len(strata) <= CROWDED else 5)
    labels = [_short(name) for name in strata]
    crowded = max(map(len, labels)) * len(labels) > ROOM
    tilt: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    axes.set_xticks(range(len(strata)), labels, parse_math=False, color=INK, **tilt)
    axes.set_xlim(-0.5, len(strata) - 0.5)
    axes.set_ylim(*limits)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    said = [[stratum, *(f"{one} {systems[one].mean:.3g}" for one in systems)] for stratum, systems in strata.items()]
    return as_svg(figure, f"panel-{group}", f"By {group}. {'; '.join(', '.join(part) for part in said)}")


def plot_tradeoff(
    name: str,
    points: Sequence[Point],
    styles: Mapping[str, Style],
    labels: tuple[str, str],
    logarithmic: bool = False,
    curves: Sequence[Sequence[str]] = (),
) -> str:
    """Two figures of each system against each other, systems named beside their markers; ``labels`` are of x and y.

    ``logarithmic`` is for the x axis, whose values must then be positive. ``name`` is one word, unique on the page.
    ``curves``: systems that a line joins.
    """
    figure, axes = _canvas(360)
    axes.set_xlim(*_limits([point.x for point in points], logarithmic))
    axes.set_ylim(*_limits([point.y for point in points]))
    if logarithmic:
        _logarithmic(axes)
    axes.set_xlabel(labels[0], color=MUTED, fontsize=12, parse_math=False)
    axes.set_title(labels[1], loc="left", color=MUTED, fontsize=12, parse_math=False)
    axes.grid(color=LINE, linewidth=0.8)
    at = {point.system: (point.x.mean, point.y.mean) for point in points}
    for curve in curves:
        axes.plot(*zip(*(at[one] for one in curve if one in at), strict=True), color=MUTED, linewidth=1)
    for point in points:
        style = styles[point.system]
        for xs, ys in ((point.x.ends, [point.y.mean] * 2), ([point.x.mean] * 2, point.y.ends)):
            axes.plot(xs, ys, color=style.colour, linewidth=1, alpha=0.5, solid_capstyle="butt")
        _mark(axes, point.x.mean, point.y.mean, style, _size(point))
    figure.draw_without_rendering()  # settles where the axes are
    _name_points(axes, points)
    said = ", ".join(f"{point.system} ({point.x.mean:.3g}, {point.y.mean:.3g})" for point in points)
    return as_svg(figure, name, f"{labels[1]} against {labels[0]}: {said}")


def _canvas(height: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH / DOTS, height / DOTS), dpi=DOTS, layout="constrained", facecolor="none")
    FigureCanvasAgg(figure)  # measures text
    axes = figure.add_subplot(facecolor="none")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=12, labelcolor=MUTED, pad=6)
    plain = FuncFormatter(lambda value, _: f"{value:,.10g}".replace("-", "−"))
    axes.xaxis.set_major_formatter(plain)
    axes.yaxis.set_major_formatter(plain)
    return figure, axes


def _logarithmic(axes: Axes) -> None:
    low, high = axes.get_xlim()
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < DECADES else (1.0,)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def _limits(estimates: Sequence[Estimate], logarithmic: bool = False) -> tuple[float, float]:
    """A little more than all intervals take; never below 0 where no value is."""
    low, high = min(one.ends[0] for one in estimates), max(one.ends[1] for one in estimates)
    if logarithmic:
        margin = max((high / low) ** 0.08, 1.25)
        return low / margin, high * margin
    margin = (high - low) * 0.06 or max(abs(high) * 0.1, 0.01)
    return (max(0.0, low - margin) if low >= 0 else low - margin), high + margin


def _size(point: Point) -> float:
    return 6 + 14 * float(np.sqrt(max(point.share, 0.0)))  # pixels


def _mark(axes: Axes, x: float, y: float, style: Style, size: float) -> None:
    axes.plot(
        [x], [y], linestyle="none", marker=style.marker, markersize=size, color=style.colour,
        markeredgecolor=PAPER, markeredgewidth=1, clip_on=False, zorder=3,
    )  # fmt: skip


def _short(name: str) -> str:
    text = " ".join(name.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 9]}…{text[-8:]}"


def _name_points(axes: Axes, points: Sequence[Point]) -> None:
    """Write each system's name where it covers least of the other names, of the markers and of the intervals.

    Names are moved in turn, three times each, to the best of 48 places around their marker; those that had to go far
    get a thin line to it.
    """
    centres = axes.transData.transform([(point.x.mean, point.y.mean) for point in points])
    texts = [" ".join([_short(point.system), point.note]).strip() for point in points]
    boxes = np.concatenate([np.full((len(points), 4), -1e6), _drawn_boxes(axes, points, centres)])
    chosen = [(0.0, 0.0, 0)] * len(points)
    for index in [*range(len(points))] * 3:
        places = _places(_size(points[index]) / 2)
        options = np.array([_text_box(centres[index], place, texts[index]) for place in places])
        cost = _overlaps(options, np.delete(boxes, index, axis=0)) + 4 * np.array([ring for _, _, ring in places])
        outside = (options[:, 2:] - options[:, :2]).prod(axis=1) - _overlaps(options, np.array([axes.bbox.extents]))
        best = int(np.argmin(cost + 5 * outside))
        boxes[index], chosen[index] = options[best], places[best]
    for point, text, (right, up, ring) in zip(points, texts, chosen, strict=True):
        line = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.7, "shrinkA": 1, "shrinkB": _size(point) / 2}
        axes.annotate(
            text, (point.x.mean, point.y.mean), (right, up), textcoords="offset points", va="center", ha=_side(right),
            fontsize=11, color=INK, parse_math=False, zorder=4, arrowprops=line if ring > 0 else None,
        )  # fmt: skip


def _places(radius: float) -> list[tuple[float, float, int]]:
    """Offsets (right, up, ring) for a name around a marker: the right first, the left next, then all around."""
    turns = sorted(np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS, key=lambda turn: -abs(np.cos(turn)))
    return [
        (float((radius + away) * np.cos(turn)), float((radius + away + 3) * np.sin(turn)), ring)
        for ring, away in enumerate(DISTANCES)
        for turn in turns
    ]


def _side(right: float) -> Literal["left", "center", "right"]:
    return "center" if abs(right) < 1 else "left" if right > 0 else "right"


def _text_box(centre: Boxes, place: tuple[float, float, int], text: str) -> list[float]:
    width = 6.2 * len(text)  # about: the reader's font is not known
    start = {"left": 0.0, "center": -width / 2, "right": -width}[_side(place[0])]
    x, y = centre[0] + place[0] + start, centre[1] + place[1]
    return [x, y - 7, x + width, y + 7]


def _drawn_boxes(axes: Axes, points: Sequence[Point], centres: Boxes) -> Boxes:
    """The boxes (left, bottom, right, top) of all markers and intervals."""
    radius = np.array([[_size(point) / 2] for point in points])
    ends = [(x, one.y.mean) for one in points for x in one.x.ends]
    ends += [(one.x.mean, y) for one in points for y in one.y.ends]
    lines = axes.transData.transform(ends).reshape(-1, 4) + np.array([-0.7, -0.7, 0.7, 0.7])
    return np.concatenate([np.hstack([centres - radius, centres + radius]), lines])


def _overlaps(options: Boxes, others: Boxes) -> Boxes:
    """(p,) the area in square pixels that each option shares with all the others."""
    low, high = np.maximum(options[:, None, :2], others[:, :2]), np.minimum(options[:, None, 2:], others[:, 2:])
    return np.asarray((high - low).clip(min=0).prod(axis=2).sum(axis=1))
