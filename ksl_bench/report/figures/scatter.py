"""Scores against what they take: trainable parameters, device-hours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ksl_bench.leaderboard import Board
from ksl_bench.leaderboard.gains import headline
from ksl_bench.leaderboard.tables import human_count
from ksl_bench.leaderboard.verdicts import unit
from ksl_bench.report.figures.canvas import INK, Style, bare, draw, legend, printable, styles
from ksl_bench.report.figures.figure import (
    Figure,
    Row,
    anchor,
    basis,
    conditions,
    home_rows,
    titled,
    told,
    where,
)
from ksl_bench.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STEP = 0.07
"""Decades by which points of one abscissa are moved apart, where there is room."""


@dataclass(frozen=True, slots=True)
class Against:
    """What the scores are drawn against."""

    name: str
    title: str
    axis: str
    read: Callable[[Row], float]
    show: Callable[[float], str]
    remark: str
    spread: bool
    """Whether points of one value are moved apart: a count that rows share; what was measured stays."""


def scores_against_parameters(board: Board, store: Store) -> Iterator[Figure]:
    """Draw scores against trainable parameters; what trains none has a place of its own."""
    remark = (
        "What trains nothing stands at the left of the axis. Points of one count are moved sideways, by less "
        "than half the way to the next."
    )
    against = Against(
        "parameters",
        "Score against trainable parameters",
        "trainable parameters",
        lambda row: float(row["trainable_parameters"] or 0),
        human_count,
        remark,
        spread=True,
    )
    yield from _scatters(board, against)


def scores_against_cost(board: Board, store: Store) -> Iterator[Figure]:
    """Draw scores against device-hours, selection and search among them."""
    remark = (
        "Device-hours of one run: selection, tuning, evaluation, and the search for its settings."
    )
    against = Against(
        "cost",
        "Score against cost",
        "device-hours",
        lambda row: float(row["cost"]["total_device_hours"]),
        lambda hours: f"{hours:.2g}",
        remark,
        spread=False,
    )
    yield from _scatters(board, against)


def _scatters(board: Board, against: Against) -> Iterator[Figure]:
    for condition in conditions(board):
        rows = [row for row in home_rows(board, condition) if row["cost"] is not None]
        if len(rows) > 1:
            yield _scatter(board, condition, rows, against)


def _scatter(board: Board, condition: str, rows: Sequence[Row], against: Against) -> Figure:
    rule, points = board.spec.rule, unit(rows[0])
    scores = [row["scores"][rule][headline(row)] for row in rows]
    values = [against.read(row) for row in rows]
    front = pareto(values, [one["value"] for one in scores])
    title = titled(board, against.title, condition)
    names = ", ".join(rows[place]["baseline"] for place in front)
    alternative = f"On the Pareto front, by {against.axis}: {names}."
    several = len({row["k"] for row in rows} - {None}) > 1
    caption = (
        f"{points} {where(rule)} against {against.axis} (logarithmic). {basis(rows, scores)} "
        f"{against.remark} Step line: the Pareto front of the means; it takes no account of the intervals. "
        + ("The larger a ticket, the larger its marker." if several else "")
    ).rstrip()
    name = anchor("figure", against.name, condition)
    families = family_names(rows)
    known = styles(list(families))

    def paint(axes: Axes) -> None:
        true = abscissae(values, spread=False)
        places = abscissae(values, spread=against.spread)
        sizes = _marker_sizes(rows)
        for place, family in enumerate(families):
            _point(axes, places[place], scores[place], known[family], sizes[place])
        _front(axes, [true[one] for one in front], [scores[one]["value"] for one in front])
        _ticks(axes, values, against)
        axes.set_xlabel(against.axis)
        axes.set_ylabel(f"{points} {where(rule)}")
        bare(axes)
        legend(axes, _handles(known))

    order = sorted(range(len(rows)), key=lambda place: (values[place], rows[place]["baseline"]))
    lines = tuple(
        (
            rows[place]["baseline"],
            against.show(values[place]),
            told(scores[place]),
            "yes" if place in front else "",
        )
        for place in order
    )
    height = max(3.6, 0.19 * len(known) + 0.6)
    svg = draw(name, title, alternative, (7.0, height), paint)
    columns = ("baseline", against.axis, points, "on the front")
    return Figure(name, title, svg, caption, alternative, columns, lines)


def family_names(rows: Sequence[Row]) -> list[str]:
    """Return what each row is told apart by: its criterion and method, or its name where it is alone."""
    kinds = [(row["method"], row["criterion"]) for row in rows]
    verbs = {"partial_tuning": "tuned", "partial_transfer": "transferred"}
    several = len({method for method, criterion in kinds if criterion}) > 1
    names = []
    for row, (method, criterion) in zip(rows, kinds, strict=True):
        if kinds.count((method, criterion)) == 1:
            names.append(row["baseline"])
        elif criterion is None:
            names.append(method)
        else:
            names.append(f"{criterion}, {verbs.get(method, method)}" if several else criterion)
    return names


def pareto(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Return the places that no other beats in one and matches in the other, the cheapest first."""
    front: list[int] = []
    for place in sorted(range(len(costs)), key=lambda one: (costs[one], -scores[one])):
        if not front or scores[place] > scores[front[-1]]:
            front.append(place)
    return front


def abscissae(values: Sequence[float], *, spread: bool) -> list[float]:
    """Return log10 of values, 0 at a place left of all others.

    Args:
        values: At least 0.
        spread: Whether those of one value are moved apart, each by a third of the way to the next value at
            most, so that different values never change places.
    """
    logs = [math.log10(one) if one > 0 else _zero(values) for one in values]
    if not spread:
        return logs
    moved = list(logs)
    known = sorted(set(logs))
    for log in known:
        members = [place for place, one in enumerate(logs) if one == log]
        around = [abs(other - log) for other in known if other != log]
        limit = min(around, default=1.0) / 3
        middle = (len(members) - 1) / 2
        step = min(_STEP, limit / middle) if middle else 0.0
        for number, place in enumerate(members):
            moved[place] = log + (number - middle) * step
    return moved


def _zero(values: Sequence[float]) -> float:
    smallest = min((one for one in values if one > 0), default=1.0)
    return math.log10(smallest) - 0.8


def _marker_sizes(rows: Sequence[Row]) -> list[float]:
    sizes = sorted({row["k"] for row in rows if row["k"] is not None})
    middle = (len(sizes) - 1) / 2
    return [
        6.0 if row["k"] is None else max(4.0, 6.0 + 1.5 * (sizes.index(row["k"]) - middle))
        for row in rows
    ]


def _point(axes: Axes, x: float, score: Row, style: Style, size: float) -> None:
    ends = [[score["value"] - score["low"]], [score["high"] - score["value"]]]
    axes.errorbar(
        [x],
        [score["value"]],
        yerr=ends,
        fmt=style.marker,
        color=style.colour,
        markersize=size,
        elinewidth=0.9,
        capsize=2,
        zorder=3,
    )


def _front(axes: Axes, xs: Sequence[float], ys: Sequence[float]) -> None:
    axes.step(xs, ys, where="post", color=INK, linewidth=1.0, linestyle=(0, (4, 2)), zorder=2)


def _handles(known: dict[str, Style]) -> list[object]:
    from matplotlib.lines import Line2D

    points: list[object] = [
        Line2D([], [], linestyle="none", marker=one.marker, color=one.colour, label=printable(name))
        for name, one in known.items()
    ]
    front = Line2D([], [], color=INK, linewidth=1.0, linestyle=(0, (4, 2)), label="Pareto front")
    return [*points, front]


def _ticks(axes: Axes, values: Sequence[float], against: Against) -> None:
    """Label 1, 2 and 5 of every decade, only the 1 where that would be too many; and the place of 0."""
    positive = [one for one in values if one > 0]
    places: list[float] = []
    texts: list[str] = []
    if len(positive) < len(values):
        zero = _zero(values)
        places, texts = [zero], ["0"]
        axes.axvline(zero + 0.4, color=INK, linewidth=0.8, linestyle=":")
    if positive:
        low, high = math.log10(min(positive)), math.log10(max(positive))
        steps = (1,) if high - low > 2 else (1, 2, 5)
        for decade in range(math.floor(low) - 1, math.ceil(high) + 1):
            for step in steps:
                log = decade + math.log10(step)
                if low - 0.1 <= log <= high + 0.1:
                    places.append(log)
                    texts.append(against.show(step * 10.0**decade))
    axes.set_xticks(places, texts)
