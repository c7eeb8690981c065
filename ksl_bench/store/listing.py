"""Files as a listing shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One file."""

    path: str
    bytes: int
    modified: float | None
    """Seconds since the epoch by the clock of the storage; None where it does not tell."""


def entry_of(path: str, info: Mapping[str, Any]) -> Entry:
    """Return what fsspec found; every kind of file system says by another name when it was written."""
    modified: float | None = None
    for name in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = info.get(name)
        if isinstance(value, datetime):
            modified = value.timestamp()
        elif isinstance(value, (int, float)):
            modified = float(value)
        if modified is not None:
            break
    return Entry(path, int(info.get("size") or 0), modified)
