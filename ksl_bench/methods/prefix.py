"""Prefix tuning, by PEFT.

Source: Li and Liang 2021 (arXiv:2101.00190).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from ksl_bench.lottery.mask import AnyTicket
from ksl_bench.methods.base import STRICT
from ksl_bench.methods.peft_model import attach_peft

if TYPE_CHECKING:  # its model code takes seconds to import
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PrefixTuning:
    """Learn keys and values of virtual tokens that precede the prompt in every layer."""

    num_virtual_tokens: Annotated[int, Field(ge=1)] = 10
    prefix_projection: bool = False
    """Reparameterize by a two-layer network, as in the paper; a plain table otherwise."""
    encoder_hidden_size: Annotated[int, Field(ge=1)] | None = None
    """Width of that network; the model's own where none is given."""

    needs_ticket: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    no_gradient_checkpointing: ClassVar[str | None] = (
        "PEFT's prefix tuning passes its keys and values as a cache, which gradient checkpointing drops"
    )
    no_merge: ClassVar[str | None] = "keys and values of virtual tokens are no part of any weight"

    def attach(self, model: PreTrainedModel, *, ticket: AnyTicket | None, seed: int) -> nn.Module:
        """Wrap the model in PEFT's prefix tuning."""
        from peft import PrefixTuningConfig

        config = PrefixTuningConfig(
            num_virtual_tokens=self.num_virtual_tokens,
            prefix_projection=self.prefix_projection,
            encoder_hidden_size=self.encoder_hidden_size or model.config.hidden_size,
            task_type="CAUSAL_LM",
        )
        return attach_peft(model, config, seed=seed, field="num_virtual_tokens")

    def merge(self, model: nn.Module) -> PreTrainedModel | None:
        """Return None: a prefix is no weight of the base model."""
        return None
