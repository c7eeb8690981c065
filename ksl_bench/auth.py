"""Ray's token: every process that talks to a cluster shows it."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def require_token() -> None:
    """Turn Ray's token authentication on, for clusters that are joined and those started here.

    Ray reads it once, when it is imported. If that has happened, what was chosen then stays: processes
    started from now on would not understand this one.
    """
    if "ray" not in sys.modules:
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def ray_token() -> str | None:
    """Return the token that Ray would show, None if there is none."""
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token.strip()
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
