"""How a number with its interval is shown in a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Show = Literal["interval", "half_width"]


def shown(number: Mapping[str, Any], show: Show, *, signed: bool = False) -> str:
    """Return a number, perhaps with its sign, with its whole interval or with half its width."""
    value = format(number["value"], "+.1f" if signed else ".1f")
    if show == "interval":
        return f"{value} [{number['low']:.1f}, {number['high']:.1f}]"
    return f"{value}±{(number['high'] - number['low']) / 2:.1f}"
