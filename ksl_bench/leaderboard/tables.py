"""What the tables of a leaderboard hold: a section a condition, probes, a sequence, transfers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ksl_bench.leaderboard.gains import Row, headline, readings_of, shown_rules
from ksl_bench.leaderboard.numbers import Show, shown
from ksl_bench.leaderboard.steps import StepLine, step_columns, step_lines

Kind = Literal["result", "probe", "transfer"]

NAMES = {"first_line": "first\nline", "likelihood": "likeli-\nhood"}
"""Of rules, as the head of a column has them; the others by their own name."""
BRIEF = {"first_line": "first", "likelihood": "likelih."}
FORMS = {"learning to stop": "stop\n%", "learning to answer with a label": "form\n%"}


def columns_of(kind: Kind, row: Row) -> tuple[str, ...]:
    """Return the heads of a table of such lines, of rows of the same task as this one."""
    rules, form = shown_rules(row), readings_of(row).form
    scores, brief = [NAMES.get(one, one) for one in rules], [BRIEF.get(one, one) for one in rules]
    if kind == "result":
        gains = [f"gain\n{one}" for one in brief]
        share = [FORMS[form]] if form else []
        return ("baseline", "params", *scores, *gains, "rank", *share, "EOS\n%", "train\ns", "MiB")
    names = ("probe",) if kind == "probe" else ("baseline", "tuned under", "scored under")
    return (*names, *scores, *(f"of the gain\n{one} %" for one in brief), "EOS\n%")


@dataclass(frozen=True, slots=True)
class Line:
    """One row in one table."""

    kind: Kind
    row: Row

    @property
    def finished(self) -> bool:
        """Whether all seeds are there."""
        return bool(self.row["status"] == "finished")

    def cells(self, show: Show) -> list[str]:
        """Return the line as text; an unfinished one is its status."""
        row = self.row
        names = [row["baseline"]]
        if self.kind == "transfer":
            names += [row["condition"], row["scored_under"]]
        if row["scores"] is None:
            width = len(columns_of(self.kind, row))
            return [*names, row["status"], *[""] * (width - len(names) - 1)]
        metric, rules = headline(row), shown_rules(row)
        scores = [shown(row["scores"][rule][metric], show) for rule in rules]
        eos = _percent(row["eos_rate"])
        if self.kind != "result":
            kept = row["recovery"] or {}
            shares = [_percent(kept.get(rule)) for rule in rules]
            return [*names, *scores, *shares, eos]
        gains = [_gain(row, rule, metric, show) for rule in rules]
        share = [_percent(row["termination_share"])] if readings_of(row).form else []
        return [
            *names,
            human_count(row["trainable_parameters"]),
            *scores,
            *gains,
            rank_text(row["ranking"]),
            *share,
            eos,
            f"{_tuning_seconds(row):.0f}",
            f"{row['cost']['peak_memory_bytes'] / 2**20:.0f}",
        ]


@dataclass(frozen=True, slots=True)
class Section:
    """One table."""

    title: str
    columns: Sequence[str]
    lines: Sequence[Line | StepLine]


def sections(rows: Sequence[Row]) -> Iterator[Section]:
    """Yield the tables of a leaderboard; empty ones are left out."""
    conditions = list(dict.fromkeys(row["condition"] for row in rows))
    for condition in conditions:
        name = f", {condition}" if len(conditions) > 1 else ""
        here = [row for row in rows if row["condition"] == row["scored_under"] == condition]
        plain = [Line("result", row) for row in here if row["probe"] is None]
        probes = [Line("probe", row) for row in here if row["probe"] is not None]
        if plain:
            yield Section(name, columns_of("result", plain[0].row), plain)
        if probes:
            yield Section(f"{name}, probes", columns_of("probe", probes[0].row), probes)
    moved = [
        Line("transfer", row)
        for row in rows
        if row["condition"] != row["scored_under"] and row.get("sequence") is None
    ]
    steps = list(step_lines(rows))
    if steps:
        yield Section(", sequence", step_columns(steps), steps)
    if moved:
        yield Section(", transfer", columns_of("transfer", moved[0].row), moved)


def _tuning_seconds(row: Row) -> float:
    """Return the seconds of selection and tuning; of a detector that rests on other rows theirs, too."""
    cost = row["cost"]
    others = cost.get("earlier_seconds", 0.0) if row.get("statistic") or row.get("vote") else 0.0
    seconds: float = cost["selection_seconds"] + cost["train_seconds"] + others
    return seconds


def rank_text(ranking: Row) -> str:
    """Return the ranks a row may have; those of another group than the largest bear its letter."""
    if ranking["group"] is None:
        return ""
    best, worst, group = ranking["best"], ranking["worst"], ranking["group"]
    letter = "" if group == 0 else chr(ord("a") + min(group, 25))
    return f"{best}{letter}" if best == worst else f"{best}-{worst}{letter}"


def whole_percent(share: float) -> str:
    """Return a share in per cent, without the sign of a rounded nothing."""
    return str(round(100 * share))


def human_count(count: float) -> str:
    """Return a count of parameters for people, in powers of a thousand."""
    if count < 1000:
        return f"{count:.0f}"
    for unit in ("k", "M", "B", "T"):
        count /= 1000
        if count < 999.5 or unit == "T":
            return f"{count:.3g}{unit}"
    raise AssertionError("unreachable")


def _gain(row: Row, rule: str, metric: str, show: Show) -> str:
    if row["gains"] is None or rule not in row["gains"]:
        return ""
    gain = row["gains"][rule][metric]
    if show == "interval":
        return shown(gain, show)
    return f"{gain['value']:.1f}"


def _percent(share: float | None) -> str:
    return "" if share is None else whole_percent(share)
