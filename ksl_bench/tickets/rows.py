"""Rows of a checkpoint, read from its safetensors without building the model.

Shapes: V rows of a scope, D values a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ksl_bench.errors import MethodError, ModelError
from ksl_bench.methods.scope import INPUT_EMBEDDING, OUTPUT_HEAD, Scope, find_scope
from ksl_bench.models import ModelReference, find_named, skeleton, weights_folder

EMBEDDINGS = ("embed_tokens", "wte", "word_embeddings", "embed_in", "tok_embeddings", "embedding")
"""Last words of the names under which architectures keep their input embedding."""
HEADS = ("lm_head", "embed_out", "output")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Rows of one scope of one checkpoint, and where they are from."""

    rows_VD: Tensor
    """float32."""
    dtype: torch.dtype
    """As it is stored."""
    scope: Scope
    """Names of its modules; their weights are empty."""
    reference: ModelReference | None
    """None for a bare safetensors file."""


def read_checkpoint(name: str, *, option: str, scope: str, tensor: str | None) -> Checkpoint:
    """Read the rows of a scope from a model or from a bare safetensors file.

    Args:
        name: A model folder, a Hugging Face id, or a file.
        option: What to call it in a message.
        scope: Whose rows, for a model.
        tensor: Which tensor, for a bare file; found by its name where none is given.

    Raises:
        ModelError: If it cannot be read, or holds no such rows.
    """
    path = Path(name).expanduser()
    if path.is_file() or path.suffix == ".safetensors":
        return _of_file(path, option, tensor)
    if tensor is not None:
        raise ModelError(
            f"tensor: only for a safetensors file; {option} {name!r} is a model, give scope"
        )
    reference = find_named(name, option=option)
    model = skeleton(reference)
    try:
        found = find_scope(model, scope)
    except MethodError as error:
        raise ModelError(f"{option} {name!r}: {error}") from None
    names = {id(weight): at for at, weight in reversed(list(_names(model)))}
    wanted = [names[id(weight)] for weight in found.weights]
    tensors = _read(sorted(weights_folder(reference).glob("*.safetensors")), wanted, option)
    return Checkpoint(_joined(tensors), tensors[0].dtype, found, reference)


def _names(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Return every name of every parameter; of tied ones, files hold one or the other."""
    return list(model.named_parameters(remove_duplicate=False))


def _of_file(path: Path, option: str, tensor: str | None) -> Checkpoint:
    try:
        with safe_open(path, "pt") as file:
            names = list(file.keys())
            chosen = tensor if tensor is not None else _only_embedding(names, option, path)
            if chosen not in names:
                raise ModelError(
                    f"tensor: {option} {str(path)!r} holds no {chosen!r}; it has {_some(names)}"
                )
            values = file.get_tensor(chosen)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{option} {str(path)!r}: not a safetensors file: {error}") from None
    if values.ndim != 2:
        raise ModelError(f"tensor: {chosen!r} has shape {tuple(values.shape)}, no matrix of rows")
    module = nn.Linear(1, 1, device="meta")
    module.weight = nn.Parameter(torch.empty(values.shape, device="meta"), requires_grad=False)
    at = chosen.removesuffix(".weight")
    return Checkpoint(_joined([values]), values.dtype, Scope(_scope_of(at), ((at, module),)), None)


def _scope_of(module: str) -> str:
    """Return the scope that a module's name stands for."""
    last = module.rpartition(".")[2]
    return INPUT_EMBEDDING if last in EMBEDDINGS else OUTPUT_HEAD if last in HEADS else module


def _only_embedding(names: list[str], option: str, path: Path) -> str:
    found = [one for one in names if _scope_of(one.removesuffix(".weight")) == INPUT_EMBEDDING]
    if len(found) != 1:
        what = (
            f"{len(found)} input embeddings" if found else "no input embedding by its usual names"
        )
        raise ModelError(f"{option} {str(path)!r} holds {what}; name the tensor: {_some(names)}")
    return found[0]


def _read(files: list[Path], names: list[str], option: str) -> list[Tensor]:
    found: dict[str, Tensor] = {}
    for path in files:
        try:
            with safe_open(path, "pt") as file:
                found |= {one: file.get_tensor(one) for one in set(names) & set(file.keys())}
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{option} {str(path)!r}: not a safetensors file: {error}") from None
    missing = [one for one in names if one not in found]
    if missing:
        raise ModelError(f"{option}: the weights hold no tensor {missing[0]!r}")
    return [found[one] for one in names]


def _joined(tensors: list[Tensor]) -> Tensor:
    return torch.cat([one.float() for one in tensors])


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
