"""A suite's mapping, joined with its recipes and `--set`, becomes a Suite."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ksl_bench.config import Baseline, Suite, TrainSpec
from ksl_bench.errors import ConfigError
from ksl_bench.methods import METHODS, build_method
from ksl_bench.registry import unknown
from ksl_bench.suite.checks import check_suite
from ksl_bench.suite.files import find_file, read_yaml
from ksl_bench.suite.layers import (
    assign,
    join_derived,
    join_recipes,
    keep_one_length,
    parse_set,
)
from ksl_bench.suite.problems import problem_lines
from ksl_bench.suite.steps import as_step, step_entries
from ksl_bench.suite.winners import Stored, stale_choices
from ksl_bench.tasks.readings import READINGS

_RECIPE_FIELDS = (
    *("name", "description", "source", "method", "ticket"),
    *("train", "probe", "merge", "by_step", "statistic", "vote", "search"),
)


def load_suite(
    name: str, assignments: Sequence[str] = (), *, stored: Stored | None = None
) -> Suite:
    """Load a suite by name or path, apply `--set`, and check all of it.

    Args:
        name: Of a suite, or the path of its YAML file.
        assignments: `--set`.
        stored: Looks up the sweeps whose winners the suite takes.

    Raises:
        ConfigError: With every problem, each with its path in the YAML.
    """
    content = read_yaml(find_file("suite", name))
    suite = build_suite(content, parse_set(assignments), stored=stored)
    if stale := stale_choices(suite):
        raise ConfigError(dict.fromkeys(stale))
    return suite


def build_suite(
    content: dict[str, Any],
    assignments: Sequence[tuple[list[str], Any]],
    *,
    stored: Stored | None = None,
) -> Suite:
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
    entries = join_recipes(content.pop("baselines", None), problems, stored)
    forced: dict[str, Any] = {}
    for path, value in assignments:
        try:
            assign(content, entries, forced, path, value, stored)
        except ConfigError as error:
            problems += error.problems
    entries = {name: join_derived(name, one, entries, problems) for name, one in entries.items()}
    baselines = []
    for entry in entries.values():
        train = {**defaults, **(entry.get("train") or {}), **forced}
        keep_one_length(train, defaults, entry.get("train"), forced)
        baseline = _build_steps({**entry, "train": train}, forced, problems)
        if baseline is not None:
            baselines.append(baseline)
    content["task"] = _absolute_files(content.get("task"))
    content = _with_usual_readings(content)
    if "conditions" in content:
        content["conditions"] = _join_conditions(content["task"], content["conditions"], problems)
    try:
        # Baselines that failed are reported already; any one lets the rest of the suite be checked.
        suite = Suite.model_validate({**content, "baselines": baselines or [_PLACEHOLDER]})
    except ValidationError as error:
        problems += problem_lines(error, Suite)
        raise ConfigError(dict.fromkeys(problems)) from None
    problems += check_suite(suite, complete=len(baselines) == len(entries))
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    return suite


def _with_usual_readings(content: dict[str, Any]) -> dict[str, Any]:
    """Fill in what is scored and judged by where the suite leaves it to the task."""
    task = content["task"]
    name = task.get("name", "translation") if isinstance(task, dict) else None
    if not isinstance(name, str) or name not in READINGS:
        return content
    usual: dict[str, dict[str, Any]] = {
        "evaluate": {"metrics": READINGS[name].usual_metrics},
        "verdicts": {"rule": READINGS[name].content},
    }
    given = {field: content.get(field, {}) for field in usual}
    if not all(isinstance(one, dict) for one in given.values()):
        return content  # told of when it is checked
    return {**content, **{field: {**usual[field], **given[field]} for field in usual}}


def _absolute_files(task: Any) -> Any:
    """Resolve a task's relative paths here: workers read them from another directory."""
    if not isinstance(task, dict):
        return task
    return {
        name: _absolute(value) if name in ("train_files", "dev_files", "devtest_files") else value
        for name, value in task.items()
    }


def _join_conditions(task: Any, conditions: Any, problems: list[str]) -> Any:
    """Lay what each condition gives over the task."""
    if not isinstance(conditions, dict) or not conditions or not isinstance(task, dict):
        problems.append(f"conditions: must map names to fields of the task, got {conditions!r}")
        return {}
    for name, given in conditions.items():
        if not isinstance(given, dict):
            problems.append(
                f"conditions.{name}: must be a mapping of fields of the task, got {given!r}"
            )
    return {
        name: {**task, **_absolute_files(given)}
        for name, given in conditions.items()
        if isinstance(given, dict)
    }


def _absolute(location: Any) -> Any:
    if isinstance(location, dict):
        return {name: _absolute(one) for name, one in location.items()}
    if isinstance(location, (list, tuple)):
        return tuple(_absolute(one) for one in location)
    if not isinstance(location, str) or location == "controlled" or "://" in location:
        return location
    return str(Path(location).expanduser().absolute())


_PLACEHOLDER = Baseline(
    name="none", source="", method="none", train=TrainSpec(learning_rate=1.0, steps=1)
)


def _build_steps(
    entry: dict[str, Any], forced: dict[str, Any], problems: list[str]
) -> Baseline | None:
    """Check one joined recipe, and what it says of each step of a sequence."""
    where = f"baselines.{entry.get('name')}"
    if entry.get("by_step") is None:
        return _build_baseline(entry, where, problems)
    found: list[str] = []
    entries = step_entries(entry, forced, found, where)
    steps = [
        _build_baseline(one, f"{where}.by_step.{place}", found) for place, one in enumerate(entries)
    ]
    whole = _build_baseline({**entry, "by_step": None}, where, found)
    problems += found
    if found or whole is None:
        return None
    return whole.model_copy(update={"by_step": tuple(as_step(one) for one in steps if one)})


def _build_baseline(entry: dict[str, Any], where: str, problems: list[str]) -> Baseline | None:
    """Check one joined recipe; its fields beyond the common ones belong to the method."""
    common = {field: entry[field] for field in _RECIPE_FIELDS if entry.get(field) is not None}
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
