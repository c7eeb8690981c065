"""The leaderboard: a join of the results that a suite plans, failed rows with their reason.

One row a baseline, over all its seeds. It reads the store alone: the plan that the last run of the suite
left there, and the records of its artifacts.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from statistics import mean
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from ksl_bench.errors import StorageError
from ksl_bench.registry import Registry, unknown
from ksl_bench.store import Store

Row = dict[str, Any]

_COSTS = ("selection_seconds", "train_seconds", "evaluate_seconds", "device_hours", "money")


def read_leaderboard(store: Store, suite: str) -> list[Row]:
    """Join a suite's results, in the suite's order.

    Returns:
        One mapping a baseline; its keys are the contract of `--format json`.

    Raises:
        StorageError: If the suite was never run over this store.
    """
    plan = store.read_plan(suite)
    if plan is None:
        raise StorageError(f"nothing is stored of {unknown('suite', suite, store.plans())}")
    names = list(dict.fromkeys(row["baseline"] for row in plan["rows"]))
    recipes = {one["name"]: one for one in plan["suite"]["baselines"]}
    return [
        _row(recipes[name], [_Run(store, row) for row in plan["rows"] if row["baseline"] == name])
        for name in names
    ]


class _Run:
    """One baseline under one seed, as far as the store knows."""

    def __init__(self, store: Store, row: Mapping[str, Any]) -> None:
        self.seed: int = row["seed"]
        self.result = store.record("evaluation", row["evaluation"])
        self.status = "pending"
        self.reason: str | None = None
        if self.result is not None and self.result["status"] == "finished":
            self.status = "finished"
            return
        self._blame(store, row)

    def _blame(self, store: Store, row: Mapping[str, Any]) -> None:
        """Find what ended this row: the first artifact of its chain that is not finished."""
        chain = (
            ("state", "source_state"),
            ("ticket", "ticket"),
            ("state", "state"),
            ("evaluation", "evaluation"),
        )
        for kind, field in chain:
            record = store.record(kind, row[field]) if row[field] else None
            if record is None or record["status"] == "finished":
                continue
            self.status, self.reason = record["status"], record["reason"]
            if field == "source_state":  # the tuning that the ticket was to be found in
                self.status = "skipped"
                self.reason = f"the source of its ticket is {record['status']}: {record['reason']}"
            return


def _row(recipe: Mapping[str, Any], runs: Sequence[_Run]) -> Row:
    done = [run.result for run in runs if run.status == "finished" and run.result is not None]
    unfinished = [run for run in runs if run.status != "finished"]
    ticket = recipe.get("ticket") or {}
    row: Row = {
        "baseline": recipe["name"],
        "method": recipe["method"],
        "criterion": ticket.get("criterion"),
        "k": ticket.get("k"),
        "seeds": [run.seed for run in runs],
        "finished_seeds": [run.seed for run in runs if run.status == "finished"],
        "status": unfinished[0].status if unfinished else "finished",
        "reason": unfinished[0].reason if unfinished else None,
        "sentences": done[0]["sentences"] if done else None,
        "truncated_training_examples": max(
            (one["truncated_training_examples"] for one in done), default=None
        ),
        "trainable_parameters": done[0]["parameters"]["trainable"] if done else None,
        "total_parameters": done[0]["parameters"]["total"] if done else None,
        "scores": _scores(done),
        "eos_rate": mean(one["diagnostics"]["eos_rate"] for one in done) if done else None,
        "length_ratio": _mean_of(done, lambda one: one["diagnostics"]["length_ratio"]),
        "cost": _cost(done),
        "evaluations": [one["key"] for one in done],
    }
    return row


def _mean_of(
    done: Sequence[Mapping[str, Any]], read: Callable[[Mapping[str, Any]], Mapping[str, float]]
) -> dict[str, float] | None:
    if not done:
        return None
    return {name: mean(read(one)[name] for one in done) for name in read(done[0])}


def _scores(done: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Row]] | None:
    """Average over seeds; the interval is the mean of the seeds' sentence-bootstrap intervals.

    It speaks of the sentences, not of the seeds: with one seed nothing speaks of the seeds.
    """
    if not done:
        return None
    return {
        rule: {
            metric: {
                "value": mean(one["scores"][rule][metric]["value"] for one in done),
                "low": mean(one["scores"][rule][metric]["low"] for one in done),
                "high": mean(one["scores"][rule][metric]["high"] for one in done),
                "signature": score["signature"],
                "by_seed": {str(one["seed"]): one["scores"][rule][metric]["value"] for one in done},
            }
            for metric, score in metrics.items()
        }
        for rule, metrics in done[0]["scores"].items()
    }


def _cost(done: Sequence[Mapping[str, Any]]) -> Row | None:
    if not done:
        return None
    cost: Row = {}
    for name in _COSTS:
        values = [one["cost"][name] for one in done]
        cost[name] = None if None in values else mean(values)
    cost["peak_memory_bytes"] = max(peak_bytes(one["cost"]) for one in done)
    cost["state_bytes"] = max(one["cost"]["state_bytes"] for one in done)
    return cost


def peak_bytes(cost: Mapping[str, Any]) -> int:
    """Return the highest peak over training, evaluation and ranks: reserved where it is known."""
    ranks = [*(cost["train_peak_memory"] or ()), *cost["evaluate_peak_memory"]]
    return max(int(rank["reserved"] or rank["allocated"]) for rank in ranks)


def human_bytes(count: float) -> str:
    """Return a size for people, in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit in ("B", "KiB", "MiB") else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("unreachable")


def _interval(score: Row) -> str:
    return f"{score['value']:.1f} [{score['low']:.1f}, {score['high']:.1f}]"


def _half_width(score: Row) -> str:
    return f"{score['value']:.1f} ±{(score['high'] - score['low']) / 2:.1f}"


def _cells(row: Row, show: Callable[[Row], str]) -> list[str]:
    """Return a row as text; an unfinished one is its status."""
    if row["scores"] is None:
        return [row["baseline"], "", row["status"], "", "", "", ""]
    return [
        row["baseline"],
        f"{row['trainable_parameters']:,}",
        show(row["scores"]["raw"]["bleu"]),
        show(row["scores"]["first_line"]["bleu"]),
        f"{100 * row['eos_rate']:.0f}",
        f"{row['cost']['selection_seconds'] + row['cost']['train_seconds']:.1f}",
        human_bytes(row["cost"]["peak_memory_bytes"]),
    ]


COLUMNS = ("baseline", "trainable", "BLEU raw", "first line", "EOS %", "train s", "memory")


def caption(rows: Sequence[Row]) -> str:
    """Return the line under the table: what the intervals, the seconds and the bytes are."""
    seeds = max((len(row["seeds"]) for row in rows), default=0)
    sentences = next((row["sentences"] for row in rows if row["sentences"]), 0)
    return (
        f"{sentences} sentences, {seeds} seed{'' if seeds == 1 else 's'}. Intervals: 95 %, over resampled "
        "sentences, for these trained models. train s: with the tuning that a ticket was found in. "
        "memory: peak of a worker."
    )


def as_table(rows: Sequence[Row], *, title: str) -> Table:
    """Draw the leaderboard for a terminal; reasons of failed rows stand below in the caption."""
    table = Table(
        title=title,
        caption=caption(rows),
        caption_justify="left",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for index, name in enumerate(COLUMNS):
        table.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        style = None if row["status"] == "finished" else "red"
        table.add_row(*_cells(row, _half_width), style=style)
    return table


def reasons(rows: Sequence[Row]) -> list[str]:
    """Return one line for every row that is not finished."""
    return [
        f"{row['baseline']}: {row['status']}" + (f": {row['reason']}" if row["reason"] else "")
        for row in rows
        if row["status"] != "finished"
    ]


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
    """Return the rows as a Markdown table, rounded as in the terminal."""
    lines = [
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "|".join("---:" if i else "---" for i in range(len(COLUMNS))) + "|",
    ]
    lines += ["| " + " | ".join(_cells(row, _interval)) + " |" for row in rows]
    return "\n".join([*lines, "", caption(rows), *(f"- {one}" for one in reasons(rows))])


FORMATS: Registry[Callable[[Sequence[Row]], str]] = Registry(
    "format", {"json": as_json, "csv": as_csv, "markdown": as_markdown}
)
"""Formats beside `table`, which draws itself."""
