"""Partial tuning and partial transfer: only the rows of a ticket change.

Partial tuning trains a compact parameter of K rows that is added where a ticket token stands. No
matrix of V rows is copied or differentiated, the optimizer holds K rows, and rows outside the ticket
cannot move, whatever the weight decay: they are not parameters.

Shapes: B batch, L length, V vocabulary, D model width, K ticket rows.
Source: KS-Lottery (arXiv:2402.02801), section 3.
"""

from __future__ import annotations

from typing import ClassVar, Literal, cast

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from transformers import PreTrainedModel

from ksl_bench.errors import MethodError
from ksl_bench.lottery.ticket import Ticket
from ksl_bench.methods.base import STRICT, freeze, is_tied, untie


class RowDeltaEmbedding(nn.Module):
    """A frozen embedding, plus a trained change of K of its rows."""

    slots_V: Tensor

    def __init__(self, embedding: nn.Embedding, token_ids_K: Tensor) -> None:
        """Wrap an embedding; the change starts at zero.

        Args:
            embedding: Frozen, weight of shape (V, D).
            token_ids_K: Rows that may change, int64, shape (K,), no duplicates.
        """
        super().__init__()
        self.embedding = embedding
        weight = embedding.weight
        slots = torch.full((embedding.num_embeddings,), -1, dtype=torch.int64)
        slots[token_ids_K] = torch.arange(len(token_ids_K))
        self.register_buffer("slots_V", slots.to(weight.device), persistent=False)
        self.delta_KD = nn.Parameter(
            torch.zeros(len(token_ids_K), embedding.embedding_dim, dtype=weight.dtype).to(
                weight.device
            )
        )

    def forward(self, input_ids_BL: Tensor) -> Tensor:
        """Look up (B, L) ids; return (B, L, D)."""
        hidden_BLD: Tensor = self.embedding(input_ids_BL)
        slots = self.slots_V[input_ids_BL].flatten()
        # Positions without a ticket token are left alone; with none at all the (empty) sum still
        # reaches the parameter, so that every rank has a gradient to reduce.
        positions = (slots >= 0).nonzero().squeeze(-1)
        added = self.delta_KD[slots[positions]] * getattr(self.embedding, "embed_scale", 1.0)
        flat = hidden_BLD.flatten(0, -2).index_add(0, positions, added.to(hidden_BLD.dtype))
        return flat.view_as(hidden_BLD)


class RowDeltaHead(nn.Module):
    """A frozen output head, plus the change of K of its rows that the tied input embedding trains."""

    token_ids_K: Tensor

    def __init__(self, head: nn.Linear, delta_KD: nn.Parameter, token_ids_K: Tensor) -> None:
        """Wrap a head of weight (V, D); `delta_KD` is shared with the embedding's wrapper."""
        super().__init__()
        self.head = head
        self.delta_KD = delta_KD
        self.register_buffer("token_ids_K", token_ids_K.to(delta_KD.device), persistent=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (..., D) to logits (..., V)."""
        logits: Tensor = self.head(hidden)
        return logits.index_add(-1, self.token_ids_K, hidden @ self.delta_KD.T)


def ticket_ids(model: PreTrainedModel, ticket: Ticket | None) -> Tensor:
    """Return a ticket's rows, checked against the model's vocabulary; int64, shape (K,).

    Raises:
        MethodError: If there is no ticket, or a row lies outside the vocabulary.
    """
    if ticket is None:
        raise MethodError("this method needs a ticket")
    ids = torch.tensor(ticket.token_ids, dtype=torch.int64)
    size = model.get_input_embeddings().num_embeddings
    if len(ids) == 0 or int(ids.max()) >= size:
        raise MethodError(f"the ticket names row {int(ids.max())} of a vocabulary of {size}")
    return ids


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PartialTuning:
    """Train the K rows of a ticket from the base model."""

    sides: Literal["input", "both"] = "input"
    """With tied embeddings: change the input side only, or both. Without, `input` is all there is."""

    needs_ticket: ClassVar[bool] = True
    trains: ClassVar[bool] = True
    no_gradient_checkpointing: ClassVar[str | None] = None

    def attach(self, model: PreTrainedModel, *, ticket: Ticket | None, seed: int) -> nn.Module:
        """Wrap the input embedding, and the head too if both sides of a tied one are to change."""
        freeze(model)
        ids = ticket_ids(model, ticket)
        tied = is_tied(model)
        rows = RowDeltaEmbedding(cast(nn.Embedding, model.get_input_embeddings()), ids)
        if tied and self.sides == "both":
            head = cast(nn.Linear, model.get_output_embeddings())
            model.set_output_embeddings(RowDeltaHead(head, rows.delta_KD, ids))
        model.set_input_embeddings(rows)
        return cast(nn.Module, model)

    def merge(self, model: nn.Module) -> PreTrainedModel | None:
        """Add the change to the rows; a tied model tuned on the input side is untied for it."""
        assert isinstance(model, PreTrainedModel)
        rows = model.get_input_embeddings()
        assert isinstance(rows, RowDeltaEmbedding)
        head = model.get_output_embeddings()
        model.set_input_embeddings(rows.embedding)
        if isinstance(head, RowDeltaHead):
            model.set_output_embeddings(head.head)
        elif is_tied(model):
            untie(model)
        with torch.no_grad():
            chosen = rows.slots_V >= 0
            rows.embedding.weight[chosen] += rows.delta_KD[rows.slots_V[chosen]]
        return model


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PartialTransfer:
    """Paste the K tuned rows that a ticket carries into the base model; nothing is trained."""

    sides: Literal["input", "both"] = "input"
    """With tied embeddings: change the input side only, or both. Without, `input` is all there is."""

    needs_ticket: ClassVar[bool] = True
    trains: ClassVar[bool] = False
    no_gradient_checkpointing: ClassVar[str | None] = None

    def attach(self, model: PreTrainedModel, *, ticket: Ticket | None, seed: int) -> nn.Module:
        """Write the ticket's values over the rows of the base.

        Raises:
            MethodError: If the ticket carries no values.
        """
        freeze(model)
        ids = ticket_ids(model, ticket)
        assert ticket is not None
        if ticket.row_values is None:
            raise MethodError(
                f"partial transfer needs the tuned rows, but this {ticket.criterion} ticket has none: "
                "name the tuned baseline in ticket.from"
            )
        if is_tied(model) and self.sides == "input":
            untie(model)
        weight = model.get_input_embeddings().weight
        with torch.no_grad():
            weight[ids.to(weight.device)] = ticket.row_values.to(weight)
        return cast(nn.Module, model)

    def merge(self, model: nn.Module) -> PreTrainedModel | None:
        """Return the model, which holds the rows already."""
        assert isinstance(model, PreTrainedModel)
        return model
