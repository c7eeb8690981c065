"""The audit of a ticket: what two certificates claim, beside what the models do.

What is certified is partial transfer: the base model with the first k rows of the ticket taken over from the
input embedding of the tuned model. A certificate claims of a position that the audited model's next token is
the tuned model's. docs/certificates.md derives the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ksl_bench.audit.inputs import check_ticket, differing, input_rows, with_rows_of
from ksl_bench.audit.predictions import (
    SELECTION_DRAWS,
    Smoothing,
    predict,
    sample_examples,
    smoothed_classes,
)
from ksl_bench.audit.rules import Compared, judge
from ksl_bench.data.batching import Encoded
from ksl_bench.errors import TicketError
from ksl_bench.lottery.evidence import Evidence
from ksl_bench.lottery.ticket import Ticket
from ksl_bench.methods.partial import PartialTransfer

DEFAULT_SIZES = (4, 18, 64)

CERTIFIED = (
    "partial transfer: the base model with the first k rows of the ticket from the tuned model's input "
    "embedding; nothing is said of trained rows"
)
NOT_SOUND = (
    "The KS-sum rule is NOT sound. D compares which values a row holds, not where they stand. Read every "
    "row backwards: D = 0 for all of them, 100 % of the positions are certified, and agreement collapses "
    "(ksl-bench certify --counterexample)."
)
SMOOTHED = (
    "Smoothing certifies the smoothed models, the majority over noise on the embedded prefix, not the "
    "models that generate. A bound is wrong with probability alpha at most, one of n bounds with n alpha. "
    "Violations are counted against the tuned model's class as estimated from separate draws: an estimate."
)


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found."""

    report: dict[str, Any]
    """What `--json` prints, without where the inputs came from."""
    records: list[dict[str, Any]]
    """One record for every k and position."""


def sizes_of(ticket: Ticket, asked: Sequence[int]) -> tuple[int, ...]:
    """Return the sizes to audit, ascending: those asked for, else 4, 18, 64 and the ticket's own.

    Raises:
        TicketError: If the ticket has fewer rows than asked for.
    """
    for k in asked:
        if not 1 <= k <= ticket.k:
            raise TicketError(f"k: must be from 1 to {ticket.k}, the ticket's rows, got {k}")
    wanted = asked or [*(k for k in DEFAULT_SIZES if k <= ticket.k), ticket.k]
    return tuple(sorted(set(wanted)))


def audit(
    base: PreTrainedModel,
    tuned: PreTrainedModel,
    ticket: Ticket,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Encoded],
    *,
    sizes: Sequence[int],
    smoothing: Smoothing,
) -> Audit:
    """Audit the first k rows of a ticket, for each k.

    Args:
        base: The base model. It becomes the audited models in turn, so it is not the base afterwards.
        tuned: The model with the tuned input embedding.
        ticket: Rows of the input embedding, best first.
        tokenizer: Of the base.
        examples: Text whose response tokens are the positions.
        sizes: k, ascending, as `sizes_of` gives them.
        smoothing: How Gaussian smoothing is done.

    Raises:
        ModelError: If the models do not fit each other.
        TicketError: If the ticket does not fit the models.
    """
    before_VD, after_VD = input_rows(base), input_rows(tuned)
    check_ticket(ticket, before_VD, after_VD, tokenizer, dtype=base.dtype)
    others = differing(base, tuned)
    evidence = Evidence(before_VD=before_VD, after_VD=after_VD)
    compared = _compared(base, tuned, evidence, examples, smoothing)
    tickets, records = [], []
    for k in sizes:
        part = with_rows_of(ticket, after_VD, k)
        # Sizes ascend and rows are a prefix, so one model takes on row after row.
        PartialTransfer().attach(base, ticket=part, seed=0)
        found, of_positions = judge(base, predict(base, examples), part.token_ids, compared)
        tickets.append(found)
        records += [{"k": k, **one} for one in of_positions]
    report = _preamble(ticket, examples, smoothing, others, compared) | {"tickets": tickets}
    return Audit(report, records)


def _compared(
    base: PreTrainedModel,
    tuned: PreTrainedModel,
    evidence: Evidence,
    examples: Sequence[Encoded],
    smoothing: Smoothing,
) -> Compared:
    scale = float(getattr(base.get_input_embeddings(), "embed_scale", 1.0))
    sample = sample_examples(examples, positions=smoothing.positions, seed=smoothing.seed)
    width = evidence.pair()[0].shape[1]
    return Compared(
        examples=examples,
        distances_V=evidence.heights_V.to(torch.float64) / width,
        lengths_V=evidence.l2_V * scale,
        base=predict(base, examples),
        tuned=predict(tuned, examples),
        smoothing=smoothing,
        sample=sample,
        tuned_classes={
            sigma: smoothed_classes(
                tuned,
                examples,
                sample,
                sigma=sigma,
                draws=smoothing.draws,
                stream=(smoothing.seed, "tuned"),
            )
            for sigma in smoothing.sigmas
            if sample
        },
    )


def _preamble(
    ticket: Ticket,
    examples: Sequence[Encoded],
    smoothing: Smoothing,
    others: list[str],
    compared: Compared,
) -> dict[str, Any]:
    """Return what holds for every k: what is certified, under which assumptions, on what text."""
    return {
        "certified": CERTIFIED,
        "ks_sum_is_sound": False,
        "notes": [NOT_SOUND, SMOOTHED],
        "assumptions": [
            {
                "statement": "the tuned model is the base but for its input embedding",
                "holds": not others,
            },
            {"statement": "both models read the same prefix, the reference's", "holds": True},
            {"statement": "arithmetic is exact; rounding is not bounded", "holds": None},
        ],
        "other_parameters_equal": not others,
        "other_parameters_differing": others,
        "ticket": {
            "k": ticket.k,
            "criterion": ticket.criterion,
            "values": ticket.values,
            "base_digest": ticket.base_digest,
        },
        "sentences": len(examples),
        "truncated_sentences": sum(one.truncated for one in examples),
        "positions": len(compared.base.top_P),
        "base_and_tuned_differ": int((compared.base.top_P != compared.tuned.top_P).sum()),
        "smoothing": {
            **asdict(smoothing),
            "selection_draws": SELECTION_DRAWS,
            "sampled_sentences": [one + 1 for one in compared.sample],
        },
    }
