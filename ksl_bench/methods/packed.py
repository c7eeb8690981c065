"""Several tickets on one copy of the frozen base: each example is looked up in the rows of its own trial.

Shapes: B batch, L length, V vocabulary, D model width, K rows of a ticket, T trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ksl_bench.lottery.ticket import Ticket
from ksl_bench.methods.base import freeze
from ksl_bench.methods.scope import INPUT_EMBEDDING, find_scope

if TYPE_CHECKING:  # its model code takes seconds to import
    from transformers import PreTrainedModel


class PackedRows(nn.Module):
    """A frozen embedding, plus a trained change of some of its rows for each of T trials."""

    slots_TV: Tensor

    def __init__(self, embedding: nn.Embedding, token_ids: Sequence[Tensor]) -> None:
        """Wrap an embedding; every change starts at zero.

        Args:
            embedding: Frozen, weight of shape (V, D).
            token_ids: Of each trial, int64, shape (K,), no duplicates.
        """
        super().__init__()
        self.embedding = embedding
        weight = embedding.weight
        slots_TV = torch.full((len(token_ids), embedding.num_embeddings), -1, dtype=torch.int32)
        start = 0
        for trial, rows_K in enumerate(token_ids):
            slots_TV[trial, rows_K] = torch.arange(start, start + len(rows_K), dtype=torch.int32)
            start += len(rows_K)
        self.register_buffer("slots_TV", slots_TV.to(weight.device), persistent=False)
        self.deltas = nn.ParameterList(
            torch.zeros(len(rows_K), embedding.embedding_dim).to(weight) for rows_K in token_ids
        )
        self.trials_B: Tensor | None = None
        """Whose rows each example of the next batch is looked up in, int64, shape (B,)."""

    def forward(self, input_ids_BL: Tensor) -> Tensor:
        """Look up (B, L) ids, each example's in the rows of its trial; return (B, L, D)."""
        assert self.trials_B is not None, "whose examples these are was not said"
        hidden_BLD: Tensor = self.embedding(input_ids_BL)
        slots = self.slots_TV[self.trials_B[:, None], input_ids_BL].flatten()
        positions = (slots >= 0).nonzero().squeeze(-1)
        rows = torch.cat(list(self.deltas))[slots[positions]]
        added = rows * getattr(self.embedding, "embed_scale", 1.0)
        flat = hidden_BLD.flatten(0, -2).index_add(0, positions, added.to(hidden_BLD.dtype))
        return flat.view_as(hidden_BLD)


def attach_packed(model: PreTrainedModel, tickets: Sequence[Ticket]) -> tuple[PackedRows, str]:
    """Freeze a model and wrap its input embedding for several tickets.

    Args:
        model: The base model, nothing attached; it is changed.
        tickets: Of the trials, rows of the input embedding.

    Returns:
        The wrapper, and the embedding's name: a trial's change is the parameter `<name>.delta_KD` of the
        same run alone.

    Raises:
        MethodError: If a ticket names a row that the model does not have.
    """
    freeze(model)
    scope = find_scope(model, INPUT_EMBEDDING)
    ((name, embedding),) = scope.modules
    assert isinstance(embedding, nn.Embedding)
    packed = PackedRows(embedding, [scope.parts(one.token_ids)[0].rows_K for one in tickets])
    model.set_submodule(name, packed)
    return packed, name


def has_dropout(model: PreTrainedModel) -> bool:
    """Tell whether a model draws at random while it is trained; in doubt it does.

    Models pass rates on to functions, so that no module shows them: the configuration's fields count, too.
    """
    layers = any(isinstance(one, nn.Dropout) and one.p > 0 for one in model.modules())
    return layers or _names_a_rate(model.config.to_dict())


def _names_a_rate(fields: Mapping[str, Any]) -> bool:
    return any(
        _names_a_rate(value)  # the part of a larger model that reads text
        if isinstance(value, dict)
        else isinstance(value, (int, float)) and value > 0 and ("drop" in name or "jitter" in name)
        for name, value in fields.items()
    )
