"""Leases: of several drivers over one store, one works on an artifact; a dead one's work is taken over.

    <root>/leases/<key>.json             the first holder's lease; there while somebody works
    <root>/leases/<key>.<token>.json     the lease of whoever took over from the holder with that token

Taking means to create a file that is not there, which only one of several can do: the first file, or the
successor of a lease whose holder is dead. Whoever is last in the chain holds the artifact. To give it back is
to remove the chain, its first file first; a successor created to a chain that is gone does not count.

Clocks of machines differ, so none are compared: a holder is dead when its heartbeat has not moved for
`MISSED_BEATS` intervals by the monotonic clock of the process that watches; at once, if it ran on this
machine and runs no more. A holder that was only suspended learns of its loss at its next heartbeat.

A folder creates by a hard link, S3 by a conditional put (`If-None-Match: *`). Storage that has nothing of
the kind, or ignores it, is found out by trying. There a lease is written, left alone for `SETTLE_SECONDS` and
read back: the last writer holds it. Two drivers can then both think so if a write takes longer than that to
arrive; the artifact is made twice and stays whole, since files and records are.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from ksl_bench.errors import StorageError
from ksl_bench.store.files import Files
from ksl_bench.store.layout import KEY, LEASES
from ksl_bench.store.lease import HEARTBEAT_SECONDS, Lease, new_lease, parse_lease

MISSED_BEATS = 6
"""Heartbeats that a holder may miss before it counts as dead."""
SETTLE_SECONDS = 1.0

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Held:
    """A lease of this process."""

    lease: Lease
    path: str
    lost: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    """While the lease is written or removed."""


class Leases:
    """The leases of this process in one store, kept alive by one thread while there are any."""

    def __init__(self, files: Files, *, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> None:
        """Take where they are; nothing is read or written yet."""
        self._files, self._heartbeat_seconds = files, heartbeat_seconds
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._watched: dict[str, tuple[str, int, float]] = {}
        self._heart: threading.Thread | None = None
        self._atomic: bool | None = None

    def take(self, key: str) -> Lease | None:
        """Take the lease of an artifact.

        Returns:
            None if this call took it; otherwise the lease that stands in the way, perhaps one that was
            taken here before.

        Raises:
            StorageError: If the storage cannot be read or written.
        """
        if not KEY.fullmatch(key):
            raise StorageError(f"not a key: {key!r}; must be 20 hex digits")
        while True:
            with self._lock:
                if key in self._held:
                    return self._held[key].lease
            chain = list(self._chain(key))
            if chain and not self._is_dead(chain[-1][1]):
                return chain[-1][1]
            if self._succeed(key, chain):
                return None

    def holds(self, key: str) -> bool:
        """Return whether the lease of an artifact was taken here, and not yet given back."""
        return key in self._held

    def give_back(self, key: str) -> None:
        """Give a lease back; fine if it was not taken here."""
        with self._lock:
            held = self._held.get(key)
            if held is None:
                return
        with held.lock:
            try:
                chain = list(self._chain(key))
                if chain and chain[-1][1].token == held.lease.token:  # else it was succeeded
                    for path, _ in chain:
                        self._files.remove(path)
            finally:
                with self._lock:
                    self._held.pop(key, None)

    def _succeed(self, key: str, chain: list[tuple[str, Lease]]) -> bool:
        """Try to become the last of a chain, and return whether that is so."""
        lease = new_lease(key, heartbeat_seconds=self._heartbeat_seconds)
        path = _path(key, chain[-1][1].token if chain else None)
        if not self._create(path, lease):
            return False
        # Whom we succeed may have been given back, or removed, since we looked.
        if chain and [one.token for _, one in self._chain(key)][-1:] != [lease.token]:
            self._files.remove(path)
            return False
        with self._lock:
            self._watched.pop(key, None)
            self._held[key] = _Held(lease, path)
            if self._heart is None:
                self._heart = threading.Thread(target=self._beat, name="leases", daemon=True)
                self._heart.start()
        if chain:
            _logger.warning("%s: taken over from %s, which is dead", key, chain[-1][1].holder)
        return True

    def _create(self, path: str, lease: Lease) -> bool:
        if self._atomic is None:
            self._atomic = self._files.creates_atomically()
        if not self._files.create(path, lease.render()):
            # Ours all the same if the client repeated a put whose answer was lost.
            return self._is_at(path, lease)
        if self._atomic:
            return True
        time.sleep(SETTLE_SECONDS)
        return self._is_at(path, lease)

    def _is_at(self, path: str, lease: Lease) -> bool:
        content = self._files.read(path)
        return content is not None and parse_lease(content, key=lease.key, path=path) == lease

    def _chain(self, key: str) -> Iterator[tuple[str, Lease]]:
        """Yield the leases of an artifact and where they are; all but the last have been succeeded."""
        path = _path(key, None)
        while (content := self._files.read(path)) is not None:
            lease = parse_lease(content, key=key, path=path)
            yield path, lease
            path = _path(key, lease.token)

    def _is_dead(self, lease: Lease) -> bool:
        if lease.is_surely_dead():
            return True
        now = time.monotonic()
        with self._lock:
            token, beat, since = self._watched.get(lease.key, ("", 0, now))
            if (token, beat) != (lease.token, lease.beat):
                self._watched[lease.key] = lease.token, lease.beat, now
                return False
            return now - since > MISSED_BEATS * lease.heartbeat_seconds

    def _beat(self) -> None:
        """Show that this process lives, until it holds nothing."""
        while True:
            time.sleep(self._heartbeat_seconds)
            with self._lock:
                held = list(self._held.values())
                if not held:
                    self._heart = None
                    return
            try:
                names = set(self._files.names(LEASES))
                for one in held:
                    self._beat_once(one, names)
            except StorageError as error:  # it may come back before the leases expire
                _logger.warning("no heartbeat: %s", error)

    def _beat_once(self, held: _Held, names: set[str]) -> None:
        with held.lock:
            if held.lost or self._held.get(held.lease.key) is not held:
                return
            there = held.path.rpartition("/")[2] in names
            if there and _path(held.lease.key, held.lease.token).rpartition("/")[2] not in names:
                held.lease = held.lease.next_beat()
                self._files.write(held.path, held.lease.render())
                return
            held.lost = True
            _logger.warning(
                "%s: another process took it over, for this one did not show that it lives; what both make "
                "is made twice, and stays whole",
                held.lease.key,
            )


def _path(key: str, token: str | None) -> str:
    return f"{LEASES}/{key}.json" if token is None else f"{LEASES}/{key}.{token}.json"
