"""A leaderboard as text: tables for people, JSON and CSV for machines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from ksl_bench.leaderboard.gains import Row, headline
from ksl_bench.leaderboard.tables import Section, sections
from ksl_bench.registry import Registry

NARROW = 90
"""Columns below which a terminal is narrow."""
LEAST = "gain\nrest."


def human_bytes(count: float) -> str:
    """Return a size for people, in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit in ("B", "KiB", "MiB") else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("unreachable")


def caption(rows: Sequence[Row]) -> str:
    """Return the line under the tables: what the intervals, the shares, the seconds and the bytes are."""
    seeds = max((len(row["seeds"]) for row in rows), default=0)
    sentences = next((row["sentences"] for row in rows if row["sentences"]), 0)
    metric = next((headline(row) for row in rows if row["scores"]), "no score yet")
    return (
        f"{metric}, {sentences} sentences, {seeds} seed{'' if seeds == 1 else 's'}. Intervals: 95 %, over "
        "resampled sentences, for these trained models; those of gains over seeds, too. gain: over the "
        "base, raw, on the first line, up to a restarted prompt. stop %: share of the raw gain that is "
        "learning to stop (blank where the raw gain may be 0). train s: with the tuning that a ticket was "
        "found in. MiB: peak memory of a worker."
    )


def as_tables(rows: Sequence[Row], *, title: str, width: int) -> list[Table]:
    """Draw the leaderboard for a terminal, a table a section; the last one bears the caption.

    Args:
        rows: As `read_leaderboard` returns them.
        title: What stands above.
        width: Columns of the terminal; in a narrow one the least column gives way to the names.
    """
    tables = [_drawn(section, title, narrow=width < NARROW) for section in sections(rows)]
    if tables:
        tables[-1].caption = caption(rows)
    return tables


def _drawn(section: Section, title: str, *, narrow: bool) -> Table:
    shown = [i for i, name in enumerate(section.columns) if not (narrow and name == LEAST)]
    table = Table(
        title=f"{title}{section.title}",
        caption_justify="left",
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


def as_json(rows: Sequence[Row]) -> str:
    """Return the rows as a JSON list, unrounded."""
    return json.dumps(list(rows), indent=2, ensure_ascii=False)


def as_csv(rows: Sequence[Row]) -> str:
    """Return the rows as CSV, one column a number, unrounded; nested names are joined by dots."""
    flat = [_flatten(row) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue().rstrip("\n")


def _flatten(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        items = (
            _flatten(inner, f"{path}.{name}" if path else name) for name, inner in value.items()
        )
        return {name: inner for one in items for name, inner in one.items()}
    if isinstance(value, list):
        return {path: " ".join(map(str, value))}
    return {path: "" if value is None else value}


def as_markdown(rows: Sequence[Row]) -> str:
    """Return the rows as Markdown tables, rounded as in the terminal, with whole intervals."""
    lines: list[str] = []
    for section in sections(rows):
        if section.title:
            lines += [f"**{section.title.removeprefix(', ')}**", ""]
        columns = [name.replace("\n", " ") for name in section.columns]
        lines += [
            "| " + " | ".join(columns) + " |",
            "|" + "|".join("---:" if i else "---" for i in range(len(columns))) + "|",
        ]
        lines += ["| " + " | ".join(line.cells("interval")) + " |" for line in section.lines]
        lines.append("")
    notes = [*reasons(rows), *budgets(rows)]
    return "\n".join([*lines, caption(rows), *(f"- {one}" for one in notes)])


FORMATS: Registry[Callable[[Sequence[Row]], str]] = Registry(
    "format", {"json": as_json, "csv": as_csv, "markdown": as_markdown}
)
"""Formats beside `table`, which draws itself."""
