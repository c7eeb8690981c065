"""Scopes: which weights of a model a ticket picks its rows from.

The input embedding is KS-Lottery's own scope. The same test and the same tuning work on the rows of the
output head, and on those of any named linear weight, where a row is what one output feature reads. A
pattern may name several linear weights of one width: their rows are then one matrix, stacked in the
order of the model.

Shapes: V rows, D values a row, K rows of a ticket.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ksl_bench.errors import MethodError

if TYPE_CHECKING:  # its model code takes seconds to import
    from transformers import PreTrainedModel

INPUT_EMBEDDING = "input_embedding"
OUTPUT_HEAD = "output_head"
TOKEN_SCOPES = (INPUT_EMBEDDING, OUTPUT_HEAD)
"""Scopes whose rows are tokens; every other name is a pattern of module names."""
LAYERS = "layers"
"""What a mask picks entries from: every linear weight but the output head, of whatever width."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of one module of a scope."""

    name: str
    module: nn.Module
    places_K: Tensor
    """Which of the given rows lie in this module, as places in their list; int64."""
    rows_K: Tensor
    """The same rows as rows of the module's weight; int64."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The rows of one or more weights, as one matrix."""

    name: str
    """As a suite or a ticket has it."""
    modules: tuple[tuple[str, nn.Module], ...]
    """By name in the model, in its order; each has a `weight` of shape (rows, D)."""

    @property
    def weights(self) -> list[nn.Parameter]:
        """Return the weights, in order."""
        return [module.weight for _, module in self.modules]  # type: ignore[misc]

    @property
    def size(self) -> int:
        """Return V, the number of rows."""
        return sum(len(weight) for weight in self.weights)

    def matrix(self) -> Tensor:
        """Return all rows, float32, shape (V, D), on the CPU; a single float32 weight is not copied."""
        rows = [weight.detach().to("cpu", torch.float32) for weight in self.weights]
        return rows[0] if len(rows) == 1 else torch.cat(rows)

    def parts(self, row_ids: Sequence[int]) -> list[Part]:
        """Return where rows lie, module by module; modules without any are left out.

        Raises:
            MethodError: If a row lies outside the scope.
        """
        ids_K = torch.tensor(row_ids, dtype=torch.int64)
        if not len(ids_K) or int(ids_K.max()) >= self.size:
            raise MethodError(
                f"the ticket names row {int(ids_K.max())} of {self.name}, which has {self.size} rows"
            )
        found, start = [], 0
        for (name, module), weight in zip(self.modules, self.weights, strict=True):
            inside = (ids_K >= start) & (ids_K < start + len(weight))
            places = inside.nonzero().squeeze(-1)
            if len(places):
                found.append(Part(name, module, places, ids_K[places] - start))
            start += len(weight)
        return found

    def row_names(
        self, tokens: Callable[[Sequence[int]], Sequence[str | None]]
    ) -> Callable[[Sequence[int]], list[str | None]]:
        """Return what names rows: their token, or the weight and the row in it.

        Args:
            tokens: From ids to text, as a tokenizer's `convert_ids_to_tokens`.
        """
        if self.name in TOKEN_SCOPES:
            return lambda ids: list(tokens(ids))

        def name(ids: Sequence[int]) -> list[str | None]:
            names: list[str | None] = [None] * len(ids)
            for part in self.parts(ids):
                for place, row in zip(part.places_K.tolist(), part.rows_K.tolist(), strict=True):
                    names[place] = f"{part.name}[{row}]"
            return names

        return name


def find_scope(model: PreTrainedModel, name: str) -> Scope:
    """Find the weights that a scope names.

    Args:
        model: A plain model, nothing attached.
        name: `input_embedding`, `output_head`, or a pattern of module names (`*` matches any text).

    Raises:
        MethodError: If the model has no such linear weight, or those found differ in width.
    """
    if name == INPUT_EMBEDDING:
        return Scope(name, (_named(model, model.get_input_embeddings(), name),))
    if name == OUTPUT_HEAD:
        return Scope(name, (_named(model, model.get_output_embeddings(), name),))
    linear = [(at, one) for at, one in model.named_modules() if isinstance(one, nn.Linear)]
    found = tuple((at, one) for at, one in linear if fnmatchcase(at, name))
    if not found:
        some = ", ".join(at for at, _ in linear[:4])
        raise MethodError(
            f"scope {name!r} is neither {' nor '.join(TOKEN_SCOPES)} nor a linear weight of this model, "
            f"which has {some}{', ...' if len(linear) > 4 else ''}"
        )
    widths = {one.in_features: at for at, one in found}
    if len(widths) > 1:
        text = ", ".join(f"{at} {width}" for width, at in widths.items())
        raise MethodError(f"scope {name!r} names weights of different width: {text}")
    return Scope(name, found)


def linear_layers(model: PreTrainedModel) -> dict[str, nn.Linear]:
    """Return the linear maps of attention and MLP by name, in the order of the model.

    Raises:
        MethodError: If there are none.
    """
    head = model.get_output_embeddings()
    found = {
        str(name): one
        for name, one in model.named_modules()
        if isinstance(one, nn.Linear) and one is not head
    }
    if not found:
        raise MethodError(f"the model has no linear weights that a mask could pick from ({LAYERS})")
    return found


def _named(model: PreTrainedModel, wanted: nn.Module | None, scope: str) -> tuple[str, nn.Module]:
    for name, module in model.named_modules():
        if wanted is not None and module is wanted:
            return str(name), wanted
    raise MethodError(f"the model has no {scope} of its own name")


def trained_matrix(scope: Scope, model: PreTrainedModel, state: dict[str, Tensor]) -> Tensor:
    """Return a scope's rows as a tuned state has them, float32, shape (V, D).

    Args:
        scope: Found in `model`.
        model: With the method attached that trained the state; only its names are read.
        state: What was trained, by parameter name.

    Raises:
        MethodError: If a weight of the scope was not trained.
    """
    # A tied matrix has two names; a state holds it under the first.
    names: dict[int, str] = {}
    for name, one in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(one), name)
    wanted = [names[id(weight)] for weight in scope.weights]
    missing = [name for name in wanted if name not in state]
    if missing:
        raise MethodError(f"the state did not train {missing[0]!r} of scope {scope.name!r}")
    return torch.cat([state[name].float() for name in wanted])
