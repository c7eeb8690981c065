"""A leaderboard as text: tables for people, JSON and CSV for machines, LaTeX for papers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from ksl_bench.leaderboard.board import Board
from ksl_bench.leaderboard.direction_tables import direction_sections
from ksl_bench.leaderboard.gains import headline
from ksl_bench.leaderboard.group_tables import group_sections
from ksl_bench.leaderboard.ranking import notes
from ksl_bench.leaderboard.rows import Row
from ksl_bench.leaderboard.steps import NOTE
from ksl_bench.leaderboard.tables import FORMS, Section, sections
from ksl_bench.leaderboard.verdicts import Verdict, unit
from ksl_bench.registry import Registry
from ksl_bench.tasks.readings import READINGS, WHERE

NARROW = 90
"""Columns below which a terminal is narrow."""
LEAST = "MiB"


def human_bytes(count: float) -> str:
    """Return a size for people, in binary units."""
    for power in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or power == "GiB":
            return f"{count:.1f} {power}" if power == "GiB" else f"{count:.0f} {power}"
        count /= 1024
    raise AssertionError("unreachable")


def caption(board: Board) -> str:
    """Return the line under the tables: what the intervals, ranks, shares, seconds and bytes are."""
    rows = board.rows
    seeds = max((len(row["seeds"]) for row in rows), default=0)
    sentences = next((row["sentences"] for row in rows if row["sentences"]), 0)
    metric = next((headline(row) for row in rows if row["scores"]), "no score yet")
    of = "sentences, for these trained models only" if seeds < 2 else "seeds and sentences together"
    where = WHERE.get(board.spec.rule, board.spec.rule)
    detectable = {
        row["scored_under"]: row["ranking"]["detectable_difference"]
        for row in rows
        if row["ranking"]["group"] == 0 and row["ranking"]["detectable_difference"]
    }
    each = [
        f"{points:.1f}{f' ({name})' if len(board.rankings) > 1 else ''}"
        for name, points in detectable.items()
    ]
    readings = READINGS[rows[0]["task"] if rows else "translation"]
    plain, gained = (
        readings.plain,
        f"{readings.plain} and {WHERE.get(readings.content, readings.content)}",
    )
    share = (
        f" {FORMS[readings.form].split()[0]} %: share of the {plain} gain that is {readings.form} (blank "
        f"where the {plain} gain may be under the margin)."
        if readings.form
        else ""
    )
    shown = f"{', '.join(each[:3])}{', ...' if each[3:] else ''}"
    smallest = f" A planned comparison finds {shown} points with 80 % power." if each else ""
    return (
        f"{metric}, {sentences} sentences, {seeds} seed{'' if seeds == 1 else 's'}. ±: 95 %, over {of}. "
        f"gain: over the base, {gained}. rank: {where}, "
        f"shared unless chance is ruled out over all pairs (Holm).{smallest}{share} train s: with the "
        "tuning that a ticket was found in. MiB: peak memory of a worker."
        f"{' ' + NOTE if any(row.get('sequence') for row in rows) else ''}"
    )


def as_tables(board: Board, *, width: int) -> list[Table]:
    """Draw the leaderboard for a terminal, a table a section; `caption` says what stands in them.

    Args:
        board: What is shown.
        width: Columns of the terminal; in a narrow one the least column gives way to the names.
    """
    return [_drawn(one, board.suite, narrow=width < NARROW) for one in every_section(board.rows)]


def every_section(rows: Sequence[Row]) -> Iterator[Section]:
    """Yield all tables: those of rows, then those of groups and of directions."""
    yield from sections(rows)
    yield from group_sections(rows)
    yield from direction_sections(rows)


def _drawn(section: Section, title: str, *, narrow: bool) -> Table:
    shown = [i for i, name in enumerate(section.columns) if not (narrow and name == LEAST)]
    table = Table(
        title=f"{title}{section.title}",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for index in shown:
        # A long name may take two lines; a number may not.
        table.add_column(
            section.columns[index],
            justify="right" if index else "left",
            no_wrap=index > 0,
            overflow="fold",
        )
    for line in section.lines:
        cells = line.cells("half_width")
        table.add_row(*(cells[i] for i in shown), style=None if line.finished else "red")
    return table


def reasons(rows: Sequence[Row]) -> list[str]:
    """Return one line for every row that is not finished."""
    several = len({row["condition"] for row in rows}) > 1
    return [
        row["baseline"]
        + (f" ({row['condition']})" if several else "")
        + f": {row['status']}"
        + (f": {row['reason']}" if row["reason"] else "")
        for row in rows
        if row["status"] != "finished"
    ]


def budgets(rows: Sequence[Row]) -> list[str]:
    """Return a line for every row whose fields were chosen by a sweep: what the search took."""
    lines = []
    for row in rows:
        search = row["search"]
        if search is not None:
            count = len(search["seeds"])
            lines.append(
                f"{row['baseline']}: best on dev of {search['trials']} in sweep {search['space']}, "
                f"{count} seed{'' if count == 1 else 's'}; the search took {search['steps']:,} steps, "
                f"{search['device_hours']:.2f} device-hours"
            )
    return list(dict.fromkeys(lines))


def remarks(board: Board) -> list[str]:
    """Return what the tables alone do not say: searches, and who is not ranked with whom."""
    apart = [
        f"{condition + ': ' if len(board.rankings) > 1 else ''}{note}"
        for condition, groups in board.rankings.items()
        for note in notes(groups, board.scored_under(condition))
    ]
    return [*budgets(board.rows), *apart]


def told_verdicts(board: Board, *, every: bool = False) -> Iterator[tuple[str, list[Verdict]]]:
    """Yield the verdicts by condition; those on the raw output only where that was asked for."""
    for condition in dict.fromkeys([*board.rankings, *(one.condition for one in board.verdicts)]):
        here = [one for one in board.verdicts if one.condition == condition]
        kept = [one for one in here if every or one.rule == board.spec.rule or _raw_alone(one)]
        if kept:
            yield condition, kept


def verdict_title(board: Board, condition: str) -> str:
    """Return what stands above the verdicts of a condition: what they were bound to."""
    several = len(board.rankings) > 1
    metric = next((unit(row) for row in board.rows if row["scores"]), "points")
    where = WHERE.get(board.spec.rule, board.spec.rule)
    seeds = max((len(row["seeds"]) for row in board.rows), default=0)
    alone = "; one seed: of these trained models only" if seeds < 2 else ""
    bound = f"{where}, margin {board.spec.margin:g} {metric}{alone}"
    return f"Verdicts{f', {condition}' if several else ''} ({bound})"


def _raw_alone(verdict: Verdict) -> bool:
    return verdict.question == "termination"


def as_json(board: Board) -> str:
    """Return the rows as a JSON list, unrounded."""
    return json.dumps(board.rows, indent=2, ensure_ascii=False)


def as_csv(board: Board) -> str:
    """Return the rows as CSV, one column a number, unrounded; nested names are joined by dots.

    `verdicts` has the brief text of each, with its question and rule.
    """
    flat = [_flatten({**row, "verdicts": _briefly(row)}) for row in board.rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue().rstrip("\n")


def _briefly(row: Row) -> str:
    return " | ".join(
        f"{one['question']}, {one['rule']}: {one['brief']}" for one in row["verdicts"]
    )


def _flatten(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        items = (
            _flatten(inner, f"{path}.{name}" if path else name) for name, inner in value.items()
        )
        return {name: inner for one in items for name, inner in one.items()}
    if isinstance(value, list):
        return {path: " ".join(map(str, value))}
    return {path: "" if value is None else value}


def as_markdown(board: Board) -> str:
    """Return tables, verdicts and remarks as Markdown, rounded as in the terminal, with whole intervals."""
    rest = [f"- {one}" for one in [*reasons(board.rows), *remarks(board)]]
    return "\n".join([*markdown_tables(board), *markdown_verdicts(board), *rest]).rstrip("\n")


def markdown_tables(board: Board) -> list[str]:
    """Return the lines of the tables and their caption."""
    lines: list[str] = []
    for section in every_section(board.rows):
        if section.title:
            lines += [f"**{section.title.removeprefix(', ')}**", ""]
        columns = [name.replace("\n", " ") for name in section.columns]
        lines += [
            "| " + " | ".join(columns) + " |",
            "|" + "|".join("---:" if i else "---" for i in range(len(columns))) + "|",
        ]
        lines += ["| " + " | ".join(line.cells("interval")) + " |" for line in section.lines]
        lines.append("")
    return [*lines, caption(board), ""]


def markdown_verdicts(board: Board) -> list[str]:
    """Return the lines of the verdicts, a list a condition."""
    lines: list[str] = []
    for condition, verdicts in told_verdicts(board):
        lines += [f"**{verdict_title(board, condition)}**", ""]
        lines += [*(f"- {one.text}." for one in verdicts), ""]
    return lines


def as_latex(board: Board) -> str:
    """Return the tables for a paper (package booktabs), the unrounded numbers of each row in a comment."""
    parts = [_latex_table(section, board) for section in every_section(board.rows)]
    return "\n\n".join(parts)


def _latex_table(section: Section, board: Board) -> str:
    columns = [_tex(name.replace("\n", " ")) for name in section.columns]
    title = _tex(board.suite + section.title)
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{title}. {_tex(caption(board))}}}",
        rf"  \begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
        r"    \toprule",
        "    " + " & ".join(columns) + r" \\",
        r"    \midrule",
    ]
    for line in section.lines:
        lines.append("    " + " & ".join(_tex(cell) for cell in line.cells("half_width")) + r" \\")
        lines.append(f"    % {json.dumps(_exact(line.row), ensure_ascii=False)}")
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}", r"\end{table}"])


def _exact(row: Row) -> Row:
    """Return all numbers of a row, as JSON has them."""
    return {name: value for name, value in row.items() if name not in ("verdicts", "by_group")}


_TEX = {
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(sign, sign) for sign in text)


FORMATS: Registry[Callable[[Board], str]] = Registry(
    "format", {"json": as_json, "csv": as_csv, "markdown": as_markdown, "latex": as_latex}
)
"""Formats beside `table`, which draws itself, and `html`, which is a report."""
