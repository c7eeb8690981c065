"""Audits of the tickets of a suite that was run, on the text that it scores; kept in its store."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from safetensors.torch import load
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ksl_bench.audit.predictions import Smoothing
from ksl_bench.audit.report import audit
from ksl_bench.config import Baseline, Suite
from ksl_bench.errors import StorageError, TicketError
from ksl_bench.lottery.ticket import Ticket
from ksl_bench.methods import build_method
from ksl_bench.methods.base import load_state
from ksl_bench.methods.scope import INPUT_EMBEDDING
from ksl_bench.models import ModelReference, find_model, load_model, load_tokenizer
from ksl_bench.registry import unknown
from ksl_bench.store import Store
from ksl_bench.store.audits import write_audit
from ksl_bench.tasks import build_task
from ksl_bench.tasks.encoding import UNCUT, encode_examples


@dataclass(frozen=True, slots=True)
class _Claim:
    """A ticket whose rows are taken over from the embedding that it was found in."""

    baseline: Baseline
    source: Baseline
    condition: str
    seed: int
    ticket: str
    state: str


def certify_suite(
    store: Store,
    suite: str,
    *,
    smoothing: Smoothing,
    limit: int | None = None,
    tell: Callable[[dict[str, Any]], None] = lambda audited: None,
) -> list[dict[str, Any]]:
    """Audit every KS ticket that a suite transfers, and keep what was found for the leaderboard.

    Args:
        store: Where the suite was run.
        suite: Its name.
        smoothing: How Gaussian smoothing is done.
        limit: Sentences to use of each condition's scored split, from the first.
        tell: Told of each audit once it is kept.

    Raises:
        StorageError: If the suite was never run over this store.
        TicketError: If it transfers no ticket that is finished.
    """
    plan = store.plans.read(suite)
    if plan is None:
        raise StorageError(f"nothing is stored of {unknown('suite', suite, store.plans.names())}")
    settings = Suite.model_validate(plan["suite"])
    claims = list(_claims(store, settings, plan))
    if not claims:
        raise TicketError(
            f"{suite!r} has no finished KS ticket under partial_transfer; certificates speak of no other"
        )
    pinned = {"revision": plan["model"]["revision"]}
    reference = find_model(settings.model.model_copy(update=pinned))
    tokenizer, found = load_tokenizer(reference), []
    for claim in claims:
        told = _audited(store, settings, claim, reference, tokenizer, smoothing, limit)
        write_audit(store, claim.ticket, told)
        tell(told)
        found.append(told)
    return found


def _claims(store: Store, settings: Suite, plan: Mapping[str, Any]) -> Iterator[_Claim]:
    recipes = {one.name: one for one in settings.baselines}
    seen = set()
    for row in plan["rows"]:
        baseline, spec = recipes[row["baseline"]], recipes[row["baseline"]].ticket
        home = row["condition"] == row["scored_under"] and row["condition"] in settings.tasks
        if spec is None or not home or baseline.method != "partial_transfer":
            continue
        certified = spec.criterion == "ks" and spec.scope == INPUT_EMBEDDING
        keys = row["ticket"], row["source_state"]
        there = all(
            key and store.is_finished(kind, key)
            for kind, key in zip(("ticket", "state"), keys, strict=True)
        )
        if certified and there and spec.source and row["ticket"] not in seen:
            seen.add(row["ticket"])
            source = recipes[spec.source]
            yield _Claim(baseline, source, row["condition"], row["seed"], *keys)


def _audited(
    store: Store,
    settings: Suite,
    claim: _Claim,
    reference: ModelReference,
    tokenizer: PreTrainedTokenizerBase,
    smoothing: Smoothing,
    limit: int | None,
) -> dict[str, Any]:
    base = load_model(reference, precision=claim.source.train.precision)
    ticket = Ticket.from_bytes(store.read_ticket(claim.ticket))
    task = build_task(settings.tasks[claim.condition])
    text = task.read(settings.evaluate.split)
    examples = encode_examples(task, text.items[:limit], tokenizer, max_seq_length=UNCUT)
    tuned = _tuned(store, claim, copy.deepcopy(base))
    found = audit(base, tuned, ticket, tokenizer, examples, sizes=(ticket.k,), smoothing=smoothing)
    where = {"baseline": claim.baseline.name, "condition": claim.condition, "seed": claim.seed}
    return {**where, "ticket_key": claim.ticket, **found.report, "text": text.digest}


def _tuned(store: Store, claim: _Claim, base: PreTrainedModel) -> PreTrainedModel:
    method = build_method(claim.source.method, claim.source.hyperparameters)
    attached = method.attach(base, ticket=None, seed=claim.seed)
    load_state(attached, load(store.read_bytes("state", claim.state, "state.safetensors")))
    merged = method.merge(attached)
    if merged is None:
        raise TicketError(f"{claim.source.method} cannot be folded into the base model")
    return merged.requires_grad_(False)
