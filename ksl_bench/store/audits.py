"""Audits of tickets: what certificates claim of them on one text.

    <root>/audits/<key of the ticket>.json

An audit is no artifact: no plan asks for it, and nothing is made from it. It names the digest of its text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ksl_bench.store.artifacts import Store
from ksl_bench.store.layout import AUDITS, audit_path
from ksl_bench.store.records import parse_object, render_object


def write_audit(store: Store, key: str, audit: Mapping[str, Any]) -> None:
    """Write the audit of a ticket, over an earlier one."""
    store.files.write(audit_path(key), render_object(audit))


class Audits:
    """The audits of a store, as they are now: most tickets have none, so they are listed once."""

    def __init__(self, store: Store) -> None:
        """Look which there are."""
        self._files = store.files
        self._names = frozenset(store.files.names(AUDITS))

    def read(self, key: str, *, text: str) -> dict[str, Any] | None:
        """Return the audit of a ticket on a text; None if there is none, or it is of another text.

        Args:
            key: Of the ticket.
            text: Digest of what was scored.
        """
        path = audit_path(key)
        if path.rpartition("/")[2] not in self._names:
            return None
        content = self._files.read(path)
        found = parse_object(content) if content is not None else None
        return found if found is not None and found.get("text") == text else None
