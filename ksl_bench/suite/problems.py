"""What pydantic finds wrong, as one line a problem with its path in the YAML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from ksl_bench.registry import closest


def problem_lines(error: ValidationError, model: Any, where: str = "") -> list[str]:
    """Return one line a problem: its path in the YAML, what is allowed, what was given."""
    lines = []
    for one in error.errors():
        parts = [str(part) for part in one["loc"] if not _is_union_branch(str(part))]
        path = ".".join(filter(None, [where, *parts]))
        if one["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            known = _fields_at(model, parts[:-1])
            hint = closest(parts[-1], known)
            lines.append(f"{path}: unknown field.{hint} Known: {', '.join(sorted(known))}")
        elif one["type"] in ("missing", "missing_argument"):
            lines.append(f"{path}: must be given")
        elif one["type"] == "value_error":
            lines.append(": ".join(filter(None, [path, str(one["ctx"]["error"])])))
        else:
            said = one["msg"].removeprefix("Input should be ").removeprefix("a valid ")
            said = said.replace("greater than or equal to", ">=").replace("greater than", ">")
            said = said.replace("less than or equal to", "<=").replace("less than", "<")
            lines.append(f"{path}: must be {said}, got {one['input']!r}")
    return list(dict.fromkeys(lines))


def _is_union_branch(part: str) -> bool:
    return "[" in part or part in ("str", "int", "float")


def _fields_at(model: Any, path: Sequence[str]) -> list[str]:
    """Return the field names of the specification that a path leads to."""
    for part in path:
        fields = getattr(model, "model_fields", {})
        kind = fields[part].annotation if part in fields else None
        model = next((one for one in _models_in(kind)), model)
    if isinstance(model, type) and issubclass(model, BaseModel):
        return [field.alias or name for name, field in model.model_fields.items()]
    return list(TypeAdapter(model).json_schema().get("properties", {}))


def _models_in(kind: Any) -> Iterable[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for inner in getattr(kind, "__args__", ()):
        yield from _models_in(inner)
