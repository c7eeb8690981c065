"""Make a ticket: select rows by a criterion; of entries, see `masks.py`."""

from __future__ import annotations

import time

from safetensors.torch import load
from torch import Tensor

from ksl_bench.config import TicketSpec
from ksl_bench.data.batching import padding_id, token_counts
from ksl_bench.errors import TicketError
from ksl_bench.lottery.criteria import CRITERIA
from ksl_bench.lottery.entries import ENTRY_CRITERIA
from ksl_bench.lottery.evidence import Evidence
from ksl_bench.lottery.published import TICKETS
from ksl_bench.lottery.selection import select
from ksl_bench.lottery.ticket import Ticket, rows_of
from ksl_bench.methods.scope import TOKEN_SCOPES, find_scope, trained_matrix
from ksl_bench.models import tokenizer_digest
from ksl_bench.plan import Work
from ksl_bench.tasks.encoding import instruction_tokens
from ksl_bench.training.gradients import row_gradients
from ksl_bench.worker.masks import build_mask
from ksl_bench.worker.outcome import Outcome
from ksl_bench.worker.warm import Warm, tuned_share


def build_ticket(warm: Warm, work: Work) -> Outcome:
    """Select rows or entries and write the ticket; one rank does it, the others wait in their next call."""
    if not warm.worker.leads:
        return Outcome(work.key, "finished")
    started = time.perf_counter()
    spec, precision = work.baseline.ticket, work.baseline.train.precision
    assert spec is not None
    if spec.criterion in ENTRY_CRITERIA:
        return build_mask(warm, work, spec)
    evidence, excluded = _evidence(warm, work, spec), _excluded(warm, work)
    try:
        selection = select(CRITERIA[spec.criterion], evidence, alpha=spec.alpha, excluded=excluded)
    except TicketError as error:
        return Outcome(work.key, "skipped", str(error))
    scope, after = warm.scope(spec.scope, precision, work.parents), evidence.after_VD
    ticket = Ticket(
        base_model=warm.setting.model.name,
        revision=warm.setting.model.revision,
        base_digest=warm.digest(spec.scope, precision, work.parents),
        tokenizer_digest=tokenizer_digest(warm.tokenizer),
        tensor=spec.scope,
        criterion=spec.criterion,
        alpha=spec.alpha,
        k=len(selection.token_ids),
        source_state=work.state_key,
        values="none" if after is None else "transferred",
        rows=rows_of(selection, scope.row_names(warm.tokenizer.convert_ids_to_tokens)),
        tests=selection.tests,
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


def _excluded(warm: Warm, work: Work) -> list[int]:
    """Return the rows of tickets with which this one has nothing in common."""
    found = [warm.selection(key) for key in work.excluded]
    return [row for one in found if isinstance(one, Ticket) for row in one.token_ids]


def _evidence(warm: Warm, work: Work, spec: TicketSpec) -> Evidence:
    """Gather what is known of the rows; what costs something only if the criterion needs it."""
    criterion = CRITERIA[spec.criterion]
    before = warm.scope(spec.scope, work.baseline.train.precision, work.parents).matrix()
    tokens = spec.scope in TOKEN_SCOPES
    return Evidence(
        before_VD=before,
        after_VD=_tuned_rows(warm, work, spec),
        counts_V=_counts(warm, work, len(before)) if tokens else None,
        template_V=_template(warm, work, len(before)) if tokens else None,
        gradient_V=_gradients(warm, work, spec) if "gradient" in criterion.needs else None,
        bos_id=warm.tokenizer.bos_token_id,
        published_ids=TICKETS.get(work.task.language_pair) if work.task.language_pair else None,
        k=spec.k,
        seed=work.seed,
    )


def _tuned_rows(warm: Warm, work: Work, spec: TicketSpec) -> Tensor | None:
    if work.state_key is None:
        return None
    assert work.state_baseline is not None
    tuned = warm.attach(work.state_baseline, None, work.seed, work.parents)
    content = warm.store.read_bytes("state", work.state_key, "state.safetensors")
    state: dict[str, Tensor] = load(content)
    return trained_matrix(find_scope(tuned, spec.scope), tuned, state)


def _counts(warm: Warm, work: Work, vocabulary: int) -> Tensor:
    return token_counts(warm.tuning_text(work.baseline, work.task), vocabulary=vocabulary)


def _template(warm: Warm, work: Work, vocabulary: int) -> Tensor:
    places = tuned_share(work.baseline, warm.sentence_places(work.task, "train"))
    return instruction_tokens(places, vocabulary=vocabulary)


def _gradients(warm: Warm, work: Work, spec: TicketSpec) -> Tensor:
    train = work.baseline.train
    return row_gradients(
        warm.model(train.precision, work.parents),
        spec.scope,
        warm.tuning_text(work.baseline, work.task),
        batch_size=train.micro_batch_size,
        pad_id=padding_id(warm.tokenizer),
        device=warm.worker.device,
        sides=work.baseline.hyperparameters.get("sides", "named"),
    )
