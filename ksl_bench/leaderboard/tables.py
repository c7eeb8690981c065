"""What the tables of a leaderboard hold: a section a condition, then probes, then transfers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ksl_bench.leaderboard.gains import Row, headline

Show = Literal["interval", "half_width"]

COLUMNS = (
    "baseline",
    "params",
    "raw",
    "first\nline",
    "gain\nraw",
    "gain\nfirst",
    "rank",
    "stop\n%",
    "EOS\n%",
    "train\ns",
    "MiB",
)
PROBE_COLUMNS = (
    "probe",
    "raw",
    "first\nline",
    "of the gain\nraw %",
    "of the gain\nfirst %",
    "EOS\n%",
)
TRANSFER_COLUMNS = ("baseline", "tuned under", "scored under", *PROBE_COLUMNS[1:])


@dataclass(frozen=True, slots=True)
class Line:
    """One row in one table."""

    kind: Literal["result", "probe", "transfer"]
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
            width = {"result": COLUMNS, "probe": PROBE_COLUMNS, "transfer": TRANSFER_COLUMNS}
            return [*names, row["status"], *[""] * (len(width[self.kind]) - len(names) - 1)]
        metric = headline(row)
        scores = [_score(row["scores"][rule][metric], show) for rule in ("raw", "first_line")]
        eos = f"{100 * row['eos_rate']:.0f}"
        if self.kind != "result":
            kept = row["recovery"] or {}
            shares = [_percent(kept.get(rule)) for rule in ("raw", "first_line")]
            return [*names, *scores, *shares, eos]
        gains = [_gain(row, rule, metric, show) for rule in ("raw", "first_line")]
        return [
            *names,
            human_count(row["trainable_parameters"]),
            *scores,
            *gains,
            rank_text(row["ranking"]),
            _percent(row["termination_share"]),
            eos,
            f"{row['cost']['selection_seconds'] + row['cost']['train_seconds']:.0f}",
            f"{row['cost']['peak_memory_bytes'] / 2**20:.0f}",
        ]


@dataclass(frozen=True, slots=True)
class Section:
    """One table."""

    title: str
    columns: Sequence[str]
    lines: list[Line]


def sections(rows: Sequence[Row]) -> Iterator[Section]:
    """Yield the tables of a leaderboard; empty ones are left out."""
    conditions = list(dict.fromkeys(row["condition"] for row in rows))
    for condition in conditions:
        name = f", {condition}" if len(conditions) > 1 else ""
        here = [row for row in rows if row["condition"] == row["scored_under"] == condition]
        plain = [Line("result", row) for row in here if row["probe"] is None]
        probes = [Line("probe", row) for row in here if row["probe"] is not None]
        if plain:
            yield Section(name, COLUMNS, plain)
        if probes:
            yield Section(f"{name}, probes", PROBE_COLUMNS, probes)
    moved = [Line("transfer", row) for row in rows if row["condition"] != row["scored_under"]]
    if moved:
        yield Section(", transfer", TRANSFER_COLUMNS, moved)


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


def _score(score: Row, show: Show) -> str:
    if show == "interval":
        return f"{score['value']:.1f} [{score['low']:.1f}, {score['high']:.1f}]"
    return f"{score['value']:.1f}±{(score['high'] - score['low']) / 2:.1f}"


def _gain(row: Row, rule: str, metric: str, show: Show) -> str:
    if row["gains"] is None or rule not in row["gains"]:
        return ""
    gain = row["gains"][rule][metric]
    if show == "interval":
        return f"{gain['value']:.1f} [{gain['low']:.1f}, {gain['high']:.1f}]"
    return f"{gain['value']:.1f}"


def _percent(share: float | None) -> str:
    return "" if share is None else whole_percent(share)
