"""From YAML files and `--set` to one validated suite, with every problem reported at once.

A suite lists its baselines by the names of recipes; what it adds to a recipe, and what `--set` changes,
is joined here. The order, later wins: the suite's `train`, the recipe, the suite's entry for it,
`--set baselines.<name>...`, `--set train...`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

import ksl_bench
from ksl_bench.config import Baseline, Suite, TrainSpec
from ksl_bench.errors import ConfigError, KslBenchError
from ksl_bench.evaluation.metrics import check_metric
from ksl_bench.lottery.criteria import CRITERIA
from ksl_bench.methods import METHODS, build_method
from ksl_bench.registry import closest, unknown
from ksl_bench.tasks import build_task

_PACKAGE = Path(ksl_bench.__file__).resolve().parent
_KINDS = {"suite": "suites", "baseline": "baselines", "search space": "search_spaces"}
_RECIPE_FIELDS = ("name", "description", "source", "method", "ticket", "train")


def folders(kind: str) -> list[Path]:
    """Return where YAML files of a kind are looked for: the working directory, then the shipped."""
    name = _KINDS[kind]
    beside = _PACKAGE if (_PACKAGE / name).is_dir() else _PACKAGE.parent
    return [Path.cwd() / name, beside / name]


def available(kind: str) -> dict[str, Path]:
    """Return the YAML files of a kind by name; those of the working directory hide shipped ones."""
    found: dict[str, Path] = {}
    for folder in folders(kind):
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


def find_file(kind: str, name: str) -> Path:
    """Return the YAML file of a name or path.

    Raises:
        ConfigError: If there is none; the closest name is proposed.
    """
    if name.endswith((".yaml", ".yml")):
        if Path(name).is_file():
            return Path(name)
        raise ConfigError(f"{kind} file not found: {name}")
    known = available(kind)
    if name not in known:
        raise ConfigError(unknown(kind, name, known))
    return known[name]


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping, safely.

    Raises:
        ConfigError: If it is none; names file and line.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must hold a mapping, got {type(content).__name__}")
    return content


def parse_set(assignments: Iterable[str]) -> list[tuple[list[str], Any]]:
    """Parse `path=value` pairs; a value is YAML.

    Raises:
        ConfigError: If one has no path or no value.
    """
    parsed = []
    for text in assignments:
        path, equals, value = text.partition("=")
        if not equals or not path.strip() or any(not part for part in path.split(".")):
            raise ConfigError(f"--set {text!r}: must be path=value, e.g. train.steps=100")
        try:
            parsed.append((path.strip().split("."), yaml.safe_load(value)))
        except yaml.YAMLError:
            raise ConfigError(f"--set {text!r}: the value is not YAML") from None
    return parsed


def load_suite(name: str, assignments: Sequence[str] = ()) -> Suite:
    """Load a suite by name or path, apply `--set`, and check all of it.

    Raises:
        ConfigError: With every problem, each with its path in the YAML.
    """
    content = read_yaml(find_file("suite", name))
    return build_suite(content, parse_set(assignments))


def build_suite(content: dict[str, Any], assignments: Sequence[tuple[list[str], Any]]) -> Suite:
    """Join a suite's mapping with its recipes and `--set`, and check all of it.

    Raises:
        ConfigError: With every problem, each with its path in the YAML.
    """
    content = copy.deepcopy(content)
    problems: list[str] = []
    defaults = content.pop("train", {})
    if not isinstance(defaults, dict):
        problems.append(f"train: must be a mapping, got {defaults!r}")
        defaults = {}
    entries = _join_recipes(content.pop("baselines", None), problems)
    forced: dict[str, Any] = {}
    for path, value in assignments:
        try:
            _assign(content, entries, forced, path, value)
        except ConfigError as error:
            problems += error.problems
    baselines = []
    for entry in entries.values():
        train = {**defaults, **(entry.get("train") or {}), **forced}
        _one_length(train, defaults, entry.get("train"), forced)
        baseline = _build_baseline({**entry, "train": train}, problems)
        if baseline is not None:
            baselines.append(baseline)
    content["task"] = _absolute_files(content.get("task"))
    try:
        # Baselines that failed are reported already; any one lets the rest of the suite be checked.
        suite = Suite.model_validate({**content, "baselines": baselines or [_PLACEHOLDER]})
    except ValidationError as error:
        problems += problem_lines(error, Suite)
        raise ConfigError(dict.fromkeys(problems)) from None
    problems += _check_suite(suite, complete=len(baselines) == len(entries))
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    return suite


def _absolute_files(task: Any) -> Any:
    """Resolve a task's relative paths here: workers read them from another directory."""
    if not isinstance(task, dict):
        return task
    return {
        name: _absolute(value) if name in ("train_files", "dev_files", "devtest_files") else value
        for name, value in task.items()
    }


def _absolute(location: Any) -> Any:
    if isinstance(location, (list, tuple)):
        return tuple(_absolute(one) for one in location)
    if not isinstance(location, str) or location == "controlled" or "://" in location:
        return location
    return str(Path(location).expanduser().absolute())


_PLACEHOLDER = Baseline(
    name="none", source="", method="none", train=TrainSpec(learning_rate=1.0, steps=1)
)


def _join_recipes(listed: Any, problems: list[str]) -> dict[str, dict[str, Any]]:
    """Return each listed baseline's fields by name: its recipe's, under what the suite adds."""
    entries: dict[str, dict[str, Any]] = {}
    if not isinstance(listed, list) or not listed:
        problems.append(f"baselines: must be a list of recipe names, got {listed!r}")
        return entries
    for index, one in enumerate(listed):
        extra = {"recipe": one} if isinstance(one, str) else one
        if not isinstance(extra, dict) or not isinstance(extra.get("recipe"), str):
            problems.append(
                f"baselines.{index}: must be a name, or a mapping with `recipe`, got {one!r}"
            )
            continue
        extra = dict(extra)
        try:
            path = find_file("baseline", extra.pop("recipe"))
            recipe = read_yaml(path)
        except ConfigError as error:
            problems += [f"baselines.{index}: {problem}" for problem in error.problems]
            continue
        joined = _merge({"name": path.stem, **recipe}, extra)
        _one_length(joined.get("train"), recipe.get("train"), extra.get("train"))
        if joined["name"] in entries:
            problems.append(f"baselines.{index}: {joined['name']!r} is listed twice")
            continue
        entries[str(joined["name"])] = joined
    return entries


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[name] = _merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def _one_length(train: Any, *layers: Any) -> None:
    """Of steps and epochs keep the one that the uppermost layer gives."""
    for layer in reversed([one for one in layers if isinstance(one, dict)]):
        if "steps" in layer or "epochs" in layer:
            for name in {"steps", "epochs"} - layer.keys():
                train.pop(name, None)
            return


def _assign(
    content: dict[str, Any],
    entries: dict[str, dict[str, Any]],
    forced: dict[str, Any],
    path: list[str],
    value: Any,
) -> None:
    """Apply one `--set`."""
    shown = ".".join(path)
    if path[0] == "train" and len(path) == 2:
        forced[path[1]] = value
        return
    if path[0] == "baselines":
        if len(path) == 1:
            entries.clear()
            problems: list[str] = []
            entries.update(_join_recipes(value, problems))
            if problems:
                raise ConfigError(problems)
            return
        if path[1] not in entries:
            raise ConfigError(f"--set {shown}: {unknown('baseline', path[1], entries)}")
        content, path = entries[path[1]], path[2:]
        if not path:
            raise ConfigError(f"--set {shown}: name a field of the baseline")
    for part in path[:-1]:
        below = content.setdefault(part, {})
        if not isinstance(below, dict):
            raise ConfigError(f"--set {shown}: {part} is no mapping")
        content = below
    content[path[-1]] = value
    if path[:-1] == ["train"]:
        _one_length(content, {path[-1]: value})


def _build_baseline(entry: dict[str, Any], problems: list[str]) -> Baseline | None:
    """Check one joined recipe; its fields beyond the common ones belong to the method."""
    name = str(entry.get("name"))
    where = f"baselines.{name}"
    common = {field: entry[field] for field in _RECIPE_FIELDS if field in entry}
    own = {field: value for field, value in entry.items() if field not in _RECIPE_FIELDS}
    found: list[str] = []
    try:
        baseline = Baseline.model_validate({**common, "hyperparameters": own})
    except ValidationError as error:
        found += problem_lines(error, Baseline, where=where)
        baseline = None
    method = entry.get("method")
    if isinstance(method, str):
        if method not in METHODS:
            found.append(f"{where}.method: {unknown('method', method, METHODS)}")
        else:
            found += _check_method(method, own, where)
            wanted, given = METHODS[method].needs_ticket, entry.get("ticket") is not None
            if wanted != given:
                need = "needs a ticket" if wanted else "takes no ticket"
                found.append(f"{where}.ticket: method {method!r} {need}")
    problems += found
    return None if found else baseline


def _check_method(method: str, own: dict[str, Any], where: str) -> list[str]:
    kind: Any = METHODS[method]
    try:
        build_method(method, own)
    except ValidationError as error:
        return problem_lines(error, kind, where=where)
    return []


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


def _check_suite(suite: Suite, *, complete: bool) -> list[str]:
    """Check what concerns more than one field."""
    problems = []
    try:
        task = build_task(suite.task)
        _ = task.template
    except KslBenchError as error:
        field = "name" if error.problems[0].startswith("unknown task") else "prompt"
        problems += [f"task.{field}: {problem}" for problem in error.problems]
    for metric in suite.evaluate.metrics:
        try:
            check_metric(metric)
        except ConfigError as error:
            problems += [f"evaluate.metrics: {problem}" for problem in error.problems]
    if complete:
        for baseline in suite.baselines:
            problems += [
                f"baselines.{baseline.name}.{one}" for one in _check_baseline(suite, baseline)
            ]
    return problems


def _check_baseline(suite: Suite, baseline: Baseline) -> list[str]:
    problems = []
    method, train, resources = METHODS[baseline.method], baseline.train, suite.resources
    if train.gradient_checkpointing and method.no_gradient_checkpointing:
        problems.append(
            f"train.gradient_checkpointing: not with method {baseline.method!r}: "
            f"{method.no_gradient_checkpointing}"
        )
    if method.trains:
        try:
            train.accumulation_steps(world_size=resources.workers_per_run)
        except ValueError as error:
            problems.append(f"train.global_batch_size: {error}")
        if train.precision == "bf16" and resources.zero_stage == 0:
            problems.append(
                "train.precision: bf16 needs resources.zero_stage >= 1: DeepSpeed's stage 0 keeps no fp32 "
                "master weights, so small steps are rounded away"
            )
    return problems + _check_ticket(suite, baseline)


def _check_ticket(suite: Suite, baseline: Baseline) -> list[str]:
    spec, problems = baseline.ticket, []
    if spec is None:
        return []
    if spec.criterion not in CRITERIA:
        return [f"ticket.criterion: {unknown('criterion', spec.criterion, CRITERIA)}"]
    criterion = CRITERIA[spec.criterion]
    if criterion.needs_tuned and spec.source is None:
        problems.append(
            f"ticket.from: criterion {spec.criterion!r} needs a tuned baseline to look at"
        )
    if spec.alpha is not None and not criterion.takes_alpha:
        problems.append(f"ticket.alpha: criterion {spec.criterion!r} has no p-values; give k")
    if spec.source is not None:
        names = [one.name for one in suite.baselines]
        if spec.source not in names:
            problems.append(f"ticket.from: {unknown('baseline of this suite', spec.source, names)}")
        elif suite.baseline(spec.source).method not in ("embedding", "full"):
            problems.append(
                f"ticket.from: {spec.source!r} does not tune the input embedding; methods "
                "'embedding' and 'full' do"
            )
    elif baseline.method == "partial_transfer":
        problems.append(
            "ticket.from: partial transfer needs the tuned baseline whose rows it pastes"
        )
    return problems
