"""Rows: one a baseline and condition, over all its seeds; failed ones with their reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, TypeVar

from ksl_bench.leaderboard.bill import bill
from ksl_bench.leaderboard.gains import Systems, told
from ksl_bench.leaderboard.places import Place
from ksl_bench.leaderboard.runs import Group, Run
from ksl_bench.lottery.entries import ENTRY_CRITERIA
from ksl_bench.significance.intervals import Interval, mean_intervals
from ksl_bench.significance.resampling import System

Row = dict[str, Any]
_Name = TypeVar("_Name", bound=tuple[str, ...])


def make_row(
    recipe: Mapping[str, Any],
    place: Place,
    runs: Sequence[Run],
    *,
    task: str,
    price: float | None,
) -> Row:
    """Return what a leaderboard says of one baseline; its keys are the contract of `--format json`.

    Args:
        recipe: The baseline, as it ran there: of one that differs from step to step that of its step.
        place: Where it stands.
        runs: One a seed.
        task: Name of the task that it is scored at.
        price: Of a device-hour; None where the suite names none.
    """
    done = [run.result for run in runs if run.finished and run.result is not None]
    unfinished = [run for run in runs if not run.finished]
    ticket = recipe.get("ticket") or {}
    picks_rows = bool(ticket) and ticket.get("criterion") not in ENTRY_CRITERIA
    trainable = done[0]["parameters"]["trainable"] if done else None
    return {
        "baseline": recipe["name"],
        "condition": place[0],
        "scored_under": place[2],
        "task": task,
        "sequence": None,
        "probe": recipe.get("probe"),
        "merge": recipe.get("merge"),
        "statistic": (recipe.get("statistic") or {}).get("name"),
        "vote": (recipe.get("vote") or {}).get("of"),
        "method": recipe["method"],
        "criterion": ticket.get("criterion"),
        "k": ticket.get("k"),
        "sparsity": ticket.get("sparsity"),
        "in_sequence": ticket.get("in_sequence"),
        "search": recipe.get("search"),
        "ticket_sizes": [one.get("ticket_rows") for one in done] if picks_rows else None,
        "seeds": [run.seed for run in runs],
        "finished_seeds": [run.seed for run in runs if run.finished],
        "unfinished_seeds": {str(run.seed): run.status for run in unfinished},
        "status": unfinished[0].status if unfinished else "finished",
        "reason": unfinished[0].reason if unfinished else None,
        "sentences": done[0]["sentences"] if done else None,
        "truncated_training_examples": max(
            (one["truncated_training_examples"] for one in done), default=None
        ),
        "trains": None if trainable is None else bool(trainable),
        "trainable_parameters": trainable,
        "total_parameters": done[0]["parameters"]["total"] if done else None,
        "scores": None,
        "by_group": {},
        "eos_rate": _mean_of(done, "eos_rate"),
        "length_ratio": _mean_of(done, "length_ratio"),
        "answered": _mean_of(done, "answered"),
        "cost": bill(done, recipe.get("search"), price),
        "evaluations": [one["key"] for one in done],
    }


def is_fixed(recipe: Mapping[str, Any], runs: Sequence[Run]) -> bool:
    """Tell whether nothing in a row depends on a seed: the untuned base, or one result under all seeds."""
    performer = (recipe.get("statistic") or {}).get("performer") or {}
    others = bool(recipe.get("vote")) or performer.get("baseline") is not None
    untuned = recipe["method"] == "none" and not others
    return untuned or (len(runs) > 1 and len({run.key for run in runs}) == 1)


def add_scores(
    rows: Sequence[Row],
    results: Sequence[Sequence[Mapping[str, Any]]],
    systems: Sequence[Systems | None],
) -> None:
    """Add `scores` to rows: by rule and metric the mean over seeds with its 95 % interval.

    The interval speaks of seeds and sentences, or of sentences alone where there is one seed.

    Args:
        rows: Scored under one condition.
        results: The finished ones of each.
        systems: Of each; None where it has no score.
    """
    for row, own, intervals in zip(rows, results, _mean_intervals(systems), strict=True):
        for (rule, metric), interval in intervals.items():
            row["scores"] = row["scores"] or {}
            row["scores"].setdefault(rule, {})[metric] = {
                **told(interval),
                "signature": own[0]["scores"][rule][metric]["signature"],
                "by_seed": {str(one["seed"]): one["scores"][rule][metric]["value"] for one in own},
            }


def add_groups(
    rows: Sequence[Row],
    results: Sequence[Sequence[Mapping[str, Any]]],
    systems: Sequence[Mapping[Group, System]],
) -> None:
    """Add `by_group` to rows, by axis, group, rule and metric; the rest as `add_scores`."""
    for row, own, intervals in zip(rows, results, _mean_intervals(systems), strict=True):
        for (axis, group, rule, metric), interval in intervals.items():
            examples = own[0]["by_group"][axis][group][rule][metric]["examples"]
            at = row["by_group"].setdefault(axis, {}).setdefault(group, {}).setdefault(rule, {})
            at[metric] = {**told(interval), "examples": examples}


def _mean_intervals(
    systems: Sequence[Mapping[_Name, System] | None],
) -> list[dict[_Name, Interval]]:
    """Return the interval of every system of every row; all at once, as that is much faster."""
    intervals = iter(mean_intervals([one for own in systems if own for one in own.values()]))
    return [{name: next(intervals) for name in own or ()} for own in systems]


def _mean_of(done: Sequence[Mapping[str, Any]], name: str) -> Any:
    """Return a diagnostic's mean over seeds, by rule where it is told by rule; None where it is not told."""
    found = [one["diagnostics"].get(name) for one in done]
    if not found or None in found:
        return None
    if isinstance(found[0], Mapping):
        return {rule: fmean(one[rule] for one in found) for rule in found[0]}
    return fmean(found)
