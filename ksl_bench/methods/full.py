"""The two ends of the scale: the base model as it is, and full fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from pydantic.dataclasses import dataclass
from torch import nn

from ksl_bench.lottery.mask import AnyTicket
from ksl_bench.methods.base import STRICT, freeze

if TYPE_CHECKING:  # its model code takes seconds to import
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Untuned:
    """The base model itself: what all gains are measured from."""

    needs_ticket: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    no_gradient_checkpointing: ClassVar[str | None] = None
    no_merge: ClassVar[str | None] = None

    def attach(self, model: PreTrainedModel, *, ticket: AnyTicket | None, seed: int) -> nn.Module:
        """Freeze everything."""
        freeze(model)
        return cast(nn.Module, model)

    def merge(self, model: nn.Module) -> PreTrainedModel | None:
        """Return the model, in which nothing was changed."""
        return model


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FullFineTuning:
    """Train every parameter."""

    needs_ticket: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    no_gradient_checkpointing: ClassVar[str | None] = None
    no_merge: ClassVar[str | None] = None

    def attach(self, model: PreTrainedModel, *, ticket: AnyTicket | None, seed: int) -> nn.Module:
        """Open everything."""
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        return cast(nn.Module, model)

    def merge(self, model: nn.Module) -> PreTrainedModel | None:
        """Return the model, which was trained itself."""
        return model
