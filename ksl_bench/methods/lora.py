"""Low-rank adaptation, by PEFT.

Source: Hu et al. 2021 (arXiv:2106.09685); on a base in 4 bits: Dettmers et al. 2023 (arXiv:2305.14314).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import nn

from ksl_bench.errors import MethodError
from ksl_bench.lottery.mask import AnyTicket
from ksl_bench.methods.base import STRICT
from ksl_bench.methods.four_bits import keep_in_four_bits
from ksl_bench.methods.peft_model import attach_peft, merge_peft

if TYPE_CHECKING:  # its model code takes seconds to import
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Lora:
    """Add B A of rank r, scaled by alpha / r, to each target weight; B starts at zero."""

    lora_rank: Annotated[int, Field(ge=1)] = 8
    lora_alpha: Annotated[float, Field(gt=0)] = 16
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: tuple[str, ...] | None = None
    """Names of the adapted modules; PEFT's choice for the architecture where none are given."""
    layer_part: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]] | None = None
    """`[i, n]`: adapt every n-th layer only, from layer i on; [0, 2] and [1, 2] share no layer."""
    quantize: Literal["nf4"] | None = None
    """Keep the frozen linear weights below the adapters in 4 bits, by bitsandbytes, on a GPU only: QLoRA."""

    needs_ticket: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    no_gradient_checkpointing: ClassVar[str | None] = None

    @property
    def no_merge(self) -> str | None:
        """Return why what was trained cannot be folded into the base; None where it is not quantized."""
        return "its base is kept in 4 bits" if self.quantize else None

    @model_validator(mode="after")
    def _one_of_the_parts(self) -> Lora:
        if self.layer_part is not None and self.layer_part[0] >= self.layer_part[1]:
            raise ValueError(f"layer_part must be [i, n] with i < n, got {list(self.layer_part)}")
        return self

    def attach(self, model: PreTrainedModel, *, ticket: AnyTicket | None, seed: int) -> nn.Module:
        """Wrap the model in PEFT's LoRA."""
        from peft import LoraConfig

        config = LoraConfig(
            r=self.lora_rank,
            lora_alpha=self.lora_alpha,
            lora_dropout=self.lora_dropout,
            target_modules=list(self.target_modules) if self.target_modules else None,
            layers_to_transform=self._layers(model),
            task_type="CAUSAL_LM",
        )
        if self.quantize is not None:
            keep_in_four_bits(model)
        return attach_peft(model, config, seed=seed, field="target_modules")

    def _layers(self, model: PreTrainedModel) -> list[int] | None:
        """Return the numbers of the layers to adapt, None for all.

        Raises:
            MethodError: If the model has too few for there to be one.
        """
        if self.layer_part is None:
            return None
        first, parts = self.layer_part
        layers = int(model.config.get_text_config().num_hidden_layers)
        if first >= layers:
            raise MethodError(
                f"layer_part: {[first, parts]} adapts no layer: the model has {layers}"
            )
        return list(range(first, layers, parts))

    def merge(self, model: nn.Module) -> PreTrainedModel | None:
        """Add B A to the target weights; None where they are in 4 bits."""
        return None if self.quantize is not None else merge_peft(model)
