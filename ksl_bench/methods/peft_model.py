"""What every method by PEFT has in common."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from ksl_bench.errors import MethodError
from ksl_bench.methods.base import is_tied

if TYPE_CHECKING:  # its model code takes seconds to import
    from transformers import PreTrainedModel


def attach_peft(model: PreTrainedModel, config: Any, *, seed: int, field: str) -> nn.Module:
    """Wrap a model by a PEFT configuration, its random start drawn from the seed.

    Args:
        model: The base model; it is changed in place.
        config: PEFT's.
        seed: For what starts at random.
        field: Of the method, which a refusal names.

    Raises:
        MethodError: If PEFT refuses the model; in its words.
    """
    from peft import get_peft_model

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # PEFT warns of layers whose shape it does not know, of norms too, which it tunes.
        warnings.filterwarnings("ignore", message="Unsupported layer type")
        # It warns of merging tied embeddings, which `merge_peft` takes apart first.
        warnings.filterwarnings("ignore", message="Model has `tie_word_embeddings=True`")
        torch.manual_seed(seed)
        try:
            attached: nn.Module = get_peft_model(model, config)
        except (MemoryError, torch.OutOfMemoryError):  # no fault of the configuration
            raise
        except Exception as error:  # each type checks in its own way, some by what then breaks
            if "can't allocate memory" in str(error):
                raise
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise MethodError(f"{field}: PEFT refuses {type(config).__name__}: {reason}") from error
    return attached


def merge_peft(model: nn.Module) -> PreTrainedModel:
    """Fold an adapter into the weights it stands on.

    PEFT adds to a weight in place, so a matrix that is another module's, too (tied embeddings), would change
    there as well: the adapted module is first given one of its own.

    Args:
        model: As `attach_peft` returned it, its type one that PEFT can merge; consumed.

    Returns:
        The plain model, no longer tied where one side alone was adapted.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    holders = Counter(id(one) for part in model.modules() for one in part._parameters.values())
    for part in model.modules():
        if not isinstance(part, BaseTunerLayer):
            continue
        layer = part.get_base_layer()
        weight = getattr(layer, "weight", None)
        if isinstance(weight, nn.Parameter) and holders[id(weight)] > 1:
            holders[id(weight)] -= 1
            layer.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Model with `tie_word_embeddings=True`")
        warnings.filterwarnings("ignore", message="Input and output embeddings are no longer tied")
        merged = cast("PreTrainedModel", model.merge_and_unload())  # type: ignore[operator]
    if not is_tied(merged):
        merged.config.tie_word_embeddings = False
    return merged
