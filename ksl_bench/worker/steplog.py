"""The steps of a run as lines of metrics.jsonl."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict

from torch import Tensor

from ksl_bench.store import Store
from ksl_bench.training.loop import Checkpoint, Checkpoints, StepMetrics, Worker
from ksl_bench.worker.outcome import Report, Throttle


class StepLog:
    """Writes metrics.jsonl, and goes on with it after a resume as if nothing had happened."""

    FLUSH_SECONDS = 2.0

    def __init__(
        self, store: Store, key: str, total_steps: int, resumed_at: int, report: Report
    ) -> None:
        """Take up the lines of the steps before a resume."""
        self._store, self._key, self._total = store, key, total_steps
        self._report = Throttle(report)
        kept = [json.loads(line) for line in store.read_lines("state", key, "metrics.jsonl")]
        self._lines = [line for line in kept if line["step"] <= resumed_at]
        self._written = 0
        self._flushed = time.monotonic()

    def __call__(self, metrics: StepMetrics) -> None:
        """Take in one step."""
        self._lines.append(asdict(metrics))
        self._report({"step": metrics.step, "total": self._total, "loss": metrics.loss})
        if time.monotonic() - self._flushed >= self.FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is new; the first time, also what stood there before, up to the resume."""
        new = [json.dumps(line) for line in self._lines[self._written :]]
        if self._written == 0:
            self._store.write_lines("state", self._key, "metrics.jsonl", new)
        elif new:
            self._store.append_lines("state", self._key, "metrics.jsonl", new)
        self._written = len(self._lines)
        self._flushed = time.monotonic()

    @property
    def first_loss(self) -> float | None:
        """The loss of the first step, before any resume."""
        return self._lines[0]["loss"] if self._lines else None

    @property
    def seconds(self) -> float:
        """Wall time of all steps, those before a resume with them."""
        return float(sum(line["seconds"] for line in self._lines))

    @property
    def tokens(self) -> int:
        """Input tokens of all steps."""
        return int(sum(line["tokens"] for line in self._lines))


def followed(
    checkpoints: Checkpoints, log: StepLog, worker: Worker
) -> tuple[Checkpoints, Callable[[StepMetrics], None]]:
    """Return what a rank trains with: the leader keeps the log, and writes it before each checkpoint."""
    if worker.leads:
        return _Logged(checkpoints, log), log
    return checkpoints, lambda metrics: None


class _Logged:
    """Checkpoints before which a log is written: a run that goes on from one has all lines up to there."""

    def __init__(self, checkpoints: Checkpoints, log: StepLog) -> None:
        self._checkpoints, self._log = checkpoints, log

    def latest(self) -> Checkpoint | None:
        return self._checkpoints.latest()

    def save(self, step: int, state: dict[str, Tensor], shard: bytes) -> None:
        self._log.flush()
        self._checkpoints.save(step, state, shard)
