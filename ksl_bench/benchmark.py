"""A plan carried out: what is missing is made, sources first, as far side by side as the pool reaches.

Resume is a look-up: an artifact with a record is there, one without is not. The pool may lose workers;
what to do with a failed piece of work is decided here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch

from ksl_bench.plan import Plan, Work
from ksl_bench.store import Store
from ksl_bench.training.engine import join_process_group
from ksl_bench.training.loop import Worker
from ksl_bench.worker import Builder, Outcome, classify

STICKY: frozenset[str] = frozenset({"out_of_memory", "diverged", "skipped"})
"""Would end the same way again: made anew only when asked for."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a pool."""

    kind: Literal["started", "progress", "done"]
    key: str
    progress: dict[str, Any] = field(default_factory=dict)
    """Of a piece of work under way: step, total, perhaps loss."""
    outcome: Outcome | None = None
    """Of a piece of work that is done."""


class Pool(Protocol):
    """Workers that keep a base model warm and make one artifact after another."""

    def submit(self, work: Work) -> None:
        """Queue a piece of work whose sources are finished."""
        ...

    def events(self) -> Iterable[Event]:
        """Return what happened since the last call; waits a little when nothing did.

        Raises:
            ClusterError: If no worker is left.
        """
        ...

    def close(self) -> None:
        """Let the workers go."""
        ...


class InProcessPool:
    """One worker, here: for debugging, and for programs that bring no cluster."""

    def __init__(self, plan: Plan, store: Store) -> None:
        """Make a process group of one; nothing is loaded yet."""
        join_process_group()
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._builder = Builder(plan.setting, store, Worker(device=device))
        self._queue: deque[Work] = deque()

    def submit(self, work: Work) -> None:
        """Queue a piece of work."""
        self._queue.append(work)

    def events(self) -> Iterable[Event]:
        """Do the next piece of work."""
        if not self._queue:
            return
        work = self._queue.popleft()
        yield Event("started", work.key)
        try:
            outcome = self._builder.build(work)
        except Exception as error:  # whatever it is, the rest of the plan goes on
            outcome = Outcome(work.key, *classify(error))
        yield Event("done", work.key, outcome=outcome)

    def close(self) -> None:
        """Forget what was queued."""
        self._queue.clear()


@dataclass(slots=True)
class Tally:
    """What became of a plan's artifacts."""

    reused: int = 0
    """Finished before this run."""
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
    """One plan on its way."""

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
        for row in plan.rows:
            self._look_up(row.evaluation_key)
        self._block()

    def _look_up(self, key: str) -> None:
        """Sort an artifact in; of what is not finished, the sources too."""
        if key in self._finished or key in self._open or key in self.tally.failed:
            return
        work = self.plan.works[key]
        record = self.store.record(work.kind, key)
        status = record["status"] if record else None
        if status == "finished":
            self._finished.add(key)
            self.tally.reused += 1
            return
        if record is not None and status in STICKY and not self.retry:
            self.tally.failed[key] = Outcome(key, record["status"], record["reason"])
            return
        for _, need in work.needs:
            self._look_up(need)
        self._open[key] = work

    @property
    def pending(self) -> int:
        """How many artifacts are still to be made."""
        return len(self._open)

    def run(self, pool: Pool, on_event: Callable[[Event], None] = lambda event: None) -> Tally:
        """Make what is missing.

        Args:
            pool: Who makes it.
            on_event: Told of every event, after its outcome is in the store.

        Returns:
            What became of the plan's artifacts.
        """
        submitted: set[str] = set()
        self._submit(pool, submitted)
        while self._open:
            for event in pool.events():
                if event.outcome is not None:
                    self._settle(event.outcome)
                    self._submit(pool, submitted)
                on_event(event)
        return self.tally

    def _submit(self, pool: Pool, submitted: set[str]) -> None:
        """Hand over what has its sources; what many wait for goes first."""
        ready = [
            work
            for key, work in self._open.items()
            if key not in submitted and all(need in self._finished for _, need in work.needs)
        ]
        for work in sorted(ready, key=lambda one: -self._dependants(one.key)):
            submitted.add(work.key)
            pool.submit(work)

    def _dependants(self, key: str) -> int:
        direct = [one for one in self._open.values() if any(need == key for _, need in one.needs)]
        return len(direct) + sum(self._dependants(one.key) for one in direct)

    def _settle(self, outcome: Outcome) -> None:
        work = self._open.pop(outcome.key)
        if outcome.status == "finished":
            self._finished.add(work.key)
            self.tally.made += 1
            return
        self.tally.failed[work.key] = outcome
        self.store.fail(work.kind, work.key, outcome.status, outcome.reason)
        self._block()

    def _block(self) -> None:
        """Take out what can no longer be made, and what waits for it in turn."""
        lost = self.tally.failed.keys() | self.tally.blocked.keys()
        while blocked := {
            key: need for key, work in self._open.items() for _, need in work.needs if need in lost
        }:
            self.tally.blocked.update(blocked)
            lost |= blocked.keys()
            for key in blocked:
                del self._open[key]
