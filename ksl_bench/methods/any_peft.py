"""Any method of PEFT, by its type and configuration as PEFT names them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator, model_validator
from pydantic.dataclasses import dataclass
from torch import nn

from ksl_bench.errors import MethodError
from ksl_bench.lottery.mask import AnyTicket
from ksl_bench.methods.base import STRICT, WeightsNeededError
from ksl_bench.methods.peft_model import attach_peft, merge_peft
from ksl_bench.methods.prefix import PrefixTuning
from ksl_bench.registry import unknown

if TYPE_CHECKING:  # its model code takes seconds to import
    from transformers import PreTrainedModel

REFUSED = {
    "ADALORA": "it moves its ranks by calls in the training loop, which no other method needs",
    "ADAPTION_PROMPT": "it is for LLaMA's attention of transformers before version 5",
    "CPT": "it needs the tokens of its context prompt in every batch",
    "MULTITASK_PROMPT_TUNING": "it needs a task id in every batch",
    "POLY": "it needs a task id in every batch",
    "XLORA": "it needs adapters that were trained before",
    "TRAINABLE_TOKENS": "it is method partial_tuning here, whose rows a criterion picks",
}
"""What this package does not run, by PEFT's name of the type, and why."""

MERGED = ("IA3", "LN_TUNING", "LORA", "OFT", "VERA")
"""Types whose merge is tested to keep the logits; PEFT has others, some of which raise only in a merge."""
CHECKPOINTED = (*MERGED, "PROMPT_TUNING")
"""Types that are tested to have the same gradients with gradient checkpointing."""
FROM_WEIGHTS = ("ADAMSS", "FROD", "SHIRA")
"""Types that decompose or pick from the weights when they are attached."""
STARTS_BY_SHAPE = ("gaussian", "orthogonal", "eva", "corda", "lora_ga")
"""Starts of LoRA by name that do not read the weights; others do, as PiSSA and OLoRA."""
UNTESTED_FIELDS = (
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "lora_bias",
    "megatron_config",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
    "velora_config",
)
"""Fields that make another method of a type: PEFT cannot merge some of them, others change the logits."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AnyPeft:
    """Wrap the model by a configuration of PEFT; what that means is PEFT's business."""

    peft_type: str
    """PEFT's name of the method: IA3, VERA, PROMPT_TUNING, ..."""
    peft_config: dict[str, Any] = Field(default_factory=dict)
    """Fields of PEFT's configuration class, as they are."""

    needs_ticket: ClassVar[bool] = False
    trains: ClassVar[bool] = True

    @field_validator("peft_type")
    @classmethod
    def _known(cls, name: str) -> str:
        kinds, name = _kinds(), name.upper()
        if name in REFUSED:
            raise ValueError(f"{name} does not run here: {REFUSED[name]}")
        if name not in kinds:
            raise ValueError(
                unknown("type of PEFT", name, [one for one in kinds if one not in REFUSED])
            )
        return name

    @model_validator(mode="after")
    def _accepted(self) -> AnyPeft:
        self.config()
        return self

    @property
    def no_gradient_checkpointing(self) -> str | None:
        """Return why gradient checkpointing cannot be used, None where it is tested."""
        if self.peft_type == "PREFIX_TUNING":
            return PrefixTuning.no_gradient_checkpointing
        return self._untested("it", CHECKPOINTED)

    @property
    def no_merge(self) -> str | None:
        """Return why the adapter cannot be folded into the base model, None where that is tested."""
        from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
        from peft.tuners.tuners_utils import BaseTuner

        tuner = PEFT_TYPE_TO_TUNER_MAPPING.get(self.peft_type)
        if not (isinstance(tuner, type) and issubclass(tuner, BaseTuner)):
            return f"what {self.peft_type} trains is no part of any weight"
        return self._untested("a merge", MERGED)

    def _untested(self, what: str, tested: tuple[str, ...]) -> str | None:
        """Return that this type with these fields was never tested in something, None where it was."""
        if self.peft_type not in tested:
            return f"{self.peft_type} is not tested with {what}; allowed: {', '.join(tested)}"
        given = [name for name in UNTESTED_FIELDS if self.peft_config.get(name)]
        return f"{self.peft_type} with {given[0]} is not tested with {what}" if given else None

    @property
    def _starts_from_weights(self) -> bool:
        start = self.peft_config.get("init_lora_weights", True)
        return self.peft_type in FROM_WEIGHTS or (
            isinstance(start, str) and start not in STARTS_BY_SHAPE
        )

    def config(self) -> Any:
        """Return PEFT's configuration.

        Raises:
            ValueError: If PEFT does not know a field, or refuses a value; in its words.
        """
        kind = _kinds()[self.peft_type]
        fields = list(inspect.signature(kind).parameters)
        for name in self.peft_config:
            if name not in fields:
                raise ValueError(unknown(f"field of {kind.__name__}", name, fields))
        try:
            return kind(**{"task_type": "CAUSAL_LM", **self.peft_config})
        except (TypeError, ValueError) as error:
            raise ValueError(f"{kind.__name__}: {error}") from None

    def attach(self, model: PreTrainedModel, *, ticket: AnyTicket | None, seed: int) -> nn.Module:
        """Wrap the model; what starts at random is drawn from the seed.

        Raises:
            WeightsNeededError: If what it starts from are weights, and the model has none.
            MethodError: If PEFT refuses the model, or nothing of it would train.
        """
        if self._starts_from_weights and any(one.is_meta for one in model.parameters()):
            raise WeightsNeededError(f"peft_config: {self.peft_type} starts from the weights")
        attached = attach_peft(model, self.config(), seed=seed, field="peft_config")
        if not sum(one.numel() for one in attached.parameters() if one.requires_grad):
            raise MethodError(
                f"peft_config: {self.peft_type} with {self.peft_config} trains nothing in this model"
            )
        return attached

    def merge(self, model: nn.Module) -> PreTrainedModel | None:
        """Fold the adapter into the weights it stands beside; None where `no_merge` says why not."""
        return merge_peft(model) if self.no_merge is None else None


def _kinds() -> dict[str, Any]:
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    return {str(kind.value): config for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
