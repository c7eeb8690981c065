"""Who makes artifacts, as whoever wants them sees it: work goes in, events come out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ksl_bench.plan import Work
from ksl_bench.worker.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a pool."""

    kind: Literal["started", "progress", "done", "returned", "reopened"]
    """Returned: cannot be made yet, for a source was found broken when it was read. Reopened: such a source,
    which is to be made again."""
    key: str
    progress: dict[str, Any] = field(default_factory=dict)
    """Of a piece of work under way: step, total, perhaps loss."""
    outcome: Outcome | None = None
    """Of a piece of work that is done."""


class Pool(Protocol):
    """Workers that keep a base model warm and make one artifact after another."""

    def has_workers(self) -> bool:
        """Return whether any worker has come up yet.

        Until then nothing is handed over: its lease would keep the artifact from another driver, whose
        workers may be what there is no room beside.
        """
        ...

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
