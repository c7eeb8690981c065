"""Cells of tables: what is read, and the number it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ksl_bench.leaderboard import human_bytes

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell."""

    text: str
    value: float | int | str | None = None
    """What the table is sorted by, unrounded; None sorts last."""
    link: str | None = None
    """An anchor in the same page."""
    span: int = 1
    """Columns that it takes."""


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column."""

    name: str
    title: str = ""
    """What it means, where the name does not say."""
    sortable: bool = True


@dataclass(frozen=True, slots=True)
class Line:
    """One line; its first cell is its heading."""

    cells: Sequence[Cell]
    finished: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """One table."""

    caption: str
    columns: Sequence[Column]
    lines: Sequence[Line]

    def is_numeric(self, place: int) -> bool:
        """Return whether a column holds numbers: its head then stands over them, at the right."""
        cells = [line.cells[place] for line in self.lines if len(line.cells) > place]
        return any(isinstance(one.value, int | float) for one in cells)


def count(value: float | None, text: str | None = None, *, digits: int = 0) -> Cell:
    """Return a number; nothing where there is none."""
    if value is None:
        return Cell("")
    return Cell(f"{value:,.{digits}f}" if text is None else text, value)


def size(value: float | None) -> Cell:
    """Return a number of bytes."""
    return Cell("") if value is None else Cell(human_bytes(value), value)


def percent(share: float | None) -> Cell:
    """Return a share."""
    return Cell("") if share is None else Cell(f"{100 * share:.0f} %", share)


def interval(number: Row | None, *, sign: bool = False) -> Cell:
    """Return a number with its 95 % interval."""
    if number is None:
        return Cell("")
    form = "+.1f" if sign else ".1f"
    value, low, high = (format(number[part], form) for part in ("value", "low", "high"))
    return Cell(f"{value} [{low}, {high}]", number["value"])


def p_value(p: float | None) -> Cell:
    """Return a p-value; a small one as a bound."""
    if p is None:
        return Cell("")
    return Cell("< 0.001" if p < 0.001 else f"{p:.3f}", p)
