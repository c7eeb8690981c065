"""JSON as the store writes and reads it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

SCHEMA = 3
"""Of records and manifests; raised when an older reader would misread them. Since 2, records are sealed;
since 3, by their text."""

READ = (1, 2, SCHEMA)

_SEAL = re.compile(rb'\{\n  "digest": "([0-9a-f]{64})",\n')

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


def render_record(record: Mapping[str, Any]) -> bytes:
    """Return a record as a file that begins with the digest of what follows: a flipped bit is noticed."""
    said = {name: part for name, part in record.items() if name != "digest"}
    text = render_object(said).removeprefix(b"{\n")
    return b'{\n  "digest": "%s",\n' % hashlib.sha256(text).hexdigest().encode() + text


def is_unbroken(record: Mapping[str, Any], content: bytes) -> bool:
    """Return whether a record, and the file that it was read from, say what they said when it was sealed."""
    if record["schema"] == 1:  # without a seal
        return "digest" not in record
    if record["schema"] == 2:  # sealed by what it says, in whatever form
        said = {name: part for name, part in record.items() if name != "digest"}
        text = json.dumps(said, sort_keys=True).encode()
        return bool(record.get("digest") == hashlib.sha256(text).hexdigest())
    seal = _SEAL.match(content)
    return (
        seal is not None and hashlib.sha256(content[seal.end() :]).hexdigest().encode() == seal[1]
    )


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


def is_record(record: Mapping[str, Any], content: bytes, kind: str, key: str) -> bool:
    """Return whether this, as it was read from a file's content, is a whole record of an artifact."""
    return (
        record.get("schema") in READ
        and (record.get("kind"), record.get("key")) == (kind, key)
        and record.get("status") in STATUSES
        and is_digests(record.get("files"))
        and is_unbroken(record, content)
    )


def is_digests(value: object) -> bool:
    """Return whether this is name -> {"sha256": ..., "bytes": ...}."""
    return isinstance(value, dict) and all(
        isinstance(one, dict)
        and isinstance(one.get("sha256"), str)
        and isinstance(one.get("bytes"), int)
        for one in value.values()
    )
