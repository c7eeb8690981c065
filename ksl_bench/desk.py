"""The desk: hands out work to groups of workers, and collects what they say.

Plain bookkeeping; `cluster/pool.py` runs it as a Ray actor, one a pool. Nothing is remembered here beyond the
queue: what is finished is in the store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ksl_bench.pack import Pack, take_together
from ksl_bench.plan import Setting, Work
from ksl_bench.pool import Event
from ksl_bench.worker.outcome import Outcome

Member = Any
"""One of a group's workers, as whoever runs the desk knows it."""

ATTEMPTS = 3
"""How often a piece of work is handed out before a loss of its worker counts against it."""


@dataclass(frozen=True, slots=True)
class Again:
    """A piece of work that was handed out before: its worker may have been lost after it wrote the record."""

    work: Work


class Desk:
    """A queue of work, what each group holds of it, and what happened since someone looked."""

    def __init__(self, environment: Mapping[str, str], setting: Setting | None = None) -> None:
        """Open the desk.

        Args:
            environment: Variables that the workers are to have.
            setting: Says what may be packed; nothing is where none is given.
        """
        self._environment = dict(environment)
        self._setting = setting
        self._queue: deque[Work] = deque()
        self._held: dict[int, dict[str, Work]] = {}
        self._packs: set[int] = set()
        self._alone: set[str] = set()
        self._members: dict[int, list[Member]] = {}
        self._attempts: dict[str, int] = {}
        self._events: list[Event] = []
        self._closed = False
        self._blind: str | None = None

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
        """Note that a group has (re)started, by its first worker: what it held before was lost with it."""
        self._members[group] = [member]
        self._take_back(group)

    def join(self, group: int, member: Member) -> None:
        """Note another worker of a group that has arrived."""
        self._members.setdefault(group, []).append(member)

    def cannot_see(self, node: str) -> None:
        """Note that a worker does not see the storage, and on which node."""
        self._blind = node

    def blind(self) -> str | None:
        """Return a node that does not see the storage, if one was noticed."""
        return self._blind

    def members(self) -> dict[int, list[Member]]:
        """Return the workers of every group that has arrived, the first of them first."""
        return {group: list(members) for group, members in self._members.items()}

    def lost(self, group: int, member: Member, out_of_memory: str | None = None) -> None:
        """Note that a worker is gone, and perhaps never comes back: others take its group's work.

        Args:
            group: Whose worker.
            member: Which one: it may have been replaced meanwhile.
            out_of_memory: Why, where it was killed because the node's memory was full. What it was at alone
                would fill it again, so that has ended; the works of a pack are tried one by one.
        """
        if member not in self._members.get(group, ()):
            return
        del self._members[group]
        if out_of_memory is not None and group not in self._packs:
            for work in self._held.pop(group, {}).values():
                outcome = Outcome(work.key, "out_of_memory", out_of_memory)
                self._events.append(Event("done", work.key, outcome=outcome))
        self._take_back(group)

    def _take_back(self, group: int) -> None:
        """Queue again what a group held, first of all; each goes out alone from now on."""
        for work in reversed(self._held.pop(group, {}).values()):
            self._alone.add(work.key)
            if group in self._packs:
                self._attempts[work.key] -= 1  # the pack's loss says nothing of this work
            if self._attempts[work.key] < ATTEMPTS:
                self._queue.appendleft(work)
                continue
            reason = f"its worker was lost {ATTEMPTS} times"
            outcome = Outcome(work.key, "failed", reason)
            self._events.append(Event("done", work.key, outcome=outcome))
        self._packs.discard(group)

    def next(self, group: int) -> Work | Again | Pack | str:
        """Return work for a group, or "wait", or "leave"."""
        if self._closed:
            return "leave"
        if not self._queue:
            return "wait"
        idle = sum(not self._held.get(one) for one in self._members)
        works = take_together(self._queue, self._setting, self._alone, groups=idle)
        self._held[group] = {work.key: work for work in works}
        for work in works:
            self._attempts[work.key] = self._attempts.get(work.key, 0) + 1
            self._events.append(Event("started", work.key))
        if len(works) == 1:
            return Again(works[0]) if works[0].key in self._alone else works[0]
        self._packs.add(group)
        return Pack(works)

    def done(self, group: int, outcome: Outcome) -> None:
        """Take a group's word for how its work ended; the first of several ranks counts."""
        held = self._held.get(group, {})
        if held.pop(outcome.key, None) is not None:
            del self._attempts[outcome.key]  # handed out again, it is another attempt
            self._events.append(Event("done", outcome.key, outcome=outcome))
        if not held:
            self._packs.discard(group)

    def broke(self, group: int) -> None:
        """Note that a pack failed as a whole: its works are handed out again, one by one."""
        if group in self._packs:
            self._take_back(group)

    def progress(self, key: str, progress: dict[str, Any]) -> None:
        """Pass on how far a piece of work is."""
        self._events.append(Event("progress", key, progress=progress))

    def events(self) -> list[Event]:
        """Return what happened since the last call."""
        events, self._events = self._events, []
        return events
