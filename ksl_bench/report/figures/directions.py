"""Scores and gains of many directions: for every row a grid of sources and targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ksl_bench.leaderboard import Board
from ksl_bench.leaderboard.directions import bucket_of
from ksl_bench.leaderboard.gains import headline, shown_rules
from ksl_bench.leaderboard.verdicts import unit
from ksl_bench.report.figures.canvas import draw
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
from ksl_bench.report.figures.grids import Cell, paint_grid
from ksl_bench.store import Store
from ksl_bench.tasks.readings import DIRECTION

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def direction_maps(board: Board, store: Store) -> Iterator[Figure]:
    """Draw a grid of scores for every row that was scored in several directions, and one of its gains."""
    for condition in conditions(board):
        for row in home_rows(board, condition):
            if row["directions"] is not None:
                yield _maps(board, condition, row)


def _maps(board: Board, condition: str, row: Row) -> Figure:
    rule, metric, points = shown_rules(row)[1], headline(row), unit(row)
    scores = {one: by[rule][metric] for one, by in row["by_group"][DIRECTION].items()}
    gains: Mapping[str, Row] = (row["directions"]["gains"] or {}).get(rule, {})
    languages = dict.fromkeys(
        code for side in (0, 1) for one in scores for code in [one.split("-")[side]]
    )
    sources, targets = (
        [code for code in languages if code in {one.split("-")[side] for one in scores}]
        for side in (0, 1)
    )
    title = titled(board, f"Directions, {row['baseline']}", condition)
    name = anchor("figure", "directions", condition, row["baseline"])
    panels = [("score", _grid(scores, sources, targets, sign=""))]
    if gains:
        panels.append(("gain over the base", _grid(gains, sources, targets, sign="+")))
    tuned_on = row["directions"]["tuned_on"]
    alternative = f"Scores from {_span(scores)} {points}" + (
        f"; gains from {_span(gains)}." if gains else "."
    )
    caption = (
        f"{points} {where(rule)} of {row['baseline']}, translated from the language of the line into that of "
        f"the column; below, what it gained over the base. Tuned on {', '.join(tuned_on)}. "
        f"{basis([row], list(scores.values()), drawn='In the table')}"
    )

    def paint(*several: Axes) -> None:
        for axes, (what, cells) in zip(several, panels, strict=True):
            paint_grid(axes, sources, targets, cells)
            axes.set_title(what, fontsize=9)
            axes.set_xlabel("into")
            axes.set_ylabel("from")

    size = (2.2 + 0.9 * len(targets), len(panels) * (1.1 + 0.45 * len(sources)))
    svg = draw(name, title, alternative, size, paint, panels=[1] * len(panels))
    lines = tuple(
        (
            one,
            bucket_of(one, tuned_on).replace("_", " "),
            told(scores[one]),
            told(gains[one]) if one in gains else "",
        )
        for one in scores
    )
    columns = ("direction", "tuned on", points, "gain")
    return Figure(name, title, svg, caption, alternative, columns, lines)


def _grid(
    numbers: Mapping[str, Row], sources: Sequence[str], targets: Sequence[str], *, sign: str
) -> list[list[Cell]]:
    return [
        [_cell(numbers.get(f"{source}-{target}"), sign) for target in targets] for source in sources
    ]


def _cell(number: Row | None, sign: str) -> Cell:
    return None if number is None else (number["value"], format(number["value"], f"{sign}.1f"))


def _span(numbers: Mapping[str, Row]) -> str:
    values = [one["value"] for one in numbers.values()]
    return f"{min(values):.1f} to {max(values):.1f}"
