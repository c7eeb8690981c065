"""Ray's token, which every process that talks to a cluster shows, and what else is secret."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

SECRET_NAME = re.compile(
    r"TOKEN|SECRET|KEY|PASSWORD|PASSWD|CREDENTIAL|CONNECTION_STRING", re.IGNORECASE
)
UNSEALED = "KSL_BENCH_UNSEALED"
"""The variable that holds the names of the variables that a submission sealed: workers get them, too."""

PASSWORD_IN_URI = re.compile(r"://(?=[^\s/?#]*[@:])\S*@")
"""Up to the last @, since a password may hold @ and /. An @ in a path counts only behind a colon, which may
begin a password as well as a port."""


def is_secret(name: str, value: str) -> bool:
    """Tell whether a variable must be seen by nobody: by its name, or by a password in its value."""
    return bool(SECRET_NAME.search(name) or PASSWORD_IN_URI.search(value))


def masked(text: str) -> str:
    """Return a text without the users and passwords of its URIs."""
    return PASSWORD_IN_URI.sub("://***@", text)


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
