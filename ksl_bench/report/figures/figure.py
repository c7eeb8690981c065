"""What a figure is, and the words that all of them need."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ksl_bench.leaderboard import Board
from ksl_bench.tasks.readings import WHERE

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing, and the same in words and numbers."""

    name: str
    """Distinct in a report; fit for an anchor."""
    title: str
    svg: str
    caption: str
    """How to read it: sentences, seeds, and which interval."""
    alternative: str
    """What it shows, for whom it cannot be seen."""
    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    """The numbers that were drawn."""


def anchor(*parts: str) -> str:
    """Return a name that is safe in an id; where letters were lost, a digest tells names apart."""
    whole = "-".join(parts)
    safe = re.sub(r"[^A-Za-z0-9-]+", "-", whole)
    return safe if safe == whole else f"{safe}-{hashlib.sha256(whole.encode()).hexdigest()[:6]}"


def conditions(board: Board) -> list[str]:
    """Return the conditions that rows were scored under, in the order of the board."""
    return list(dict.fromkeys(row["scored_under"] for row in board.rows))


def home_rows(board: Board, condition: str) -> list[Row]:
    """Return the scored rows that were tuned where they are scored; probes are left out."""
    return [
        row
        for row in board.rows
        if row["scored_under"] == row["condition"] == condition
        and row["probe"] is None
        and row["scores"] is not None
    ]


def titled(board: Board, title: str, condition: str) -> str:
    """Return a title that names the condition where there are several."""
    return f"{title}, {condition}" if len(conditions(board)) > 1 else title


def where(rule: str) -> str:
    """Return an extraction rule in words."""
    return WHERE.get(rule, f"by {rule}")


def basis(rows: Sequence[Row], numbers: Sequence[Row], *, drawn: str = "Bars") -> str:
    """Return the sentence on sentences, seeds and intervals that stands under a figure.

    Args:
        rows: Those drawn; at least one.
        numbers: The intervals drawn.
        drawn: What the intervals are drawn as.
    """
    sentences = sorted({row["sentences"] for row in rows})
    seeds = sorted({len(row["finished_seeds"]) for row in rows})
    said = f"n = {_range(sentences)} sentences, {_range(seeds)} seed{'' if seeds == [1] else 's'}"
    spoken = {one["speaks_of"] for one in numbers}
    if not spoken:
        return f"{said}."
    if spoken == {"sentences"}:
        over = "sentences alone, so for these trained models only"
    elif len(spoken) == 1:
        over = "seeds and sentences together"
    else:
        over = "seeds and sentences together, over sentences alone where no seed changes anything"
    return f"{said}. {drawn}: 95 % intervals over {over}."


def _range(values: Sequence[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def told(number: Row) -> str:
    """Return a number with its interval."""
    return f"{number['value']:.1f} [{number['low']:.1f}, {number['high']:.1f}]"
