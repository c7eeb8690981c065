"""Partial tuning and partial transfer: only the rows of a ticket change.

Partial tuning trains a compact parameter of K rows that is added where a ticket's row is used. No
matrix of V rows is copied or differentiated, the optimizer holds K rows, and rows outside the ticket
cannot move, whatever the weight decay: they are not parameters.

Shapes: B batch, L length, V vocabulary, D model width, K ticket rows.
Source: KS-Lottery (arXiv:2402.02801), section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ksl_bench.errors import MethodError
from ksl_bench.lottery.mask import AnyTicket
from ksl_bench.lottery.ticket import Ticket
from ksl_bench.methods.base import STRICT, Sides, freeze, is_tied, untie
from ksl_bench.methods.scope import INPUT_EMBEDDING, Scope, find_scope

if TYPE_CHECKING:  # its model code takes seconds to import
    from transformers import PreTrainedModel


class Activity:
    """At which positions of a generation a change of rows acts; for the position ablation."""

    def __init__(self, *, generated: bool) -> None:
        """Say whether the change acts on generated text; `begin` says where in the prompt."""
        self._generated = generated
        self._prompt_BL: Tensor | None = None

    def begin(self, prompt_BL: Tensor) -> None:
        """Take the positions of the next batch of prompts at which the change acts, bool, (B, L)."""
        self._prompt_BL = prompt_BL

    def mask(self, input_ids_BL: Tensor) -> Tensor:
        """Return the positions at which the change acts in this call, bool, (B, L).

        The first call after `begin` reads the prompts, each later one a generated token a row.
        """
        if self._prompt_BL is None:
            return torch.full_like(input_ids_BL, self._generated, dtype=torch.bool)
        mask_BL, self._prompt_BL = self._prompt_BL.to(input_ids_BL.device), None
        # Beam search reads each prompt once a beam.
        mask_BL = mask_BL.repeat_interleave(len(input_ids_BL) // len(mask_BL), dim=0)
        assert mask_BL.shape == input_ids_BL.shape
        return mask_BL


class RowDeltaEmbedding(nn.Module):
    """A frozen embedding, plus a trained change of K of its rows."""

    slots_V: Tensor
    rows_K: Tensor

    def __init__(self, embedding: nn.Embedding, token_ids_K: Tensor) -> None:
        """Wrap an embedding; the change starts at zero.

        Args:
            embedding: Frozen, weight of shape (V, D).
            token_ids_K: Rows that may change, int64, shape (K,), no duplicates.
        """
        super().__init__()
        self.embedding = embedding
        weight = embedding.weight
        self.register_buffer("rows_K", token_ids_K.to(weight.device), persistent=False)
        self.activity: Activity | None = None
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
        if self.activity is not None:
            slots = slots.where(self.activity.mask(input_ids_BL).flatten(), -1)
        # Positions without a ticket token are left alone; with none at all the (empty) sum still
        # reaches the parameter, so that every rank has a gradient to reduce.
        positions = (slots >= 0).nonzero().squeeze(-1)
        added = self.delta_KD[slots[positions]] * getattr(self.embedding, "embed_scale", 1.0)
        flat = hidden_BLD.flatten(0, -2).index_add(0, positions, added.to(hidden_BLD.dtype))
        return flat.view_as(hidden_BLD)


class RowDeltaLinear(nn.Module):
    """A frozen linear map, plus a trained change of K rows of its weight."""

    rows_K: Tensor

    def __init__(
        self, linear: nn.Linear, rows_K: Tensor, delta_KD: nn.Parameter | None = None
    ) -> None:
        """Wrap a linear map; the change starts at zero.

        Args:
            linear: Frozen, weight of shape (V, D).
            rows_K: Rows that may change, int64, shape (K,), no duplicates.
            delta_KD: The change, where it is shared with a tied embedding's wrapper.
        """
        super().__init__()
        self.linear = linear
        weight = linear.weight
        self.register_buffer("rows_K", rows_K.to(weight.device), persistent=False)
        self.delta_KD = (
            nn.Parameter(torch.zeros(len(rows_K), weight.shape[1]).to(weight))
            if delta_KD is None
            else delta_KD
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (..., D) to (..., V)."""
        outputs: Tensor = self.linear(hidden)
        added = hidden @ self.delta_KD.T
        return outputs.index_add(-1, self.rows_K, added.to(outputs.dtype))


RowDelta = RowDeltaEmbedding | RowDeltaLinear


def ticket_scope(model: PreTrainedModel, ticket: AnyTicket | None) -> tuple[Ticket, Scope]:
    """Return the ticket that a method needs, and the weights it picks rows from.

    Raises:
        MethodError: If there is no ticket, or the model has no such weights.
    """
    if not isinstance(ticket, Ticket):
        raise MethodError("this method needs a ticket of rows")
    return ticket, find_scope(model, ticket.tensor)


def both_sides(model: PreTrainedModel, scope: Scope, sides: Sides) -> bool:
    """Tell whether a change of the input embedding is one of the tied head, too.

    Raises:
        MethodError: If both sides are asked for by the name of the other one.
    """
    if sides == "named" or not is_tied(model):
        return False
    if scope.name != INPUT_EMBEDDING:
        raise MethodError(
            f"sides: both is a change of the {INPUT_EMBEDDING}; got scope {scope.name!r}"
        )
    return True


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PartialTuning:
    """Train the K rows of a ticket from the base model."""

    sides: Sides = "named"
    """With tied embeddings: change the side that the ticket names, or both."""

    needs_ticket: ClassVar[bool] = True
    trains: ClassVar[bool] = True
    no_gradient_checkpointing: ClassVar[str | None] = None
    no_merge: ClassVar[str | None] = None

    def attach(self, model: PreTrainedModel, *, ticket: AnyTicket | None, seed: int) -> nn.Module:
        """Wrap the weights that hold rows of the ticket, and a tied twin if both sides are to change."""
        freeze(model)
        ticket, scope = ticket_scope(model, ticket)
        both = both_sides(model, scope, self.sides)
        for part in scope.parts(ticket.token_ids):
            wrapped: RowDelta
            if isinstance(part.module, nn.Embedding):
                wrapped = RowDeltaEmbedding(part.module, part.rows_K)
            else:
                wrapped = RowDeltaLinear(cast(nn.Linear, part.module), part.rows_K)
            model.set_submodule(part.name, wrapped)
            if both:
                head = cast(nn.Linear, model.get_output_embeddings())
                model.set_output_embeddings(RowDeltaLinear(head, part.rows_K, wrapped.delta_KD))
        return cast(nn.Module, model)

    def merge(self, model: nn.Module) -> PreTrainedModel | None:
        """Add the change to the rows; a tied model tuned on one side is untied for it."""
        deltas = row_deltas(model)
        for name, wrapped in deltas.items():
            model.set_submodule(name, unwrapped(wrapped))
        shared = len({id(one.delta_KD) for one in deltas.values()}) < len(deltas)
        if is_tied(model) and not shared:
            untie(model)
        for wrapped in list(deltas.values())[: 1 if shared else None]:
            inner = unwrapped(wrapped)
            with torch.no_grad():
                weight = cast(nn.Parameter, inner.weight)
                weight[wrapped.rows_K] += wrapped.delta_KD
        return model


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PartialTransfer:
    """Paste the K tuned rows that a ticket carries into the base model; nothing is trained."""

    sides: Sides = "named"
    """With tied embeddings: change the side that the ticket names, or both."""

    needs_ticket: ClassVar[bool] = True
    trains: ClassVar[bool] = False
    no_gradient_checkpointing: ClassVar[str | None] = None
    no_merge: ClassVar[str | None] = None

    def attach(self, model: PreTrainedModel, *, ticket: AnyTicket | None, seed: int) -> nn.Module:
        """Write the ticket's values over the rows of the base.

        Raises:
            MethodError: If the ticket carries no values.
        """
        freeze(model)
        ticket, scope = ticket_scope(model, ticket)
        if ticket.row_values is None:
            raise MethodError(
                f"partial transfer needs the tuned rows, but this {ticket.criterion} ticket has none: "
                "name the tuned baseline in ticket.from"
            )
        if is_tied(model) and not both_sides(model, scope, self.sides):
            untie(model)
            scope = find_scope(model, scope.name)
        for part in scope.parts(ticket.token_ids):
            weight = cast(nn.Parameter, part.module.weight)
            with torch.no_grad():
                weight[part.rows_K.to(weight.device)] = ticket.row_values[part.places_K].to(weight)
        return cast(nn.Module, model)

    def merge(self, model: nn.Module) -> PreTrainedModel | None:
        """Return the model, which holds the rows already."""
        return model


def row_deltas(model: nn.Module) -> dict[str, RowDelta]:
    """Return the trained changes of rows in an attached model, by the name of what they wrap."""
    return {
        name: one
        for name, one in model.named_modules()
        if isinstance(one, (RowDeltaEmbedding, RowDeltaLinear))
    }


def unwrapped(wrapped: RowDelta) -> nn.Module:
    """Return the frozen module under a change."""
    return wrapped.embedding if isinstance(wrapped, RowDeltaEmbedding) else wrapped.linear


def trained_rows(
    base_VD: Tensor, ticket: Ticket, scope: Scope, state: Mapping[str, Tensor]
) -> Tensor:
    """Return the rows of a ticket as partial tuning left them.

    Args:
        base_VD: The scope's matrix before tuning, float32, shape (V, D).
        ticket: Whose rows were trained.
        scope: Of the ticket, in the plain base model.
        state: What was trained, by parameter name.

    Returns:
        float32, shape (K, D), in the ticket's order.
    """
    values_KD = base_VD[ticket.token_ids].clone()
    for part in scope.parts(ticket.token_ids):
        values_KD[part.places_K] += state[f"{part.name}.delta_KD"].float()
    return values_KD


def randomize_changes(model: nn.Module, *, seed: int) -> None:
    """Replace every learned change by a random one: each row keeps its length and loses its direction.

    The control for what a change of this size does to a model by its size alone.
    """
    for number, wrapped in enumerate(row_deltas(model).values()):
        delta_KD = wrapped.delta_KD
        noise_KD = torch.randn(
            delta_KD.shape, generator=torch.Generator().manual_seed(seed + number)
        )
        lengths_K1 = delta_KD.detach().float().norm(dim=1, keepdim=True).cpu()
        with torch.no_grad():
            delta_KD.copy_(noise_KD * (lengths_K1 / noise_KD.norm(dim=1, keepdim=True)))
