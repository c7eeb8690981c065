"""Scores against the size of a ticket, a line a criterion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ksl_bench.leaderboard import Board
from ksl_bench.leaderboard.gains import headline
from ksl_bench.leaderboard.verdicts import unit
from ksl_bench.report.figures.canvas import bare, draw, legend, printable, styles
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

_FEW = 3
"""Bands that may lie over each other before they must be fainter."""
_VERBS = {"partial_tuning": "rows tuned", "partial_transfer": "rows transferred"}


def scores_against_size(board: Board, store: Store) -> Iterator[Figure]:
    """Draw, a condition, the criteria that the suite has at two sizes or more."""
    for condition in conditions(board):
        lines: dict[str, dict[int, Row]] = {}
        for row in home_rows(board, condition):
            if row["criterion"] is not None and row["ticket_sizes"]:
                verb = _VERBS.get(row["method"], row["method"])
                size = int(max(row["ticket_sizes"]))
                lines.setdefault(f"{row['criterion']}, {verb}", {}).setdefault(size, row)
        kept = {name: dict(sorted(one.items())) for name, one in lines.items() if len(one) > 1}
        if kept:
            yield _drawn(board, condition, kept)


def _drawn(board: Board, condition: str, lines: Mapping[str, Mapping[int, Row]]) -> Figure:
    rule = board.spec.rule
    rows = [row for line in lines.values() for row in line.values()]
    points = unit(rows[0])
    scores = {id(row): row["scores"][rule][headline(row)] for row in rows}
    title = titled(board, "Score against the size of a ticket", condition)
    name = anchor("figure", "sizes", condition)
    alternative = "Mean scores from the smallest ticket to the largest: " + "; ".join(
        f"{criterion} " + " to ".join(f"{scores[id(row)]['value']:.1f}" for row in line.values())
        for criterion, line in lines.items()
    )
    alternative += "."
    caption = (
        f"{points} {where(rule)} against the rows of a ticket (logarithmic). "
        f"{basis(rows, list(scores.values()), drawn='Bands')} Only criteria with two sizes or more."
    )

    def paint(axes: Axes) -> None:
        alpha = 0.14 if len(lines) <= _FEW else 0.06
        for criterion, style in styles(list(lines)).items():
            sizes = list(lines[criterion])
            numbers = [scores[id(row)] for row in lines[criterion].values()]
            low, high = [one["low"] for one in numbers], [one["high"] for one in numbers]
            axes.fill_between(sizes, low, high, color=style.colour, alpha=alpha, linewidth=0)
            axes.plot(
                sizes,
                [one["value"] for one in numbers],
                color=style.colour,
                marker=style.marker,
                linestyle=style.line,
                linewidth=1.5,
                markersize=5,
                label=printable(criterion),
            )
        _axis(axes, sorted({size for line in lines.values() for size in line}))
        axes.set_xlabel("rows of the ticket (k)")
        axes.set_ylabel(f"{points} {where(rule)}")
        bare(axes)
        legend(axes)

    svg = draw(name, title, alternative, (7.0, max(3.4, 0.2 * len(lines) + 1)), paint)
    numbers = tuple(
        (criterion, str(size), row["baseline"], told(scores[id(row)]))
        for criterion, line in lines.items()
        for size, row in line.items()
    )
    columns = ("criterion", "rows", "baseline", points)
    return Figure(name, title, svg, caption, alternative, columns, numbers)


def _axis(axes: Axes, sizes: Sequence[int]) -> None:
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
