"""Where a row stands: one baseline under one condition, scored under one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Place = tuple[str, str, str]
"""Condition, baseline, and the condition it is scored under."""


def place_of(row: Mapping[str, Any]) -> Place:
    """Return the place of a row of a leaderboard, or of a plan."""
    return row["condition"], row["baseline"], row["scored_under"]
