"""What every method by PEFT has in common."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ksl_bench.errors import MethodError


def attach_peft(model: PreTrainedModel, config: Any, *, seed: int) -> nn.Module:
    """Wrap a model by a PEFT configuration, its random start drawn from the seed.

    Raises:
        MethodError: If PEFT refuses the model; in its words.
    """
    from peft import get_peft_model

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # PEFT warns of layers whose shape it does not know, of norms too, which it tunes.
        warnings.filterwarnings("ignore", message="Unsupported layer type")
        torch.manual_seed(seed)
        try:
            attached: nn.Module = get_peft_model(model, config)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise MethodError(f"PEFT refuses {type(config).__name__}: {error}") from error
    return attached
