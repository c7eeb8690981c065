"""What is left of a tuning under another condition: a matrix a baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ksl_bench.leaderboard import Board
from ksl_bench.leaderboard.gains import headline
from ksl_bench.leaderboard.verdicts import unit
from ksl_bench.report.figures.canvas import draw
from ksl_bench.report.figures.figure import Figure, Row, anchor, basis, conditions, told, where
from ksl_bench.report.figures.grids import Cell, paint_grid
from ksl_bench.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Scores = Mapping[tuple[str, str], Row]
"""Rows by the condition they were tuned under, then the one they were scored under."""


def transfer_matrices(board: Board, store: Store) -> Iterator[Figure]:
    """Draw a matrix for every baseline that was scored where it was not tuned."""
    for baseline in board.plan["suite"].get("transfer") or ():
        found = {
            (row["condition"], row["scored_under"]): row
            for row in board.rows
            if row["baseline"] == baseline and row["scores"] is not None
        }
        if any(tuned != scored for tuned, scored in found):
            yield _matrix(board, baseline, found)


def _matrix(board: Board, baseline: str, found: Scores) -> Figure:
    rule = board.spec.rule
    scores = {key: row["scores"][rule][headline(row)] for key, row in found.items()}
    points = unit(next(iter(found.values())))
    names = [one for one in conditions(board) if any(one in key for key in found)]
    title = f"Transfer between conditions, {baseline}"
    name = anchor("figure", "transfer", baseline)
    home = [one["value"] for key, one in scores.items() if key[0] == key[1]]
    away = [one["value"] for key, one in scores.items() if key[0] != key[1]]
    alternative = f"Scored elsewhere: {_span(away)} {points}" + (
        f"; where it was tuned: {_span(home)}." if home else "."
    )
    caption = (
        f"{points} {where(rule)} of {baseline}, tuned under the condition of the line and scored under that "
        f"of the column. {basis(list(found.values()), list(scores.values()), drawn='In brackets')}"
    )
    cells = [[_cell(scores.get((tuned, scored))) for scored in names] for tuned in names]

    def paint(axes: Axes) -> None:
        paint_grid(axes, names, names, cells)
        axes.set_xlabel("scored under")
        axes.set_ylabel("tuned under")

    size = (2.2 + 1.5 * len(names), 1.0 + 0.6 * len(names))
    svg = draw(name, title, alternative, size, paint)
    lines = tuple((tuned, scored, told(one)) for (tuned, scored), one in scores.items())
    columns = ("tuned under", "scored under", points)
    return Figure(name, title, svg, caption, alternative, columns, lines)


def _cell(score: Row | None) -> Cell:
    if score is None:
        return None
    return score["value"], f"{score['value']:.1f}\n[{score['low']:.1f}, {score['high']:.1f}]"


def _span(values: Sequence[float]) -> str:
    low, high = f"{min(values):.1f}", f"{max(values):.1f}"
    return low if low == high else f"{low} to {high}"
