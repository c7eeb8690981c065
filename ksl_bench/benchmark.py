"""A plan carried out: what is missing is made, sources first, as far side by side as the pool reaches.

Resume is a look-up: an artifact with a record is there, one without is not. The pool may lose workers;
what to do with a failed piece of work is decided here. Several drivers may share a store: whoever holds the
lease of an artifact makes it, the others look it up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ksl_bench.plan import Plan, Work
from ksl_bench.pool import Event, Pool
from ksl_bench.ready import Ready
from ksl_bench.store import Store
from ksl_bench.store.waiting import Elsewhere
from ksl_bench.worker.outcome import Outcome

STICKY: frozenset[str] = frozenset({"out_of_memory", "diverged", "skipped"})
"""Would end the same way again: made anew only when asked for."""

AHEAD = 16
"""Works that a pool has and has not started: enough to keep it busy, few enough to leave another driver its
share."""

IDLE_SECONDS = 0.1
"""How long to wait where everything left is another driver's."""


@dataclass(slots=True)
class Tally:
    """What became of a plan's artifacts."""

    reused: int = 0
    """Found finished, before this run or made by another driver meanwhile."""
    made: int = 0
    failed: dict[str, Outcome] = field(default_factory=dict)
    """By key: ended otherwise than finished, now or before."""
    blocked: dict[str, str] = field(default_factory=dict)
    """By key: the source without which it could not be made."""

    @property
    def complete(self) -> bool:
        """Whether every artifact of the plan is finished."""
        return not self.failed and not self.blocked


class Execution:
    """One plan on its way, perhaps beside others over the same store."""

    def __init__(self, plan: Plan, store: Store, *, retry: bool = False) -> None:
        """Look up what is there.

        Args:
            plan: What is wanted.
            store: Where it is, or will be.
            retry: Make anew also what ran out of memory, diverged or was skipped.
        """
        self.plan, self.store, self.retry = plan, store, retry
        self.tally = Tally()
        self._finished: set[str] = set()
        self._open: dict[str, Work] = {}
        self._before: dict[str, Mapping[str, Any]] = {}
        self._handed_over: dict[str, bool] = {}
        self._sent_back: set[tuple[str, str]] = set()
        evaluations = dict.fromkeys(row.evaluation_key for row in plan.rows)
        records = store.files.side_by_side(partial(store.record, "evaluation"), evaluations)
        for key, record in zip(evaluations, records, strict=True):
            self._sort_in(plan.works[key], record)
        self._block()
        self._queue = Ready(self._open, self._finished)
        self._elsewhere = Elsewhere(store.leases)

    def _look_up(self, key: str) -> None:
        """Read the record of an artifact, unless that was done, and sort it in."""
        if not self._is_sorted_in(key):
            work = self.plan.works[key]
            self._sort_in(work, self.store.record(work.kind, key))

    def _is_sorted_in(self, key: str) -> bool:
        return key in self._finished or key in self._open or key in self.tally.failed

    def _sort_in(self, work: Work, record: Mapping[str, Any] | None) -> None:
        """Sort an artifact in by its record; of what is not finished, the sources too."""
        key = work.key
        if self._is_sorted_in(key):  # as a source of another one
            return
        status = record["status"] if record else None
        if status == "finished":
            self._finished.add(key)
            self.tally.reused += 1
            return
        if record is not None and status in STICKY and not self.retry:
            self.tally.failed[key] = Outcome(key, record["status"], record["reason"])
            return
        if record is not None:
            self._before[key] = record
        for _, need in work.needs:
            self._look_up(need)
        self._open[key] = work

    @property
    def pending(self) -> Collection[str]:
        """The keys of all artifacts that are still to be made."""
        return self._open.keys()

    def run(self, pool: Pool, on_event: Callable[[Event], None] = lambda event: None) -> Tally:
        """Make what is missing.

        What another driver works on is left to it, and looked up when it is done.

        Args:
            pool: Who makes it.
            on_event: Told of every event, after its outcome is in the store.

        Returns:
            What became of the plan's artifacts.
        """
        try:
            while self._open:
                if has_workers := pool.has_workers():
                    self._hand_over(pool, on_event)
                if self._handed_over or not has_workers:
                    for event in pool.events():
                        for told in self._take_in(event):
                            on_event(told)
                elif self._open:
                    time.sleep(IDLE_SECONDS)
        finally:
            for key in self._handed_over:
                self.store.leases.give_back(key)
        return self.tally

    def _hand_over(self, pool: Pool, on_event: Callable[[Event], None]) -> None:
        """Give the pool what has its sources and is nobody else's."""
        for key in self._elsewhere.due():
            self._offer(key, pool, on_event)
        ahead = max(AHEAD, self.plan.setting.pack)
        while list(self._handed_over.values()).count(False) < ahead:
            ready = self._queue.pop()
            if ready is None:
                break
            self._offer(ready, pool, on_event)
        self._elsewhere.tell()

    def _offer(self, key: str, pool: Pool, on_event: Callable[[Event], None]) -> None:
        # Meanwhile blocked, offered, or without a source again: then it comes back with that.
        if key not in self._open or key in self._handed_over or not self._queue.is_ready(key):
            self._elsewhere.forget(key)
            return
        if self._elsewhere.keeps(key):
            return
        work = self._open[key]
        self._handed_over[key] = False
        outcome = self._made_meanwhile(work)
        if outcome is None:
            pool.submit(work)
            return
        self.tally.reused += outcome.status == "finished"
        self._settle(outcome)
        on_event(Event("done", key, outcome=outcome))

    def _made_meanwhile(self, work: Work) -> Outcome | None:
        """Return how another driver's work on an artifact ended since it was looked up here."""
        record = self.store.record(work.kind, work.key)
        if record is None or record == self._before.get(work.key):
            return None
        return Outcome(work.key, record["status"], record["reason"])

    def _take_in(self, event: Event) -> list[Event]:
        """Note what an event says of work that was handed over; return what is to be told."""
        if event.key not in self._handed_over:
            return [event]
        if event.outcome is None:
            self._handed_over[event.key] = True
            return [event]
        work, outcome = self._open[event.key], event.outcome
        if outcome.status != "finished" and self.store.is_finished(work.kind, work.key):
            # Its worker was lost after it wrote the record, or another driver was faster.
            outcome = Outcome(work.key, "finished")
            event = replace(event, outcome=outcome)
        if outcome.status == "finished":
            self.tally.made += 1
        else:
            if outcome.status == "failed" and (gone := self._gone_sources(work)):
                return self._send_back(work, gone)
            self.store.fail(work.kind, work.key, outcome.status, outcome.reason)
        self._settle(outcome)
        return [event]

    def _gone_sources(self, work: Work) -> list[str]:
        """Return the sources that are there no more since a piece of work read them, each only once."""
        return [
            need
            for kind, need in work.needs
            if (work.key, need) not in self._sent_back and not self.store.is_finished(kind, need)
        ]

    def _send_back(self, work: Work, gone: Iterable[str]) -> list[Event]:
        """Let a piece of work wait until its sources are made again; return what is to be told."""
        del self._handed_over[work.key]
        self.store.leases.give_back(work.key)
        before = set(self._open)
        # All of them first: one may be the source of another.
        self._finished.difference_update(gone)
        for need in gone:
            self._sent_back.add((work.key, need))
            self._look_up(need)
        self._block()
        reopened = {key: one for key, one in self._open.items() if key not in before}
        self._queue.add({work.key: work, **reopened})
        return [Event("returned", work.key), *(Event("reopened", key) for key in reopened)]

    def _settle(self, outcome: Outcome) -> None:
        """Take an artifact off the list, whoever made it, and let go of it."""
        key = outcome.key
        del self._open[key]
        del self._handed_over[key]
        if outcome.status == "finished":
            self._finished.add(key)
            self._queue.finished(key)
        else:
            self.tally.failed[key] = outcome
            self._block()
        self.store.leases.give_back(key)

    def _block(self) -> None:
        """Take out what can no longer be made, and what waits for it in turn; what is being made goes on."""
        lost = self.tally.failed.keys() | self.tally.blocked.keys()
        while blocked := {
            key: need
            for key, work in self._open.items()
            for _, need in work.needs
            if need in lost and key not in self._handed_over
        }:
            self.tally.blocked.update(blocked)
            lost |= blocked.keys()
            for key in blocked:
                del self._open[key]
