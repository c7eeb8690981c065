"""Masks of no particular base, for tests."""

import torch

from ksl_bench.lottery.mask import Mask
from ksl_bench.methods.scope import linear_layers


def mask_of(model, places=None, shapes=None):
    """Return a mask of every tenth entry of a model's layers, or of given places."""
    found = {name: tuple(one.weight.shape) for name, one in linear_layers(model).items()}
    return Mask(
        base_model="tiny", revision=None, base_digest="0" * 64, tensor="layers",
        criterion="magnitude", sparsity=0.9, source_state=None, shapes={**found, **(shapes or {})},
        places=places
        or {name: torch.arange(3, shape[0] * shape[1], 10) for name, shape in found.items()},
    )  # fmt: skip
