"""Gradients of the base model's rows, over one pass of the tuning text; nothing is trained.

Shapes: B examples, L length, N labels, V rows of a scope, D values a row.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from ksl_bench.data.batching import IGNORED, Encoded, collate
from ksl_bench.methods.base import Sides
from ksl_bench.methods.embedding import EmbeddingTuning
from ksl_bench.methods.scope import find_scope
from ksl_bench.training.loop import LabelPositions


def row_gradients(
    model: PreTrainedModel,
    scope: str,
    examples: Sequence[Encoded],
    *,
    batch_size: int,
    pad_id: int,
    device: torch.device,
    sides: Sides = "named",
) -> Tensor:
    """Return the length of each row's gradient of the mean loss over all labels.

    Args:
        model: The base model; it is consumed.
        scope: Whose rows.
        examples: The tuning text, read once.
        batch_size: Examples of a pass; it changes nothing but speed and memory.
        pad_id: Fills short rows.
        device: Where to compute.
        sides: With tied embeddings: whether the rows act where the scope names them, or on both sides.

    Returns:
        float64, shape (V,), on the CPU.

    Raises:
        MethodError: If the model has no such rows.
    """
    model.to(device)
    EmbeddingTuning(scope=scope, sides=sides).attach(model, ticket=None, seed=0)
    weights = find_scope(model, scope).weights
    labels_at = LabelPositions(model)
    for start in range(0, len(examples), batch_size):
        batch = collate(examples[start : start + batch_size], pad_id=pad_id)
        labels_BL = batch.labels_BL.to(device)
        mask_BL = labels_BL != IGNORED
        logits_NV = labels_at.logits(model, batch.input_ids_BL.to(device), mask_BL)
        F.cross_entropy(logits_NV.float(), labels_BL[mask_BL], reduction="sum").backward()  # type: ignore[no-untyped-call]
    labels_at.remove()
    labels = sum(len(one.response_ids) for one in examples)
    lengths = [_lengths(weight).cpu() / labels for weight in weights]
    return torch.cat(lengths)


def _lengths(weight: Tensor) -> Tensor:
    assert weight.grad is not None
    lengths: Tensor = weight.grad.double().norm(dim=1)
    return lengths
