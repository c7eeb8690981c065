"""What a row cost, all of it: selection, tuning, earlier steps of a sequence, evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ksl_bench.plan import Step, Work
from ksl_bench.tasks.base import Output
from ksl_bench.worker.warm import Warm


@dataclass(frozen=True, slots=True)
class Generated:
    """What a model generated for a split, and what that took."""

    outputs: Sequence[Output]
    seconds: float
    peaks: list[dict[str, int | None]]
    """Peak memory of every rank."""


def bill_of(
    warm: Warm, work: Work, generated: Generated, evaluation_seconds: float
) -> dict[str, Any]:
    """Return all that a row cost.

    Returns:
        Selection has with it the tuning that the ticket was found in. `earlier` names the earlier steps of a
        sequence, the states that were merged, a statistic's second model, or the detectors that look at text
        behind a vote, with their seconds; `earlier_seconds` is their sum. A vote pays for the evaluations
        of those detectors, each once.
    """
    record = record_of(warm, "state", work.state_key)
    state = record.get("cost", {})
    found_here = work.ticket_after == len(work.parents)
    selection = selection_seconds(warm, work.ticket_key) if found_here else 0.0
    training = state.get("train_seconds", 0.0)
    steps = (*work.parents, *work.merged)
    if isinstance(work.performer, Step):
        steps = (*steps, work.performer)
    earlier = [_step_cost(warm, step, place, work) for place, step in enumerate(steps)]
    ballots = [record_of(warm, "evaluation", key) for key in ballots_of(warm, work)]
    earlier += [_ballot_cost(one) for one in ballots]
    evaluation_seconds += sum(one["cost"]["evaluate_seconds"] for one in ballots)
    before = sum(one["selection_seconds"] + one["train_seconds"] for one in earlier)
    workers, price = warm.worker.world_size, warm.setting.device_price_per_hour
    hours = workers * (before + selection + training + evaluation_seconds) / 3600
    tokens = sum(one.tokens for one in generated.outputs)
    costs = [record_of(warm, "state", step.state_key)["cost"] for step in steps]
    peaks = [rank for cost in (*costs, state) for rank in cost.get("peak_memory") or ()]
    merged_bytes = sum(cost["state_bytes"] for cost in costs) if work.merged else 0
    return {
        "selection_seconds": selection,
        "train_seconds": training,
        "earlier_seconds": before,
        "earlier": earlier,
        "evaluate_seconds": evaluation_seconds,
        "generation_seconds": generated.seconds,
        "train_tokens_per_second": state.get("tokens_per_second"),
        "generated_tokens_per_second": tokens / generated.seconds if tokens else None,
        "train_peak_memory": peaks or None,
        "evaluate_peak_memory": generated.peaks,
        "state_bytes": state.get("state_bytes", merged_bytes),
        "devices": workers,
        "device_hours": hours,
        "money": None if price is None else hours * price,
    }


def _step_cost(warm: Warm, step: Step, place: int, work: Work) -> dict[str, Any]:
    """Return what one step took; a ticket that was found before it stands with the step that found it."""
    found_here = bool(work.merged) or step.ticket.after == place
    record = record_of(warm, "state", step.state_key)
    return {
        "step": step.condition,
        "selection_seconds": selection_seconds(warm, step.ticket.key) if found_here else 0.0,
        "train_seconds": record["cost"]["train_seconds"],
    }


def _ballot_cost(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what it took to make a detector that has a voice."""
    cost = record["cost"]
    return {
        "step": record["baseline"],
        "selection_seconds": cost["selection_seconds"],
        "train_seconds": cost["train_seconds"] + cost["earlier_seconds"],
    }


def ballots_of(warm: Warm, work: Work) -> list[str]:
    """Return the evaluations that look at text behind a vote, each once; none for other work."""
    found: dict[str, None] = {}
    for key in work.voters:
        found.update(dict.fromkeys(record_of(warm, "evaluation", key).get("ballots") or [key]))
    return list(found)


def selection_seconds(warm: Warm, key: str | None) -> float:
    """Return what finding a ticket took, with the tuning that it was found in; 0 for no key."""
    if key is None:
        return 0.0
    ticket = record_of(warm, "ticket", key)
    source = record_of(warm, "state", ticket["ticket"]["source_state"]).get("cost", {})
    seconds: float = ticket["cost"]["selection_seconds"] + source.get("train_seconds", 0.0)
    return seconds


def record_of(warm: Warm, kind: str, key: str | None) -> dict[str, Any]:
    """Return a source's record, empty if the work has no such source."""
    return (warm.store.record(kind, key) if key else None) or {}
