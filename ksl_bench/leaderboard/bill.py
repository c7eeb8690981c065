"""The whole bill of a row: selection, tuning and search, in seconds, devices, bytes and money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from ksl_bench.leaderboard.ranking import Ranked

Row = dict[str, Any]

_MEANS = ("selection_seconds", "train_seconds", "evaluate_seconds", "device_hours")
_STEP_MEANS = ("selection_seconds", "train_seconds")
_RATES = ("train_tokens_per_second", "generated_tokens_per_second")


def bill(
    done: Sequence[Mapping[str, Any]], search: Mapping[str, Any] | None, price: float | None
) -> Row | None:
    """Return what one run of a row costs, the mean over its seeds; peaks are the highest.

    Args:
        done: Results of the row's finished runs.
        search: What it took to choose the row's fields; paid once, whatever the number of seeds.
        price: Of a device-hour, as the suite's last run has it; None where it names none.

    Returns:
        None where nothing is finished. `total_device_hours` has the search with it, and earlier steps of a
        sequence, which `earlier` names.
    """
    if not done:
        return None
    costs = [one["cost"] for one in done]
    total: Row = {name: _mean([cost[name] for cost in costs]) for name in _MEANS}
    total["earlier_seconds"] = fmean(cost.get("earlier_seconds", 0.0) for cost in costs)
    total["earlier"] = _steps([cost.get("earlier", []) for cost in costs])
    total |= {name: _mean([cost.get(name) for cost in costs]) for name in _RATES}
    total["search_device_hours"] = search["device_hours"] if search else 0.0
    total["total_device_hours"] = total["device_hours"] + total["search_device_hours"]
    total["money"] = None if price is None else price * total["total_device_hours"]
    total["devices"] = max(int(cost.get("devices", 1)) for cost in costs)
    total["peak_memory_bytes"] = max(peak_bytes(cost) for cost in costs)
    total["peak_allocated_bytes"] = max(_peak(cost, "allocated") or 0 for cost in costs)
    total["peak_reserved_bytes"] = max(_peak(cost, "reserved") or 0 for cost in costs) or None
    total["state_bytes"] = max(cost["state_bytes"] for cost in costs)
    return total


def _steps(earlier: Sequence[Sequence[Row]]) -> list[Row]:
    """Return the means of each earlier step, or merged state."""
    return [
        {
            "step": same[0]["step"],
            **{name: fmean(one[name] for one in same) for name in _STEP_MEANS},
        }
        for same in zip(*earlier, strict=True)
    ]


def _mean(values: Sequence[Any]) -> float | None:
    return None if None in values else fmean(values)


def _peak(cost: Mapping[str, Any], kind: str) -> int | None:
    ranks = [*(cost["train_peak_memory"] or ()), *cost["evaluate_peak_memory"]]
    return max((int(rank[kind]) for rank in ranks if rank[kind]), default=None)


def peak_bytes(cost: Mapping[str, Any]) -> int:
    """Return the highest peak over training, evaluation and ranks: reserved where it is known."""
    ranks = [*(cost["train_peak_memory"] or ()), *cost["evaluate_peak_memory"]]
    return max(int(rank["reserved"] or rank["allocated"]) for rank in ranks)


def add_cost_over_full(rows: Sequence[Row]) -> None:
    """Add `cost.over_full` to every row: its device-hours, search and all, over full fine-tuning's there.

    Both are whole runs. What full fine-tuning had cost when it reached the row's score is not known: no score
    is taken while it trains. A probe and a merge of it have its method, and are not it.
    """
    full: dict[str, float] = {}
    for row in rows:
        derived = row["probe"] is not None or row["merge"] is not None
        if row["method"] == "full" and row["cost"] and not derived:
            full.setdefault(row["condition"], row["cost"]["total_device_hours"])
    for row in rows:
        if row["cost"] is not None:
            whole = full.get(row["condition"])
            hours = row["cost"]["total_device_hours"]
            row["cost"]["over_full"] = hours / whole if whole else None


def add_score_against_full(rows: Sequence[Row], groups: Sequence[Ranked]) -> None:
    """Add `cost.score_against_full` to every row of one condition: what its cost buys.

    `higher` or `lower` where the ranks show it, `not_shown` where they do not; None where the row is not
    ranked with full fine-tuning.

    Args:
        rows: Scored under one condition.
        groups: Their ranking.
    """
    for row in rows:
        if row["cost"] is not None:
            row["cost"]["score_against_full"] = None
    for group in groups:
        methods = [rows[place]["method"] for place in group.places]
        full = methods.index("full") if "full" in methods else None
        for pair in group.ranking.pairs:
            if full in (pair.first, pair.second):
                other = pair.second if pair.first == full else pair.first
                said = "higher" if pair.better == other else "lower"
                cost = rows[group.places[other]]["cost"]
                cost["score_against_full"] = "not_shown" if pair.better is None else said
