"""The report: one HTML file that asks for nothing, neither a network nor a script to be read."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from ksl_bench.leaderboard import Board, reasons, remarks
from ksl_bench.report.again import how_again
from ksl_bench.report.details import as_yaml, detail_of
from ksl_bench.report.figures import draw_figures
from ksl_bench.report.summary import compared, legend, summary, verdicts
from ksl_bench.report.tables import bill_table, part_tables, result_tables
from ksl_bench.store import Store

_TEMPLATES = Path(__file__).parent / "templates"


def as_html(board: Board, store: Store) -> str:
    """Return a suite's report as one HTML file.

    Args:
        board: What is told.
        store: Where its tickets, losses and outputs are.
    """
    from markupsafe import Markup

    style, script = (_read(name) for name in ("report.css", "report.js"))
    anchors = {id(row): f"row-{place}" for place, row in enumerate(board.rows, start=1)}
    figures = [(one, Markup(one.svg)) for one in draw_figures(board, store)]
    text: str = _template("report.html.j2").render(
        suite=board.plan["suite"],
        compared=compared(board),
        summary=list(summary(board)),
        verdicts=verdicts(board),
        notes=[*reasons(board.rows), *remarks(board)],
        tables=[*result_tables(board, anchors), *part_tables(board, anchors)],
        bill=bill_table(board, anchors),
        legend=legend(board),
        figures=figures,
        details=[detail_of(board, store, row, anchors[id(row)]) for row in board.rows],
        configuration=as_yaml(board.plan["suite"]),
        again=how_again(board, store),
        # Both are files of this package, not text from outside.
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
    )
    return text


def _template(name: str) -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(name)


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Return a policy that lets nothing in but the report's own style and script, known by their digests."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_digest(style)}'",
            f"script-src '{_digest(script)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
