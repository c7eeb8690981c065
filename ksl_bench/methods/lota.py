"""Lottery Ticket Adaptation: train single entries of attention and MLP weights, from the base model.

What trains is one number an entry of the mask: what is added to that entry. So the optimizer holds the kept
entries and nothing else, a state is as small, and all other entries are the base's, bit by bit.

Shapes: O outputs, I inputs of a linear map, M kept entries of its weight.
Source: Panda et al. 2024 (arXiv:2406.16797).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ksl_bench.errors import MethodError
from ksl_bench.lottery.mask import AnyTicket, Mask
from ksl_bench.methods.base import STRICT, freeze
from ksl_bench.methods.scope import linear_layers

if TYPE_CHECKING:  # its model code takes seconds to import
    from transformers import PreTrainedModel


class _SparselyChanged(torch.autograd.Function):
    """A linear map whose weight is a frozen one plus a change of some entries.

    The changed weight is made anew in the backward pass instead of being kept for it, so that no more than
    one weight is there twice at a time.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, delta_M: Tensor, weight_OI: Tensor, places_M: Tensor
    ) -> Tensor:
        ctx.save_for_backward(hidden, delta_M, weight_OI, places_M)
        return F.linear(hidden, changed(weight_OI, places_M, delta_M))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        hidden, delta_M, weight_OI, places_M = ctx.saved_tensors
        (outward,) = gradients
        inward = None
        if ctx.needs_input_grad[0]:
            inward = outward @ changed(weight_OI, places_M, delta_M)
        whole_OI = outward.flatten(0, -2).T @ hidden.flatten(0, -2)
        return inward, whole_OI.flatten()[places_M].to(delta_M.dtype), None, None


def changed(weight_OI: Tensor, places_M: Tensor, delta_M: Tensor) -> Tensor:
    """Return a copy of a weight with its change added, (O, I); the sum is rounded once, from float32."""
    whole = weight_OI.detach().clone().flatten()
    whole[places_M] = (whole[places_M].float() + delta_M.detach().float()).to(whole.dtype)
    return whole.view_as(weight_OI)


class EntryDeltaLinear(nn.Module):
    """A frozen linear map, plus a trained change of M entries of its weight."""

    places_M: Tensor

    def __init__(self, linear: nn.Linear, places_M: Tensor) -> None:
        """Wrap a linear map; the change starts at zero.

        Args:
            linear: Frozen, weight of shape (O, I).
            places_M: Entries that may change, in the flat weight, int64, no duplicates.
        """
        super().__init__()
        self.linear = linear
        self.register_buffer("places_M", places_M.to(linear.weight.device), persistent=False)
        self.delta_M = nn.Parameter(torch.zeros(len(places_M)).to(linear.weight))
        self._folded: Tensor | None = None

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (..., I) to (..., O)."""
        weight, bias = self.linear.weight, self.linear.bias
        outputs: Tensor
        if torch.is_grad_enabled() and self.delta_M.requires_grad:
            outputs = _SparselyChanged.apply(hidden, self.delta_M, weight, self.places_M)  # type: ignore[no-untyped-call]
        else:
            outputs = F.linear(hidden, self._settled())
        return outputs if bias is None else outputs + bias

    def _settled(self) -> Tensor:
        """Return the changed weight; it is kept once the change trains no more, for decoding's sake."""
        if self.delta_M.requires_grad:
            return changed(self.linear.weight, self.places_M, self.delta_M)
        if self._folded is None or self._folded.device != self.linear.weight.device:
            self._folded = changed(self.linear.weight, self.places_M, self.delta_M)
        return self._folded


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LotteryTicketAdaptation:
    """Train the entries that a mask keeps."""

    needs_ticket: ClassVar[bool] = True
    trains: ClassVar[bool] = True
    no_gradient_checkpointing: ClassVar[str | None] = None
    no_merge: ClassVar[str | None] = None

    def attach(self, model: PreTrainedModel, *, ticket: AnyTicket | None, seed: int) -> nn.Module:
        """Wrap the linear maps that hold entries of the mask.

        Raises:
            MethodError: If the ticket is no mask, or not one for this model's weights.
        """
        freeze(model)
        if not isinstance(ticket, Mask):
            raise MethodError("lota needs a mask: a ticket with sparsity")
        linear = linear_layers(model)
        for name, places_M in ticket.places.items():
            found = linear.get(name)
            if found is None or tuple(found.weight.shape) != tuple(ticket.shapes[name]):
                raise MethodError(
                    f"the mask names {name} of shape {tuple(ticket.shapes[name])}, the model has "
                    f"{'no such weight' if found is None else tuple(found.weight.shape)}"
                )
            model.set_submodule(name, EntryDeltaLinear(found, places_M))
        return cast(nn.Module, model)

    def merge(self, model: nn.Module) -> PreTrainedModel | None:
        """Add the change to the entries."""
        wrapped = [
            (str(name), one)
            for name, one in model.named_modules()
            if isinstance(one, EntryDeltaLinear)
        ]
        for name, one in wrapped:
            with torch.no_grad():
                one.linear.weight.copy_(changed(one.linear.weight, one.places_M, one.delta_M))
            model.set_submodule(name, one.linear)
        return model
