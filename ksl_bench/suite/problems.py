"""What pydantic finds wrong, as one line a problem with its path in the YAML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from ksl_bench.config import TASK_SPECS
from ksl_bench.registry import closest, unknown


def problem_lines(error: ValidationError, model: Any, where: str = "") -> list[str]:
    """Return one line a problem: its path in the YAML, what is allowed, what was given."""
    lines = []
    for one in error.errors():
        parts = _field_path(model, [str(part) for part in one["loc"]])
        path = ".".join(filter(None, [where, *parts]))
        if one["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            known = _fields_at(model, [str(part) for part in one["loc"]][:-1])
            hint = closest(parts[-1], known)
            lines.append(f"{path}: unknown field.{hint} Known: {', '.join(sorted(known))}")
        elif one["type"] in ("missing", "missing_argument"):
            lines.append(f"{path}: must be given")
        elif one["type"] == "union_tag_invalid":
            lines.append(f"{path}.name: {unknown('task', one['input']['name'], TASK_SPECS)}")
        elif one["type"] == "union_tag_not_found":
            lines.append(f"{path}: must be a mapping, got {one['input']!r}")
        elif one["type"] == "value_error":
            lines.append(": ".join(filter(None, [path, str(one["ctx"]["error"])])))
        else:
            said = one["msg"].removeprefix("Input should be ").removeprefix("a valid ")
            said = said.replace("greater than or equal to", ">=").replace("greater than", ">")
            said = said.replace("less than or equal to", "<=").replace("less than", "<")
            lines.append(f"{path}: must be {said}, got {one['input']!r}")
    return list(dict.fromkeys(lines))


def _field_path(model: Any, path: Sequence[str]) -> list[str]:
    """Return the parts of pydantic's path that are fields, without the branches of its unions."""
    kept = []
    for part, _, is_branch in _walk(model, path):
        if not is_branch and "[" not in part and part not in ("str", "int", "float"):
            kept.append(part)
    return kept


def _walk(model: Any, path: Sequence[str]) -> Iterator[tuple[str, Any, bool]]:
    """Yield each part of a path, the specification that it leads to, and whether it is a union's branch."""
    branches: dict[str, Any] = {}
    for part in path:
        if part in branches:
            model, branches = branches[part], {}
            yield part, model, True
            continue
        fields = getattr(model, "model_fields", {})
        found = list(_models_in(fields[part].annotation)) if part in fields else []
        if found:
            model = found[0]
        if len(found) > 1:
            branches = {str(one.model_fields["name"].default): one for one in found}
        yield part, model, False


def _fields_at(model: Any, path: Sequence[str]) -> list[str]:
    """Return the field names of the specification that a path leads to."""
    for _, one, _ in _walk(model, path):
        model = one
    if isinstance(model, type) and issubclass(model, BaseModel):
        return [field.alias or name for name, field in model.model_fields.items()]
    return list(TypeAdapter(model).json_schema().get("properties", {}))


def _models_in(kind: Any) -> Iterable[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for inner in getattr(kind, "__args__", ()):
        yield from _models_in(inner)
