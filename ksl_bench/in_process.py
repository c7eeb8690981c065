"""A pool without a cluster: one worker, in this process."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable

import torch

from ksl_bench.pack import Pack, take_together
from ksl_bench.plan import Plan, Work
from ksl_bench.pool import Event
from ksl_bench.store import Store
from ksl_bench.training.engine import join_process_group
from ksl_bench.training.loop import Worker
from ksl_bench.worker.builder import Builder
from ksl_bench.worker.outcome import Outcome, classify


class InProcessPool:
    """One worker, here: for debugging, and for programs that bring no cluster."""

    def __init__(self, plan: Plan, store: Store) -> None:
        """Make a process group of one; nothing is loaded yet."""
        join_process_group()
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._setting = plan.setting
        self._builder = Builder(plan.setting, store, Worker(device=device))
        self._queue: deque[Work] = deque()
        self._alone: set[str] = set()

    def has_workers(self) -> bool:
        """Return True: it is this process."""
        return True

    def submit(self, work: Work) -> None:
        """Queue a piece of work."""
        self._queue.append(work)

    def events(self) -> Iterable[Event]:
        """Do the next piece of work, or the next pack."""
        if not self._queue:
            return
        works = take_together(self._queue, self._setting, self._alone)
        for work in works:
            yield Event("started", work.key)
        for outcome in self._build_one(works[0]) if len(works) == 1 else self._build_pack(works):
            yield Event("done", outcome.key, outcome=outcome)

    def _build_one(self, work: Work) -> list[Outcome]:
        try:
            return [self._builder.build(work)]
        except Exception as error:  # whatever it is, the rest of the plan goes on
            return [Outcome(work.key, *classify(error))]

    def _build_pack(self, works: tuple[Work, ...]) -> list[Outcome]:
        """Build a pack; what a broken one has left over is queued again, to be done one by one."""
        ended: list[Outcome] = []
        try:
            self._builder.build_pack(Pack(works), tell=ended.append)
        except Exception as error:
            logging.getLogger(__name__).warning("a pack of %d failed: %s", len(works), error)
            done = {one.key for one in ended}
            rest = [work for work in works if work.key not in done]
            self._alone.update(work.key for work in rest)
            self._queue.extendleft(reversed(rest))
        return ended

    def close(self) -> None:
        """Forget what was queued."""
        self._queue.clear()
