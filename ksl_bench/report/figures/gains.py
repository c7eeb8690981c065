"""What a gain is made of: form, such as learning to stop, and content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ksl_bench.leaderboard import Board
from ksl_bench.leaderboard.gains import headline, readings_of, shown_rules
from ksl_bench.leaderboard.verdicts import unit
from ksl_bench.report.figures.canvas import BLUE, INK, ORANGE, bare, draw, printable
from ksl_bench.report.figures.figure import (
    Figure,
    Row,
    anchor,
    basis,
    conditions,
    home_rows,
    titled,
    told,
)
from ksl_bench.store import Store
from ksl_bench.tasks.readings import WHERE

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def gain_splits(board: Board, store: Store) -> Iterator[Figure]:
    """Draw, a condition, what every row gains over the base, split in two."""
    for condition in conditions(board):
        rows = [row for row in home_rows(board, condition) if row["termination"] is not None]
        if rows:
            yield _split(board, condition, rows)


def _split(board: Board, condition: str, rows: Sequence[Row]) -> Figure:
    points, form = unit(rows[0]), str(readings_of(rows[0]).form)
    plain_rule, content_rule = shown_rules(rows[0])
    raw = [row["gains"][plain_rule][headline(row)] for row in rows]
    content = [row["gains"][content_rule][headline(row)] for row in rows]
    stopping = [row["termination"] for row in rows]
    title = titled(board, "What the gains are made of", condition)
    name = anchor("figure", "gains", condition)
    shares = [row["termination_share"] for row in rows if row["termination_share"] is not None]
    most = (
        f"{form} is {100 * min(shares):.0f} % to {100 * max(shares):.0f} % of the {plain_rule} gains "
        "that are shown to be above the margin"
        if shares
        else f"no {plain_rule} gain is shown to be above the margin"
    )
    alternative = f"Of {len(rows)} rows: {most}."
    caption = (
        f"Gain in {points} over the untuned base. Content: gain {WHERE[content_rule]}. "
        f"{form.capitalize()}: what is gained {WHERE[plain_rule]} beyond that. Diamond: the {plain_rule} "
        f"gain, the sum of both. "
        f"{basis(rows, [*raw, *content, *stopping])}"
    )

    def paint(axes: Axes) -> None:
        for place in range(len(rows)):
            _bars(axes, place, content[place], stopping[place], raw[place])
        names = [printable(row["baseline"]) for row in rows]
        axes.set_yticks(range(len(rows)), names)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_xlabel(f"gain over the base, {points}")
        bare(axes, grid="x")
        axes.legend(
            handles=_handles(plain_rule, form),
            loc="lower left",
            bbox_to_anchor=(0, 1.01),
            ncols=3,
            frameon=False,
        )

    svg = draw(name, title, alternative, (7.0, 1.2 + 0.3 * len(rows)), paint)
    columns = (
        "baseline",
        f"{plain_rule} gain, {points}",
        form,
        "content",
        "share of it",
    )
    lines = tuple(
        (
            row["baseline"],
            told(raw[place]),
            told(stopping[place]),
            told(content[place]),
            "" if row["termination_share"] is None else f"{100 * row['termination_share']:.0f} %",
        )
        for place, row in enumerate(rows)
    )
    return Figure(name, title, svg, caption, alternative, columns, lines)


def _bars(axes: Axes, place: int, content: Row, stopping: Row, raw: Row) -> None:
    """Draw one row: parts of one sign on top of each other, of two signs on either side of 0."""
    same = (content["value"] >= 0) == (stopping["value"] >= 0)
    start = content["value"] if same else 0.0
    axes.barh(place, content["value"], height=0.56, color=BLUE, edgecolor="white", linewidth=0.5)
    axes.barh(
        place,
        stopping["value"],
        left=start,
        height=0.56,
        color=ORANGE,
        edgecolor="white",
        linewidth=0.5,
        hatch="////",
    )
    _whisker(axes, place - 0.18, content, 0.0)
    _whisker(axes, place + 0.18, stopping, start)
    _whisker(axes, place, raw, 0.0, marker="D")


def _whisker(axes: Axes, y: float, number: Row, start: float, marker: str = "none") -> None:
    ends = [[number["value"] - number["low"]], [number["high"] - number["value"]]]
    axes.errorbar(
        [start + number["value"]],
        [y],
        xerr=ends,
        fmt=marker,
        color=INK,
        markersize=4,
        elinewidth=0.9,
        capsize=1.5,
    )


def _handles(plain: str, form: str) -> list[object]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [
        Patch(facecolor=BLUE, label="content"),
        Patch(facecolor=ORANGE, hatch="////", edgecolor="white", label=form),
        Line2D(
            [], [], linestyle="none", marker="D", markersize=4, color=INK, label=f"{plain} gain"
        ),
    ]
