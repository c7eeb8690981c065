"""What a method is, and what is the same for all of them.

A method is a frozen set of hyperparameters with two verbs: `attach` freezes a base model and adds or
opens what trains; `merge` folds what was trained back into a plain model where that is possible. What
was trained is, for every method alike, the parameters that require gradients, by their names in the
attached model: `trainable_parameters` and `load_state` serve all methods.

Shapes: V vocabulary, D model width, K ticket rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import torch
from pydantic import ConfigDict
from torch import Tensor, nn

from ksl_bench.errors import MethodError
from ksl_bench.lottery.mask import AnyTicket

if TYPE_CHECKING:  # its model code takes seconds to import
    from transformers import PreTrainedModel

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
"""How a method's hyperparameters are validated: an unknown field is an error."""


class WeightsNeededError(MethodError):
    """A method that starts from the weights was to be attached to a model that has shapes alone."""


Sides = Literal["named", "both"]
"""Of tied embeddings: the side that a method or a ticket names, or both. Untied, they are the same."""


class Method(Protocol):
    """One way to adapt a base model; a new one is one file and one line in the registry."""

    needs_ticket: ClassVar[bool]
    """Whether `attach` takes a ticket."""
    trains: ClassVar[bool]
    """Whether anything is tuned; if not, attaching is all."""

    @property
    def no_gradient_checkpointing(self) -> str | None:
        """Return why gradient checkpointing cannot be used, None where it can."""
        ...

    @property
    def no_merge(self) -> str | None:
        """Return why what was trained cannot be folded into the base model, None where it can."""
        ...

    def attach(self, model: PreTrainedModel, *, ticket: AnyTicket | None, seed: int) -> nn.Module:
        """Freeze the model, and add or open what trains.

        Args:
            model: The base model; it is changed in place.
            ticket: The rows to work on, for methods that need one.
            seed: For parameters that start at random.

        Returns:
            The model to train and to evaluate, perhaps wrapped.

        Raises:
            MethodError: If the method does not fit the model.
        """
        ...

    def merge(self, model: nn.Module) -> PreTrainedModel | None:
        """Fold the trained parameters into the base model; None where that cannot be."""
        ...


def freeze(model: nn.Module) -> None:
    """Let no parameter of the model require a gradient."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)


def is_tied(model: PreTrainedModel) -> bool:
    """Tell whether the input and the output embedding are one matrix."""
    head = model.get_output_embeddings()
    return head is not None and head.weight is model.get_input_embeddings().weight


def untie(model: PreTrainedModel) -> None:
    """Give the input embedding a matrix of its own, equal to the one it shared."""
    embedding = model.get_input_embeddings()
    embedding.weight = nn.Parameter(embedding.weight.detach().clone(), requires_grad=False)
    model.config.tie_word_embeddings = False


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return what trains, by name; a shared parameter is named once."""
    return {name: one for name, one in model.named_parameters() if one.requires_grad}


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """Count what trains, and all that there is."""
    return {
        "trainable": sum(one.numel() for one in trainable_parameters(model).values()),
        "total": sum(one.numel() for one in model.parameters()),
    }


def load_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy a trained state into an attached model.

    Raises:
        MethodError: If names or shapes are not the ones that train in this model.
    """
    parameters = trainable_parameters(model)
    if parameters.keys() != state.keys():
        differing = sorted(parameters.keys() ^ state.keys())
        raise MethodError(
            f"the state does not fit the method: {differing[0]!r} is on one side only"
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            if parameter.shape != state[name].shape:
                raise MethodError(
                    f"the state does not fit the method: {name!r} has shape "
                    f"{tuple(state[name].shape)}, the model wants {tuple(parameter.shape)}"
                )
            parameter.copy_(state[name])


def hyperparameters(method: Any) -> dict[str, Any]:
    """Return a method's fields as plain values, for keys and records."""
    from pydantic import TypeAdapter

    plain: dict[str, Any] = TypeAdapter(type(method)).dump_python(method, mode="json")
    return plain


def attach_shapes(
    method: Method, model: PreTrainedModel, ticket: AnyTicket | None = None
) -> nn.Module:
    """Attach a method to a model without weights: what it adds has none either, however large it is."""
    if ticket is not None:  # it names rows, which must be there; what it adds is small
        return method.attach(model, ticket=ticket, seed=0)
    with torch.device("meta"):
        return method.attach(model, ticket=None, seed=0)
