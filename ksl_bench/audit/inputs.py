"""What an audit compares: two models and a ticket that must fit them, and the two of the counterexample.

Shapes: V vocabulary, D model width, K rows of the ticket.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ksl_bench.errors import ModelError, TicketError
from ksl_bench.lottery.criteria import CRITERIA
from ksl_bench.lottery.evidence import Evidence
from ksl_bench.lottery.selection import select
from ksl_bench.lottery.ticket import Ticket, matrix_digest, rows_of
from ksl_bench.methods.base import is_tied, untie
from ksl_bench.methods.scope import INPUT_EMBEDDING, find_scope
from ksl_bench.models import tokenizer_digest

UNSAID = frozenset(
    {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"}
)
"""What a configuration holds that changes no prediction."""


def input_rows(model: PreTrainedModel) -> Tensor:
    """Return a copy of the input embedding, float32, shape (V, D), on the CPU."""
    return find_scope(model, INPUT_EMBEDDING).matrix().clone()


def check_ticket(
    ticket: Ticket,
    base_VD: Tensor,
    tuned_VD: Tensor,
    tokenizer: PreTrainedTokenizerBase,
    *,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Check that a ticket speaks of these two input embeddings.

    Args:
        ticket: Of the base, its values absent or the tuned model's.
        base_VD: The base's input embedding, float32.
        tuned_VD: The tuned model's, float32.
        tokenizer: Of the base.
        dtype: In which the models hold their weights; a ticket's values are compared rounded to it.

    Raises:
        ModelError: If the embeddings differ in shape, or hold a value that is not finite.
        TicketError: If the ticket is for other rows, or its values are not the tuned model's.
    """
    if ticket.tensor != INPUT_EMBEDDING:
        raise TicketError(f"only tickets of {INPUT_EMBEDDING} are certified, got {ticket.tensor!r}")
    if ticket.values == "trained":
        raise TicketError(
            "the ticket's values are trained, and no certificate speaks of them: its rows are not the "
            "tuned model's, so they belong to what changed; give the ticket that it was trained from"
        )
    ticket.check_base(
        base_digest=matrix_digest(base_VD), tokenizer_digest=tokenizer_digest(tokenizer)
    )
    if base_VD.shape != tuned_VD.shape:
        raise ModelError(
            f"the tuned model's input embedding has shape {tuple(tuned_VD.shape)}, "
            f"the base's {tuple(base_VD.shape)}"
        )
    if not tuned_VD.isfinite().all():
        raise ModelError("the tuned model's input embedding has a value that is not finite")
    if max(ticket.token_ids) >= len(base_VD):
        raise TicketError(
            f"the ticket names row {max(ticket.token_ids)}, the base has {len(base_VD)} rows"
        )
    _check_values(ticket, tuned_VD, dtype)


def _check_values(ticket: Ticket, tuned_VD: Tensor, dtype: torch.dtype) -> None:
    if ticket.row_values is None:
        return
    wanted_KD = tuned_VD[ticket.token_ids]
    if ticket.row_values.shape != wanted_KD.shape:
        raise TicketError(
            f"the ticket's rows are {ticket.row_values.shape[1]} wide, the model's {wanted_KD.shape[1]}"
        )
    differ = (ticket.row_values.to(dtype).float() != wanted_KD).any(dim=1).nonzero().squeeze(-1)
    if len(differ):
        row = ticket.rows[int(differ[0])]
        raise TicketError(
            f"the ticket was found in another tuned model: {len(differ)} of its {ticket.k} rows differ "
            f"from this one's, the first is token {row.token_id} ({row.token!r})"
        )


def differing(base: PreTrainedModel, tuned: PreTrainedModel) -> list[str]:
    """Return what of two models differs beside the input embedding: parameters, buffers, configuration."""
    name = find_scope(base, INPUT_EMBEDDING).modules[0][0] + ".weight"
    before, after = base.state_dict(), tuned.state_dict()
    names = sorted((before.keys() | after.keys()) - {name})
    found = [
        one
        for one in names
        if one not in before or one not in after or not torch.equal(before[one], after[one])
    ]
    ours, theirs = base.config.to_dict(), tuned.config.to_dict()
    # Untied embeddings that are equal are no other model.
    fields = sorted((ours.keys() | theirs.keys()) - UNSAID - {"tie_word_embeddings", "use_cache"})
    return found + [f"config.{one}" for one in fields if ours.get(one) != theirs.get(one)]


def with_rows_of(ticket: Ticket, tuned_VD: Tensor, k: int) -> Ticket:
    """Return the first k rows of a ticket, with the tuned model's values."""
    rows = ticket.rows[:k]
    values = tuned_VD[[one.token_id for one in rows]].clone()
    return replace(ticket, k=k, rows=rows, values="transferred", row_values=values)


def counterexample(
    base: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, name: str, k: int
) -> tuple[PreTrainedModel, Ticket]:
    """Build a tuned model of which the KS-sum rule certifies everything, and its ticket.

    Every row of the base's input embedding is read backwards: one fixed permutation of its values. Each row
    keeps its values, so D = 0 for all of them, though to the model every row is another one. The ticket is
    the one that the KS criterion finds: all p are 1, so the length of the change decides.

    Args:
        base: Left as it is.
        tokenizer: Of the base.
        name: What the ticket calls the base.
        k: Rows of the ticket.

    Returns:
        The tuned model and the ticket.

    Raises:
        TicketError: If there are fewer than k rows.
    """
    tuned = copy.deepcopy(base)
    if is_tied(tuned):
        untie(tuned)
    before_VD = input_rows(base)
    after_VD = before_VD.flip(1)
    with torch.no_grad():
        weight = tuned.get_input_embeddings().weight
        weight.copy_(after_VD.to(weight))
    evidence = Evidence(before_VD=before_VD, after_VD=after_VD, k=k)
    selection = select(CRITERIA["ks"], evidence)
    ticket = Ticket(
        base_model=name,
        revision=None,
        base_digest=matrix_digest(before_VD),
        tokenizer_digest=tokenizer_digest(tokenizer),
        tensor=INPUT_EMBEDDING,
        criterion="ks",
        alpha=None,
        k=k,
        source_state=None,
        values="transferred",
        rows=rows_of(selection, tokenizer.convert_ids_to_tokens),
        tests=selection.tests,
        row_values=after_VD[selection.token_ids].clone(),
    )
    return tuned, ticket
