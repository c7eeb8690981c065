"""The desk: hands out work to groups of workers, and collects what they say.

Plain bookkeeping; `cluster.py` runs it as a Ray actor, one a pool. Nothing is remembered here beyond the
queue: what is finished is in the store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from ksl_bench.benchmark import Event
from ksl_bench.plan import Work
from ksl_bench.worker import Outcome

Member = Any
"""A group's first worker, as whoever runs the desk knows it."""

ATTEMPTS = 3
"""How often a piece of work is handed out before a loss of its worker counts against it."""


class Desk:
    """A queue of work, what each group holds of it, and what happened since someone looked."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Open the desk.

        Args:
            environment: Variables that the workers are to have.
        """
        self._environment = dict(environment)
        self._queue: deque[Work] = deque()
        self._held: dict[int, Work] = {}
        self._members: dict[int, Member] = {}
        self._attempts: dict[str, int] = {}
        self._events: list[Event] = []
        self._closed = False

    def environment(self) -> dict[str, str]:
        """Return the variables that a worker is to have."""
        return self._environment

    def submit(self, work: Work) -> None:
        """Queue a piece of work."""
        self._queue.append(work)

    def close(self) -> None:
        """Send groups home when they ask next."""
        self._closed = True

    def arrive(self, group: int, member: Member = None) -> None:
        """Note that a group has (re)started: what it held before was lost with it."""
        self._members[group] = member
        self._take_back(group)

    def members(self) -> dict[int, Member]:
        """Return the first worker of every group that has arrived."""
        return dict(self._members)

    def lost(self, group: int, member: Member) -> None:
        """Note that a group's worker is gone, and perhaps never comes back: others take its work."""
        if self._members.get(group) == member:
            del self._members[group]
            self._take_back(group)

    def _take_back(self, group: int) -> None:
        work = self._held.pop(group, None)
        if work is None:
            return
        if self._attempts[work.key] < ATTEMPTS:
            self._queue.appendleft(work)
        else:
            reason = f"its worker was lost {ATTEMPTS} times"
            self._events.append(
                Event("done", work.key, outcome=Outcome(work.key, "failed", reason))
            )

    def next(self, group: int) -> Work | str:
        """Return work for a group, or "wait", or "leave"."""
        if self._closed:
            return "leave"
        if not self._queue:
            return "wait"
        work = self._queue.popleft()
        self._held[group] = work
        self._attempts[work.key] = self._attempts.get(work.key, 0) + 1
        self._events.append(Event("started", work.key))
        return work

    def done(self, group: int, outcome: Outcome) -> None:
        """Take a group's word for how its work ended; the first of several ranks counts."""
        work = self._held.get(group)
        if work is not None and work.key == outcome.key:
            del self._held[group]
            self._events.append(Event("done", outcome.key, outcome=outcome))

    def progress(self, key: str, progress: dict[str, Any]) -> None:
        """Pass on how far a piece of work is."""
        self._events.append(Event("progress", key, progress=progress))

    def events(self) -> list[Event]:
        """Return what happened since the last call."""
        events, self._events = self._events, []
        return events
