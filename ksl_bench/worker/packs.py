"""Make several states in one batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from ksl_bench.data.batching import padding_id
from ksl_bench.methods.packed import attach_packed
from ksl_bench.pack import Pack
from ksl_bench.training.checkpoints import StoredCheckpoints
from ksl_bench.training.packed import PackedRun, PackedTrial
from ksl_bench.worker.outcome import Outcome, Report
from ksl_bench.worker.states import Trained, build_state, write_state
from ksl_bench.worker.steplog import StepLog
from ksl_bench.worker.warm import Warm

ReportOf = Callable[[str], Report]
"""By key: told how far that state is."""


def build_pack(warm: Warm, pack: Pack, report_of: ReportOf) -> list[Outcome]:
    """Train several tickets in one batch and write what each became; a collective call.

    A model with dropout draws other masks for an example that is not alone in its batch: there the
    states are made one by one.
    """
    works, train = pack.works, pack.works[0].baseline.train
    model = warm.model(train.precision)
    if has_dropout(model):
        return [build_state(warm, work, report_of(work.key)) for work in works]
    tickets = [warm.read_ticket(work.ticket_key, train.precision) for work in works]
    found = [one for one in tickets if one is not None]
    assert len(found) == len(works), "partial tuning needs a ticket"
    packed, name = attach_packed(model, found)
    examples = warm.encoded(works[0].task, train.max_seq_length)
    total = sum(one.numel() for one in model.parameters())
    mine = [delta.numel() for delta in packed.deltas]
    steps = train.total_steps(examples=len(examples))
    checkpoints = [StoredCheckpoints(warm.store, work.key, warm.worker) for work in works]
    same = len({one.step() for one in checkpoints}) == 1
    logs = [
        StepLog(warm.store, work.key, steps, one.step() if same else 0, report_of(work.key))
        for work, one in zip(works, checkpoints, strict=True)
    ]
    trials = [
        PackedTrial(
            work.baseline.train, work.seed, one, log if warm.worker.leads else lambda metrics: None
        )
        for work, one, log in zip(works, checkpoints, logs, strict=True)
    ]
    pad_id = padding_id(warm.tokenizer)
    run = PackedRun(model, packed, name, examples, trials, pad_id=pad_id, worker=warm.worker)
    ended = run.train()
    peaks = warm.peaks()
    if not warm.worker.leads:
        return [
            Outcome(work.key, one.status, one.reason)
            for work, one in zip(works, ended, strict=True)
        ]
    together: dict[str, Any] = {"trials": len(works), "seconds": sum(log.seconds for log in logs)}
    outcomes = []
    for number, work in enumerate(works):
        trained = Trained(
            outcome=ended[number],
            ticket=found[number],
            parameters={"trainable": mine[number], "total": total - sum(mine) + mine[number]},
            steps=steps,
            peaks=peaks,
            log=logs[number],
        )
        outcomes.append(write_state(warm, work, trained, pack=together))
    return outcomes


def has_dropout(model: nn.Module) -> bool:
    """Tell whether a model draws masks while it is trained."""
    layers = any(isinstance(one, nn.Dropout) and one.p > 0 for one in model.modules())
    named = model.config.to_dict()  # type: ignore[union-attr,operator]
    return layers or any(
        isinstance(value, (int, float)) and value > 0
        for field, value in named.items()
        if "dropout" in field or field.endswith("_pdrop")
    )
