"""Ways to adapt a base model, by name."""

from __future__ import annotations

from typing import Any

from ksl_bench.methods.any_peft import AnyPeft
from ksl_bench.methods.base import Method
from ksl_bench.methods.embedding import EmbeddingTuning
from ksl_bench.methods.full import FullFineTuning, Untuned
from ksl_bench.methods.lora import Lora
from ksl_bench.methods.lota import LotteryTicketAdaptation
from ksl_bench.methods.partial import PartialTransfer, PartialTuning
from ksl_bench.methods.prefix import PrefixTuning
from ksl_bench.registry import Registry

METHODS: Registry[type[Method]] = Registry(
    "method",
    {
        "none": Untuned,
        "full": FullFineTuning,
        "embedding": EmbeddingTuning,
        "partial_tuning": PartialTuning,
        "partial_transfer": PartialTransfer,
        "lora": Lora,
        "lota": LotteryTicketAdaptation,
        "prefix": PrefixTuning,
        "peft": AnyPeft,
    },
)


def build_method(name: str, hyperparameters: dict[str, Any]) -> Method:
    """Make a method from its name and fields.

    Raises:
        ConfigError: If the name is unknown.
        pydantic.ValidationError: If a field is unknown or its value wrong.
    """
    return METHODS[name](**hyperparameters)
