"""Make a ticket: select rows by a criterion."""

from __future__ import annotations

import time

from safetensors.torch import load
from torch import Tensor

from ksl_bench.data.batching import token_counts
from ksl_bench.errors import TicketError
from ksl_bench.lottery.criteria import CRITERIA, Evidence, select
from ksl_bench.lottery.ticket import Ticket, matrix_digest, rows_of
from ksl_bench.methods.base import input_embedding_name
from ksl_bench.models import tokenizer_digest
from ksl_bench.plan import Work
from ksl_bench.worker.outcome import Outcome
from ksl_bench.worker.warm import Warm


def build_ticket(warm: Warm, work: Work) -> Outcome:
    """Select rows and write the ticket; one rank does it, the others wait in their next call."""
    if not warm.worker.leads:
        return Outcome(work.key, "finished")
    started = time.perf_counter()
    spec = work.baseline.ticket
    assert spec is not None
    before = warm.embedding(work.baseline.train.precision)
    after = _tuned_embedding(warm, work)
    criterion = CRITERIA[spec.criterion]
    evidence = Evidence(
        before_VD=before,
        after_VD=after,
        counts_V=_counts(warm, work, len(before)) if criterion.needs_counts else None,
        seed=work.seed,
    )
    try:
        selection = select(criterion, evidence, k=spec.k, alpha=spec.alpha)
    except TicketError as error:
        return Outcome(work.key, "skipped", str(error))
    ticket = Ticket(
        base_model=warm.setting.model.name,
        revision=warm.setting.model.revision,
        base_digest=matrix_digest(before),
        tokenizer_digest=tokenizer_digest(warm.tokenizer),
        tensor="input_embedding",
        criterion=spec.criterion,
        alpha=spec.alpha,
        k=len(selection.token_ids),
        source_state=work.state_key,
        values="none" if after is None else "transferred",
        rows=rows_of(selection, warm.tokenizer.convert_ids_to_tokens),
        row_values=None if after is None else after[selection.token_ids].clone(),
    )
    record = {
        "baseline": work.baseline.name,
        "seed": work.seed,
        "inputs": work.inputs,
        "ticket": ticket.header(),
        "cost": {"selection_seconds": time.perf_counter() - started},
        **warm.provenance(),
    }
    warm.store.finish("ticket", work.key, record, {"ticket": ticket.to_bytes()})
    return Outcome(work.key, "finished")


def _tuned_embedding(warm: Warm, work: Work) -> Tensor | None:
    if work.state_key is None:
        return None
    assert work.state_baseline is not None
    tuned = warm.attach(work.state_baseline, None, work.seed)
    name = input_embedding_name(tuned)
    state: dict[str, Tensor] = load(
        warm.store.read_bytes("state", work.state_key, "state.safetensors")
    )
    return state[name]


def _counts(warm: Warm, work: Work, vocabulary: int) -> Tensor:
    return token_counts(warm.encoded(work.baseline.train.max_seq_length), vocabulary=vocabulary)
