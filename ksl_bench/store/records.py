"""JSON as the store writes and reads it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

SCHEMA = 2
"""Of records and manifests; raised when an older reader would misread them. Since 2, records are sealed."""

READ = (1, SCHEMA)

STATUSES = ("finished", "failed", "out_of_memory", "diverged", "skipped")
"""How the making of an artifact can end."""


def canonical(inputs: Mapping[str, Any]) -> str:
    """Return the one JSON text of inputs: sorted keys, no spaces, ASCII, floats by `repr`.

    Raises:
        TypeError: If JSON cannot hold the inputs as they are; nor NaN, nor names that are no text.
    """
    _check_names(inputs)
    try:
        return json.dumps(dict(inputs), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError as error:  # NaN, infinity, a circle
        raise TypeError(f"JSON cannot hold this: {error}") from None


def _check_names(value: Any) -> None:
    """Refuse names that `json` would quietly turn into text: {1: x} is not {"1": x}."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            if not isinstance(name, str):
                raise TypeError(f"JSON cannot hold this: {name!r} is no text, but names something")
            _check_names(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            _check_names(part)


def render_object(content: Mapping[str, Any]) -> bytes:
    """Return a JSON object as a file, for people too; numbers that are not finite become null."""
    return (json.dumps(_finite(content), indent=2, allow_nan=False) + "\n").encode()


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with the digest of all that it says, so that a flipped bit is noticed."""
    content = _finite({name: part for name, part in record.items() if name != "digest"})
    whole: dict[str, Any] = json.loads(json.dumps(content))  # as it will be read
    return {**whole, "digest": _digest(whole)}


def is_unbroken(record: Mapping[str, Any]) -> bool:
    """Return whether a record says what it said when it was sealed; those of schema 1 have no seal."""
    if record["schema"] == 1:
        return "digest" not in record
    said = {name: part for name, part in record.items() if name != "digest"}
    return bool(record.get("digest") == _digest(said))


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def parse_object(content: bytes) -> dict[str, Any] | None:
    """Return the JSON object in a file, None if it is not whole."""
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def is_record(record: Mapping[str, Any], kind: str, key: str) -> bool:
    """Return whether this is a whole record of an artifact."""
    return (
        record.get("schema") in READ
        and (record.get("kind"), record.get("key")) == (kind, key)
        and record.get("status") in STATUSES
        and is_digests(record.get("files"))
        and is_unbroken(record)
    )


def is_digests(value: object) -> bool:
    """Return whether this is name -> {"sha256": ..., "bytes": ...}."""
    return isinstance(value, dict) and all(
        isinstance(one, dict)
        and isinstance(one.get("sha256"), str)
        and isinstance(one.get("bytes"), int)
        for one in value.values()
    )
