"""The run that shows a suite's leaderboard: its verdicts and tables as a description, and as files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ksl_bench import __version__
from ksl_bench.leaderboard import (
    Board,
    as_csv,
    as_json,
    as_markdown,
    markdown_tables,
    markdown_verdicts,
    read_board,
)
from ksl_bench.store import Store, key_of
from ksl_bench.tracking.rows import LAYOUT, Row

BOARD_KIND = "leaderboard"
LIMIT = 7500
"""Characters of a description; MLflow refuses more than 8,000."""
CUT = "*Cut here: the whole is in the artifact `leaderboard.md`.*"


@dataclass(frozen=True, slots=True)
class Shown:
    """What the leaderboard's run shows."""

    description: str
    metrics: dict[str, float]
    files: dict[str, bytes]


def at_rest(rows: Iterable[Row]) -> bool:
    """Return whether nothing of a suite is still to be made."""
    return all(row.status not in ("pending", "running") for row in rows)


def board_digest(plan: Mapping[str, Any], rows: Iterable[Row]) -> str:
    """Return a digest of all that a leaderboard is made from; far cheaper than the leaderboard."""
    standing = [[row.shown, row.status] for row in rows]
    return key_of({"layout": LAYOUT, "version": __version__, "plan": plan, "rows": standing})


def show_board(store: Store, suite: str, *, report: bool) -> Shown:
    """Read a suite's leaderboard as its run shows it.

    Args:
        store: Where the results are.
        suite: That was run over it.
        report: Whether figures and the report are drawn, which takes seconds.
    """
    board = read_board(store, suite)
    counted = Counter(row["status"] for row in board.rows)
    files = {
        "leaderboard.md": as_markdown(board),
        "leaderboard.json": as_json(board),
        "leaderboard.csv": as_csv(board),
        **(dict(_drawn(board, store)) if report else {}),
    }
    return Shown(
        describe(board),
        {
            "rows": len(board.rows),
            "finished": counted["finished"],
            "failed": len(board.rows) - counted["finished"] - counted["pending"],
        },
        {name: text.encode() for name, text in files.items()},
    )


def describe(board: Board) -> str:
    """Return verdicts and tables as Markdown, as far as there is room; MLflow folds what follows."""
    lines = [*markdown_verdicts(board), *markdown_tables(board)]
    whole = "\n".join(lines).rstrip("\n")
    if len(whole) <= LIMIT:
        return whole
    kept, room = [], LIMIT - len(CUT) - 2
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    return "\n".join([*kept, "", CUT])


def _drawn(board: Board, store: Store) -> Iterator[tuple[str, str]]:
    from ksl_bench.report import as_html, draw_figures  # imports matplotlib: seconds

    yield "report.html", as_html(board, store)
    for figure in draw_figures(board, store):
        yield f"figures/{figure.name}.svg", figure.svg
