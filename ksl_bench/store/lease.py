"""What one lease says: who works on an artifact, and whether that process still lives."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import time
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ksl_bench.store.records import SCHEMA, parse_object, render_object

HEARTBEAT_SECONDS = 10.0
"""How often a holder shows that it lives."""

_TOKEN = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One process at work on one artifact."""

    key: str
    """Of the artifact."""
    token: str
    """Of this lease alone: 32 hex digits."""
    host: str
    pid: int
    machine: str | None
    """Tells whether a process id means the same process here; None where that cannot be told."""
    since: str
    """UTC by the holder's clock: for people, never compared."""
    beat: int
    """Raised with every heartbeat."""
    heartbeat_seconds: float

    @property
    def holder(self) -> str:
        """Return who holds it, for people."""
        return f"{self.host}, pid {self.pid}"

    def next_beat(self) -> Lease:
        """Return the lease as its next heartbeat writes it."""
        return replace(self, beat=self.beat + 1)

    def is_surely_dead(self) -> bool:
        """Return whether the holder ran on this machine and runs no more."""
        return self.machine is not None and self.machine == _machine() and not _runs(self.pid)

    def render(self) -> bytes:
        """Return it as a file."""
        return render_object({"schema": SCHEMA, **asdict(self)})


def new_lease(key: str, *, heartbeat_seconds: float) -> Lease:
    """Return a lease of this process."""
    return Lease(
        key=key,
        token=uuid.uuid4().hex,
        host=platform.node() or "unknown host",
        pid=os.getpid(),
        machine=_machine(),
        since=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        beat=0,
        heartbeat_seconds=heartbeat_seconds,
    )


def parse_lease(content: bytes, *, key: str, path: str) -> Lease:
    """Return the lease in a file; one that cannot be read is somebody's who is unknown.

    It then has the token that its path gives it, so that it, too, can expire and be succeeded.
    """
    found = parse_object(content) or {}
    try:
        token, seconds = str(found["token"]), float(found["heartbeat_seconds"])
        if found["key"] != key or not _TOKEN.fullmatch(token) or not 0 < seconds < 3600:
            raise ValueError(path)
        return Lease(
            key=key,
            token=token,
            host=str(found["host"]),
            pid=int(found["pid"]),
            machine=found["machine"],
            since=str(found["since"]),
            beat=int(found["beat"]),
            heartbeat_seconds=seconds,
        )
    except (KeyError, TypeError, ValueError):
        return Lease(
            key=key,
            token=hashlib.sha256(path.encode()).hexdigest()[:32],
            host="an unreadable lease",
            pid=0,
            machine=None,
            since="an unknown time",
            beat=0,
            heartbeat_seconds=HEARTBEAT_SECONDS,
        )


def _machine() -> str | None:
    """Name this boot of this machine and the process ids that are valid here; Linux only.

    Host names will not do: containers share them, and number their processes each for itself.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _runs(pid: int) -> bool:
    """Return whether a process runs; one that its parent has yet to bury does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[:1] not in (["Z"], ["X"])
