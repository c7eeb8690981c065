"""The leaderboard: a join of the results that a suite plans, failed rows with their reason.

It reads the store alone: the plan that the last run of the suite left there, and the records of its
artifacts.
"""

from ksl_bench.leaderboard.formats import (
    FORMATS,
    as_csv,
    as_json,
    as_markdown,
    as_tables,
    budgets,
    human_bytes,
    reasons,
)
from ksl_bench.leaderboard.rows import peak_bytes, read_leaderboard

__all__ = [
    "FORMATS",
    "as_csv",
    "as_json",
    "as_markdown",
    "as_tables",
    "budgets",
    "human_bytes",
    "peak_bytes",
    "read_leaderboard",
    "reasons",
]
