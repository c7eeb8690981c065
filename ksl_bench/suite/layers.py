"""Layers of fields: recipes under what a suite adds, `--set` on top."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from ksl_bench.errors import ConfigError
from ksl_bench.registry import unknown
from ksl_bench.suite.files import find_file, parse_yaml, read_yaml
from ksl_bench.suite.winners import Stored, take_winners


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
            parsed.append((path.strip().split("."), parse_yaml(value)))
        except yaml.YAMLError:
            raise ConfigError(f"--set {text!r}: the value is not YAML") from None
    return parsed


def join_recipes(
    listed: Any, problems: list[str], stored: Stored | None = None
) -> dict[str, dict[str, Any]]:
    """Return each listed baseline's fields by name: its recipe's, under what the suite adds."""
    entries: dict[str, dict[str, Any]] = {}
    if not isinstance(listed, list) or not listed:
        problems.append(f"baselines: must be a list of recipe names, got {listed!r}")
        return entries
    for index, one in enumerate(listed):
        if isinstance(one, dict) and "from_sweep" in one:
            winners = take_winners(one, f"baselines.{index}", stored, problems)
            _add_winners(entries, winners, f"baselines.{index}", problems)
            continue
        extra = {"recipe": one} if isinstance(one, str) else one
        if not isinstance(extra, dict) or not isinstance(extra.get("recipe"), str):
            problems.append(
                f"baselines.{index}: must be a name, or a mapping with `recipe` or `from_sweep`, got "
                f"{one!r}"
            )
            continue
        extra = dict(extra)
        try:
            path = find_file("baseline", extra.pop("recipe"))
            recipe = read_yaml(path)
        except ConfigError as error:
            problems += [f"baselines.{index}: {problem}" for problem in error.problems]
            continue
        joined = merge_layers({"name": path.stem, **recipe}, extra)
        keep_one_length(joined.get("train"), recipe.get("train"), extra.get("train"))
        if "search" in joined:
            problems.append(f"baselines.{index}.search: only a sweep says that; leave it out")
            continue
        if joined["name"] in entries:
            problems.append(f"baselines.{index}: {joined['name']!r} is listed twice")
            continue
        entries[str(joined["name"])] = joined
    return entries


def _add_winners(
    entries: dict[str, dict[str, Any]],
    winners: Mapping[str, dict[str, Any]],
    where: str,
    problems: list[str],
) -> None:
    """Add what a sweep gives; a source that two winners share is the same for both."""
    for name, entry in winners.items():
        if name not in entries:
            entries[name] = entry
        elif entries[name] != entry:
            problems.append(
                f"{where}: {name!r} is listed already, and not as the sweep had it; leave it out there"
            )


DERIVED = {"probe": "probes", "merge": "merges"}
"""Fields that make a baseline one of another's states, and what it then does with it."""


def join_derived(
    name: str, entry: dict[str, Any], entries: Mapping[str, dict[str, Any]], problems: list[str]
) -> dict[str, Any]:
    """Return a baseline's fields; those of a probe or a merge are the other baseline's, under its own."""
    kind = next((one for one in DERIVED if isinstance(entry.get(one), dict)), None)
    if kind is None:
        return entry
    of = str(entry[kind].get("of"))
    where, other = f"baselines.{name}", entries.get(of, {})
    own = sorted(entry.keys() - {"name", "description", "source", kind})
    if own:
        problems.append(
            f"{where}.{own[0]}: a {kind} has that of the baseline it {DERIVED[kind]}; leave it out"
        )
    if not other or DERIVED.keys() & other.keys():
        others = [one for one in entries if not DERIVED.keys() & entries[one].keys()]
        problems.append(f"{where}.{kind}.of: {unknown('baseline of this suite', of, others)}")
        return entry
    return {**other, **entry}


def merge_layers(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return two mappings as one: what is above wins, mappings within are merged in turn."""
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[name] = merge_layers(old, value) if both else value  # type: ignore[arg-type]
    return merged


def keep_one_length(train: Any, *layers: Any) -> None:
    """Of steps and epochs keep the one that the uppermost layer gives."""
    for layer in reversed([one for one in layers if isinstance(one, dict)]):
        if "steps" in layer or "epochs" in layer:
            for name in {"steps", "epochs"} - layer.keys():
                train.pop(name, None)
            return


def assign(
    content: dict[str, Any],
    entries: dict[str, dict[str, Any]],
    forced: dict[str, Any],
    path: list[str],
    value: Any,
    stored: Stored | None = None,
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
            entries.update(join_recipes(value, problems, stored))
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
        keep_one_length(content, {path[-1]: value})
