"""The leaderboard: a join of the results that a suite plans, failed rows with their reason.

It reads the store alone: the plan that the last run of the suite left there, and the records of its
artifacts.
"""

from ksl_bench.leaderboard.bill import peak_bytes
from ksl_bench.leaderboard.board import Board, read_board, read_leaderboard
from ksl_bench.leaderboard.formats import (
    FORMATS,
    as_csv,
    as_json,
    as_latex,
    as_markdown,
    as_tables,
    budgets,
    caption,
    human_bytes,
    markdown_tables,
    markdown_verdicts,
    reasons,
    remarks,
    told_verdicts,
    verdict_title,
)

__all__ = [
    "FORMATS",
    "Board",
    "as_csv",
    "as_json",
    "as_latex",
    "as_markdown",
    "as_tables",
    "budgets",
    "caption",
    "human_bytes",
    "markdown_tables",
    "markdown_verdicts",
    "peak_bytes",
    "read_board",
    "read_leaderboard",
    "reasons",
    "remarks",
    "told_verdicts",
    "verdict_title",
]
