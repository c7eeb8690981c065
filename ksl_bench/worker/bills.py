"""What a row cost, all of it: selection, tuning, earlier steps of a sequence, evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ksl_bench.errors import StorageError
from ksl_bench.plan import Ballot, Source, Step, Work
from ksl_bench.tasks.base import Output
from ksl_bench.worker.warm import Warm

_SECONDS = {"state": "train_seconds", "ticket": "selection_seconds"}
"""By kind of artifact, what of its cost stands on the bill of a row that rests on it."""


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
        behind a vote, with their seconds; `earlier_seconds` is their sum. A state or a ticket stands with
        the first of them that rests on it. A vote pays for the evaluations of its detectors, each once.

    Raises:
        StorageError: If something that the row rests on is gone.
    """
    ledger = _Ledger(warm)
    earlier = [_step_cost(ledger, step, work) for step in work.steps]
    earlier += [_ballot_cost(ledger, ballot) for ballot in work.ballots]
    selection = ledger.pay(work.selected)
    own: list[Source] = [("state", work.state_key, "")] if work.state_key is not None else []
    training = ledger.pay(own)
    state = cost_of(warm, "state", work.state_key) if work.state_key is not None else {}
    evaluation_seconds += sum(
        cost_of(warm, "evaluation", one.evaluation_key)["evaluate_seconds"] for one in work.ballots
    )
    before = sum(one["selection_seconds"] + one["train_seconds"] for one in earlier)
    workers, price = warm.worker.world_size, warm.setting.device_price_per_hour
    hours = workers * (before + selection + training + evaluation_seconds) / 3600
    tokens = sum(one.tokens for one in generated.outputs)
    costs = [cost_of(warm, "state", step.state_key) for step in work.steps]
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


class _Ledger:
    """Pays for the states and tickets behind a row, each once."""

    def __init__(self, warm: Warm) -> None:
        self._warm = warm
        self._paid: set[str] = set()

    def pay(self, sources: Iterable[Source]) -> float:
        """Return the seconds that sources took which were not paid for before."""
        seconds = 0.0
        for kind, key, _ in sources:
            if kind in _SECONDS and key not in self._paid:
                self._paid.add(key)
                seconds += cost_of(self._warm, kind, key)[_SECONDS[kind]]
        return seconds


def _step_cost(ledger: _Ledger, step: Step, work: Work) -> dict[str, Any]:
    """Return what one step took, named by its condition; a second model by its baseline."""
    return {
        "step": step.baseline.name if step is work.performer else step.condition,
        "selection_seconds": ledger.pay(step.ticket.chain()),
        "train_seconds": ledger.pay([("state", step.state_key, "")]),
    }


def _ballot_cost(ledger: _Ledger, ballot: Ballot) -> dict[str, Any]:
    """Return what it took to make a detector that has a voice."""
    return {
        "step": ballot.baseline,
        "selection_seconds": ledger.pay(ballot.selected),
        "train_seconds": ledger.pay(ballot.trained),
    }


def cost_of(warm: Warm, kind: str, key: str) -> Mapping[str, Any]:
    """Return what a source cost, as its record has it.

    Raises:
        StorageError: If the source is gone; then it is made again, and what asked waits for it.
    """
    cost: Mapping[str, Any] | None = record_of(warm, kind, key).get("cost")
    if cost is None:
        raise StorageError(f"{warm.store.root}: {kind} {key} is gone, so what it cost is not known")
    return cost


def record_of(warm: Warm, kind: str, key: str | None) -> dict[str, Any]:
    """Return a source's record, empty if the work has no such source."""
    return (warm.store.record(kind, key) if key else None) or {}
