"""Grids of coloured cells with their numbers in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ksl_bench.report.figures.canvas import PALE, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Cell = tuple[float, str] | None
"""What the colour says, and what is written; None where there is nothing."""


def paint_grid(
    axes: Axes,
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Sequence[Sequence[Cell]],
    *,
    tilted: bool = False,
) -> None:
    """Paint a grid; the colours run from dark to light, so they are told apart in grey as well."""
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    known = [cell[0] for line in cells for cell in line if cell is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    for y, line in enumerate(cells):
        for x, cell in enumerate(line):
            corner = (x - 0.5, y - 0.5)
            if cell is None:
                empty = Rectangle(corner, 1, 1, facecolor="#f4f4f4", edgecolor=PALE, linewidth=0.5)
                axes.add_patch(empty)
                continue
            share = (cell[0] - low) / (high - low) if high > low else 0.5
            colour = colormaps["cividis"](share)
            axes.add_patch(
                Rectangle(corner, 1, 1, facecolor=colour, edgecolor="white", linewidth=0.8)
            )
            ink = "black" if _luminance(colour) > 0.18 else "white"
            axes.text(x, y, cell[1], ha="center", va="center", color=ink, fontsize=8)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    heads: dict[str, Any] = {"rotation": 35, "ha": "left"} if tilted else {}
    axes.set_xticks(range(len(columns)), [printable(one) for one in columns], **heads)
    axes.set_yticks(range(len(rows)), [printable(one) for one in rows])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _luminance(colour: tuple[float, float, float, float]) -> float:
    """Return the relative luminance of WCAG 2: above 0.18, black reads better than white."""
    red, green, blue = (
        one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in colour[:3]
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
