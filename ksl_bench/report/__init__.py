"""A suite's leaderboard as one HTML file: verdicts, tables, figures, examples, and how to repeat it."""

from ksl_bench.report.figures import Figure, draw_figures
from ksl_bench.report.html import as_html

__all__ = ["Figure", "as_html", "draw_figures"]
