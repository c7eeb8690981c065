"""Embedding tuning: the whole input embedding trains, all else is frozen.

Source: KS-Lottery (arXiv:2402.02801), section 3, the first of its two stages. Its scope may be another
one, to ask the paper's open question: whether other weights have tickets, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from pydantic.dataclasses import dataclass
from torch import nn

from ksl_bench.lottery.mask import AnyTicket
from ksl_bench.methods.base import STRICT, Sides, freeze, is_tied, untie
from ksl_bench.methods.scope import INPUT_EMBEDDING, TOKEN_SCOPES, find_scope

if TYPE_CHECKING:  # its model code takes seconds to import
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EmbeddingTuning:
    """Train the (V, D) input embedding, or the whole weights of another scope."""

    scope: str = INPUT_EMBEDDING
    """`input_embedding`, `output_head`, or a pattern of names of linear modules."""
    sides: Sides = "named"
    """With tied embeddings: change the side that the scope names, or both."""

    needs_ticket: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    no_gradient_checkpointing: ClassVar[str | None] = None
    no_merge: ClassVar[str | None] = None

    def attach(self, model: PreTrainedModel, *, ticket: AnyTicket | None, seed: int) -> nn.Module:
        """Open the scope's weights; a tied one is given a matrix of its own first, by default."""
        freeze(model)
        if is_tied(model) and self.sides == "named" and self.scope in TOKEN_SCOPES:
            untie(model)
        for weight in find_scope(model, self.scope).weights:
            weight.requires_grad_(True)
        return cast(nn.Module, model)

    def merge(self, model: nn.Module) -> PreTrainedModel | None:
        """Return the model, which was trained itself."""
        return model
