"""Losses: of a worker, of the room for any, of the whole cluster."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import ray

from ksl_bench.cluster.capacity import shortage_now
from ksl_bench.config import ResourcesSpec
from ksl_bench.errors import ClusterError
from ksl_bench.worker.outcome import classify

SIGN_SECONDS = 2.0
"""How often a group's workers are asked for a sign of life."""

STARVED_SECONDS = 300.0
"""How long a cluster may be too small for a single group before a run ends: lost nodes may come back."""


class Watch:
    """Notices that a worker of a group is gone, and that none can come back.

    Ray Train starts a lost group anew, but where its node went too that may take for ever: what it was
    at must not wait for it.
    """

    def __init__(self, desk: Any, resources: ResourcesSpec) -> None:
        """Take the desk, which knows the groups' workers, and what one group takes."""
        self._desk, self._resources = desk, resources
        self._asked: list[tuple[int, Any, Any]] = []
        self._next = 0.0
        self._enough = time.monotonic()

    def look(self) -> bool:
        """Ask every group's workers for a sign of life, from time to time, and tell the desk of the dead.

        Returns:
            Whether it was time to.
        """
        if time.monotonic() < self._next:
            return False
        for group, member, out_of_memory in self._dead():
            ray.get(self._desk.lost.remote(group, member, out_of_memory))
        self._asked = [
            (group, one, one.__ray_ready__.remote())
            for group, members in ray.get(self._desk.members.remote()).items()
            for one in members
        ]
        self._look_for_room()
        self._next = time.monotonic() + SIGN_SECONDS
        return True

    def _dead(self) -> list[tuple[int, Any, str | None]]:
        """Return the workers that are gone, with their groups; those killed for memory first, and why.

        With any worker that is gone Ray Train ends the others of its group, which were killed for nothing.
        """
        killed, gone = [], []
        for group, member, answer in self._asked:
            if not ray.wait([answer], timeout=0)[0]:
                continue
            try:
                ray.get(answer)
            except ray.exceptions.OutOfMemoryError as error:  # by Ray's memory monitor
                killed.append((group, member, classify(error)[1]))
            except ray.exceptions.RayActorError:
                gone.append((group, member, None))
        return [*killed, *gone]

    def _look_for_room(self) -> None:
        """Raise a ClusterError where the cluster has long been too small for a single group."""
        short = shortage_now(self._resources)
        if short is None:
            self._enough = time.monotonic()
        elif time.monotonic() - self._enough > STARVED_SECONDS:
            raise ClusterError(f"{short}, for {STARVED_SECONDS:.0f} seconds: nodes were lost")


@contextlib.contextmanager
def cluster_there() -> Iterator[None]:
    """Turn the loss of the cluster's head into an error that says so."""
    try:
        yield
    except (ray.exceptions.RayError, ConnectionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ClusterError(f"the cluster is lost: {reason}") from None
