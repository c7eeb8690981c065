"""Embedding tuning: the whole input embedding trains, all else is frozen.

Source: KS-Lottery (arXiv:2402.02801), section 3, the first of its two stages.
"""

from __future__ import annotations

from typing import ClassVar, Literal, cast

from pydantic.dataclasses import dataclass
from torch import nn
from transformers import PreTrainedModel

from ksl_bench.lottery.ticket import Ticket
from ksl_bench.methods.base import STRICT, freeze, is_tied, untie


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EmbeddingTuning:
    """Train the (V, D) input embedding."""

    sides: Literal["input", "both"] = "input"
    """With tied embeddings: change the input side only, or both. Without, `input` is all there is."""

    needs_ticket: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    no_gradient_checkpointing: ClassVar[str | None] = None

    def attach(self, model: PreTrainedModel, *, ticket: Ticket | None, seed: int) -> nn.Module:
        """Open the input embedding; a tied one is given a matrix of its own first, by default."""
        freeze(model)
        if is_tied(model) and self.sides == "input":
            untie(model)
        model.get_input_embeddings().weight.requires_grad_(True)
        return cast(nn.Module, model)

    def merge(self, model: nn.Module) -> PreTrainedModel | None:
        """Return the model, which was trained itself."""
        assert isinstance(model, PreTrainedModel)
        return model
