"""What a run shows in the terminal while it goes: one line a piece of work, one bar for all."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from ksl_bench.plan import Plan
from ksl_bench.pool import Event

PLAIN_SECONDS = 10.0
"""How often a log file (no terminal) gets a line on how far things are."""


class RunDisplay:
    """Follows the events of a run, on a terminal as bars, elsewhere as lines."""

    def __init__(self, plan: Plan, console: Console, *, pending: int) -> None:
        """Prepare; nothing is shown before the context is entered."""
        self._plan, self._console = plan, console
        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._all = self._progress.add_task("artifacts", total=pending, note="starting Ray")
        self._done, self._pending = 0, pending
        self._spoke = time.monotonic()

    def __enter__(self) -> RunDisplay:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def _name(self, key: str) -> str:
        work = self._plan.works[key]
        verb = {"state": "train", "ticket": "select", "evaluation": "evaluate"}[work.kind]
        condition = f"{work.condition}, " if self._plan.suite.conditions else ""
        return f"{verb} {work.baseline.name} ({condition}seed {work.seed})"

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if event.kind == "started":
            self._progress.update(self._all, note="")
            # A piece of work handed out again, after its worker was lost, starts anew.
            self._forget(event.key)
            self._tasks[event.key] = self._progress.add_task(
                "  " + self._name(event.key), total=None, note=""
            )
        elif event.kind == "progress" and event.key in self._tasks:
            loss = event.progress.get("loss")
            self._progress.update(
                self._tasks[event.key],
                completed=event.progress["step"],
                total=event.progress["total"],
                note="" if loss is None else f"loss {loss:.3f}",
            )
        elif event.kind == "returned":
            self._forget(event.key)
        elif event.kind == "reopened":
            self._reopen(event.key)
        elif event.outcome is not None:
            self._finish(event)

    def _forget(self, key: str) -> None:
        task = self._tasks.pop(key, None)
        if task is not None:
            self._progress.remove_task(task)

    def _reopen(self, key: str) -> None:
        """Show that an artifact is to be made again, and wait for one more."""
        self._pending += 1
        self._progress.update(self._all, total=self._pending)
        self._console.print(
            f"{self._name(key)}: was broken and set aside, is made again", markup=False
        )

    def _finish(self, event: Event) -> None:
        assert event.outcome is not None
        self._forget(event.key)
        self._done += 1
        self._progress.advance(self._all)
        outcome = event.outcome
        if outcome.status != "finished":
            self._console.print(
                f"{self._name(event.key)}: {outcome.status}: {outcome.reason}",
                style="red",
                markup=False,
            )
        elif not self._console.is_terminal and time.monotonic() - self._spoke > PLAIN_SECONDS:
            self._spoke = time.monotonic()
            self._console.print(f"{self._done} of {self._pending} artifacts made", markup=False)
