"""Make several states in one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ksl_bench import measure
from ksl_bench.data.batching import padding_id
from ksl_bench.lottery.ticket import Ticket
from ksl_bench.methods.packed import attach_packed
from ksl_bench.pack import Pack
from ksl_bench.plan import Work
from ksl_bench.training.checkpoints import StoredCheckpoints
from ksl_bench.training.packed import PackedRun, PackedTrial
from ksl_bench.worker.outcome import Outcome, Report
from ksl_bench.worker.states import Trained, build_state, write_state
from ksl_bench.worker.steplog import StepLog, followed
from ksl_bench.worker.warm import Warm

ReportOf = Callable[[str], Report]
"""By key: told how far that state is."""

Begun = tuple[Work, StoredCheckpoints]
"""A state, and what there is of it."""


def build_pack(warm: Warm, pack: Pack, report_of: ReportOf) -> Iterator[Outcome]:
    """Train several tickets in one batch and write what each became; a collective call.

    A pack walks in step, so states with checkpoints of different steps are no pack. A model with dropout
    draws other masks for an example that is not alone in its batch: there all are made one by one.

    Yields:
        How each state ended, once it is written.
    """
    alone = warm.has_dropout(pack.works[0].baseline.train.precision)
    by_step: dict[int, list[Begun]] = {}
    for work in pack.works:
        begun = StoredCheckpoints(warm.store, work.key, warm.worker)
        by_step.setdefault(begun.step(), []).append((work, begun))
    for members in by_step.values():
        if not alone and len(members) > 1:
            measure.reset_peak_memory(warm.worker.device)
            yield from _build_together(warm, members, report_of)
            continue
        for work, _ in members:
            measure.reset_peak_memory(warm.worker.device)
            yield build_state(warm, work, report_of(work.key))


def _build_together(warm: Warm, members: Sequence[Begun], report_of: ReportOf) -> Iterator[Outcome]:
    works = [work for work, _ in members]
    train = works[0].baseline.train
    tickets = [warm.ticket_of(work) for work in works]
    found = [one for one in tickets if isinstance(one, Ticket)]
    assert len(found) == len(works), "partial tuning needs a ticket"
    model = warm.model(train.precision)
    base = sum(one.numel() for one in model.parameters())
    packed, name = attach_packed(model, found)
    rows = [delta_KD.numel() for delta_KD in packed.deltas]
    examples = warm.tuning_text(works[0].baseline, works[0].task)
    steps = train.total_steps(examples=len(examples))
    logs = [
        StepLog(warm.store, work.key, steps, begun.step(), report_of(work.key))
        for work, begun in members
    ]
    trials = [
        PackedTrial(work.baseline.train, work.seed, *followed(begun, log, warm.worker))
        for (work, begun), log in zip(members, logs, strict=True)
    ]
    pad_id = padding_id(warm.tokenizer)
    run = PackedRun(model, packed, name, examples, trials, pad_id=pad_id, worker=warm.worker)
    ended = run.train()
    peaks = warm.peaks()
    together: dict[str, Any] = {"trials": len(works), "seconds": sum(log.seconds for log in logs)}
    for number, work in enumerate(works):
        if not warm.worker.leads:
            yield Outcome(work.key, ended[number].status, ended[number].reason)
            continue
        trained = Trained(
            outcome=ended[number],
            ticket=found[number],
            parameters={"trainable": rows[number], "total": base + rows[number]},
            steps=steps,
            peaks=peaks,
            log=logs[number],
        )
        yield write_state(warm, work, trained, pack=together)
