"""Rows: one a baseline and condition, over all its seeds; failed ones with their reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import mean
from typing import Any

from ksl_bench.errors import StorageError
from ksl_bench.leaderboard.gains import add_gains
from ksl_bench.registry import unknown
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
    recipes = {one["name"]: one for one in plan["suite"]["baselines"]}
    runs: dict[tuple[str, str, str], list[_Run]] = {}
    for row in plan["rows"]:
        place = row["condition"], row["baseline"], row["scored_under"]
        runs.setdefault(place, []).append(_Run(store, row))
    rows = [_row(recipes[place[1]], place, of_seeds) for place, of_seeds in runs.items()]
    add_gains(rows)
    return rows


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


def _row(recipe: Mapping[str, Any], place: tuple[str, str, str], runs: Sequence[_Run]) -> Row:
    done = [run.result for run in runs if run.status == "finished" and run.result is not None]
    unfinished = [run for run in runs if run.status != "finished"]
    ticket = recipe.get("ticket") or {}
    row: Row = {
        "baseline": recipe["name"],
        "condition": place[0],
        "scored_under": place[2],
        "probe": recipe.get("probe"),
        "method": recipe["method"],
        "criterion": ticket.get("criterion"),
        "k": ticket.get("k"),
        "search": recipe.get("search"),
        "ticket_sizes": [one.get("ticket_rows") for one in done] if ticket else None,
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
