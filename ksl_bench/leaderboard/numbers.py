"""How a number with its interval is shown in a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Show = Literal["interval", "half_width"]


def shown(number: Mapping[str, Any], show: Show) -> str:
    """Return a number with its whole interval, or with half its width."""
    if show == "interval":
        return f"{number['value']:.1f} [{number['low']:.1f}, {number['high']:.1f}]"
    return f"{number['value']:.1f}±{(number['high'] - number['low']) / 2:.1f}"
