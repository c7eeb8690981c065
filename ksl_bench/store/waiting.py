"""What other drivers work on, and this one waits for."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from ksl_bench.store.lease import Lease
from ksl_bench.store.leases import Leases

LOOK_SECONDS = 2.0
"""How often another driver's lease is looked at."""
TELL_SECONDS = 5.0
"""How long a wait lasts before it is said for whom."""

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Wait:
    lease: Lease
    since: float
    looked: float
    ours: bool
    """Held by another execution of this driver, over the same object."""


class Elsewhere:
    """Artifacts whose leases others hold."""

    def __init__(self, leases: Leases) -> None:
        """Take the leases of this driver; it waits for nothing yet."""
        self._leases = leases
        self._waits: dict[str, _Wait] = {}
        self._told: set[str] = set()

    def keeps(self, key: str) -> bool:
        """Return whether another works on an artifact; where none does, its lease is taken."""
        lease = self._leases.take(key)
        if lease is None:
            self._waits.pop(key, None)
            return False
        now = time.monotonic()
        since = self._waits[key].since if key in self._waits else now
        self._waits[key] = _Wait(lease, since, now, ours=self._leases.holds(key))
        return True

    def forget(self, key: str) -> None:
        """Wait no longer for an artifact."""
        self._waits.pop(key, None)

    def due(self) -> list[str]:
        """Return what to ask for again: other drivers' seldom, since it costs requests."""
        now = time.monotonic()
        return [
            key
            for key, wait in self._waits.items()
            # What this driver itself gave back shows without a request.
            if now - wait.looked >= LOOK_SECONDS or (wait.ours and not self._leases.holds(key))
        ]

    def tell(self) -> None:
        """Say who is waited for, once for each holder, if it takes more than a moment."""
        now = time.monotonic()
        for key, wait in self._waits.items():
            lease = wait.lease
            if wait.ours or now - wait.since < TELL_SECONDS or lease.holder in self._told:
                continue
            self._told.add(lease.holder)
            _logger.warning(
                "%s works on %s since %s; waiting for it, and for what else it has",
                lease.holder,
                key,
                lease.since,
            )
