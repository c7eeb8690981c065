"""Make a state: train one method."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import yaml
from safetensors.torch import save
from torch import Tensor

from ksl_bench.data.batching import padding_id
from ksl_bench.lottery.mask import AnyTicket
from ksl_bench.lottery.ticket import Ticket
from ksl_bench.methods import build_method
from ksl_bench.methods.base import parameter_counts
from ksl_bench.methods.partial import PartialTuning, trained_rows
from ksl_bench.plan import Work
from ksl_bench.training.checkpoints import StoredCheckpoints
from ksl_bench.training.loop import Run, TrainOutcome
from ksl_bench.worker.outcome import Outcome, Report
from ksl_bench.worker.steplog import StepLog, followed
from ksl_bench.worker.warm import Warm


def build_state(warm: Warm, work: Work, report: Report) -> Outcome:
    """Train one method and write what it trained; a collective call."""
    train = work.baseline.train
    examples = warm.tuning_text(work.baseline, work.task)
    ticket = warm.ticket_of(work)
    model = warm.attach(work.baseline, ticket, work.seed, work.parents)
    parameters = parameter_counts(model)
    run = Run(
        model,
        examples,
        spec=train,
        zero_stage=warm.setting.zero_stage,
        seed=work.seed,
        pad_id=padding_id(warm.tokenizer),
        worker=warm.worker,
    )
    checkpoints = StoredCheckpoints(warm.store, work.key, warm.worker)
    log = StepLog(warm.store, work.key, run.total_steps, checkpoints.step(), report)
    outcome = run.train(*followed(checkpoints, log, warm.worker))
    peaks = warm.peaks()
    if not warm.worker.leads:
        return Outcome(work.key, outcome.status, outcome.reason)
    trained = Trained(outcome, ticket, parameters, run.total_steps, peaks, log)
    return write_state(warm, work, trained)


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run came to, on the leading worker."""

    outcome: TrainOutcome
    ticket: AnyTicket | None
    parameters: dict[str, int]
    steps: int
    peaks: list[dict[str, int | None]]
    log: StepLog


def write_state(
    warm: Warm, work: Work, trained: Trained, *, pack: dict[str, Any] | None = None
) -> Outcome:
    """Write what a run trained, and its record last; the leading worker does it.

    Args:
        warm: What the worker holds.
        work: The state.
        trained: What became of it.
        pack: What it was trained together with: `trials`, and their `seconds` in all; then its own
            seconds are its share, and the peak of memory is the pack's.
    """
    outcome, log = trained.outcome, trained.log
    log.flush()
    if outcome.state is None:
        return Outcome(work.key, outcome.status, outcome.reason)
    examples = warm.tuning_text(work.baseline, work.task)
    state: bytes = save(outcome.state, metadata={"format": "pt"})
    record = {
        "baseline": work.baseline.name,
        "seed": work.seed,
        "inputs": work.inputs,
        "parameters": trained.parameters,
        "steps": trained.steps,
        "examples": len(examples),
        "truncated_examples": sum(one.truncated for one in examples),
        "losses": {"first": log.first_loss, "last": outcome.last_loss},
        "pack": pack,
        "cost": {**_cost(warm, log), "peak_memory": trained.peaks, "state_bytes": len(state)},
        **warm.provenance(),
    }
    config = yaml.safe_dump(work.baseline.model_dump(mode="json", by_alias=True), sort_keys=False)
    files = {"state.safetensors": state, "config.yaml": config.encode()}
    if isinstance(build_method(work.baseline.method, work.baseline.hyperparameters), PartialTuning):
        assert isinstance(trained.ticket, Ticket)
        whole = _with_values(warm, work, trained.ticket, outcome.state)
        files["ticket.safetensors"] = whole.to_bytes()
    warm.store.finish("state", work.key, record, files)
    warm.store.checkpoints(work.key).remove()
    return Outcome(work.key, "finished")


def _with_values(warm: Warm, work: Work, ticket: Ticket, state: dict[str, Tensor]) -> Ticket:
    """Return the ticket with its rows as they were trained: a file that stands on its own."""
    scope = warm.scope(ticket.tensor, work.baseline.train.precision, work.parents)
    return replace(
        ticket, values="trained", row_values=trained_rows(scope.matrix(), ticket, scope, state)
    )


def _cost(warm: Warm, log: StepLog) -> dict[str, Any]:
    return {
        "train_seconds": log.seconds,
        "tokens": log.tokens,
        "tokens_per_second": log.tokens / log.seconds if log.seconds else None,
        "workers": warm.worker.world_size,
    }
