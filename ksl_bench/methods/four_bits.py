"""Frozen linear weights in 4 bits, by bitsandbytes.

Source: NF4 of QLoRA, Dettmers et al. 2023 (arXiv:2305.14314).
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ksl_bench.methods.scope import linear_layers

if TYPE_CHECKING:  # its model code takes seconds to import
    from transformers import PreTrainedModel

EXTRA = "qlora"
"""The optional extra that brings bitsandbytes."""


def missing_for_four_bits() -> str | None:
    """Return what this machine lacks to keep weights in 4 bits, None where all is there."""
    if find_spec("bitsandbytes") is None:
        return f"needs bitsandbytes: pip install 'ksl-bench[{EXTRA}]'"
    return None if torch.cuda.is_available() else "needs a CUDA device, and this machine has none"


def keep_in_four_bits(model: PreTrainedModel) -> None:
    """Replace the linear maps of attention and MLP by frozen ones in NF4; the head stays as it is.

    The weights are quantized when the model moves to the GPU. A model without weights is left as it is.
    """
    layers = linear_layers(model)
    if any(one.weight.is_meta for one in layers.values()):
        return
    import bitsandbytes as bnb

    for name, layer in layers.items():
        parent, _, child = name.rpartition(".")
        small: Any = bnb.nn.Linear4bit(
            layer.in_features,
            layer.out_features,
            bias=layer.bias is not None,
            compute_dtype=layer.weight.dtype,
            quant_type="nf4",
        )
        small.weight = bnb.nn.Params4bit(
            layer.weight.detach(), requires_grad=False, quant_type="nf4"
        )
        if layer.bias is not None:
            small.bias = nn.Parameter(layer.bias.detach(), requires_grad=False)
        setattr(model.get_submodule(parent), child, small)
    # By this PEFT knows that its adapters stand on 4-bit layers.
    model.is_loaded_in_4bit = True
