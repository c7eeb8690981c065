"""YAML files by name: where they are looked for, and how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

import ksl_bench
from ksl_bench.errors import ConfigError
from ksl_bench.registry import unknown

_PACKAGE = Path(ksl_bench.__file__).resolve().parent
_KINDS = {"suite": "suites", "baseline": "baselines", "search space": "search_spaces"}


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


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping: YAML forbids it, and PyYAML would drop the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} stands there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """Parse YAML, safely.

    Raises:
        yaml.YAMLError: If it is none, or a mapping has a key twice.
    """
    return yaml.load(text, Loader=_Loader)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping, safely.

    Raises:
        ConfigError: If it is none; names file and line.
    """
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must hold a mapping, got {type(content).__name__}")
    return content
