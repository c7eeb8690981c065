"""Room for groups on a cluster, which may grow: what its autoscaler is asked for, and what it says."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import ray
from ray.autoscaler.sdk import request_resources

from ksl_bench.cluster.capacity import (
    declared_limit,
    groups_that_fit,
    needs,
    shortage_now,
    worker_needs,
)
from ksl_bench.config import ResourcesSpec
from ksl_bench.errors import ClusterError

LOOK_SECONDS = 2.0
"""How often it is looked whether a cluster has grown."""

GROWS = "; --wait SECONDS lets one grow that can"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an autoscaler says of what it was asked for."""

    version: int
    """Of the cluster's state that it has seen."""
    possible: bool


class Autoscaler:
    """The connected cluster's autoscaler, version 2; others bring what they can and say nothing."""

    def __init__(self) -> None:
        """Find out whether it answers."""
        from ray.autoscaler.v2.utils import is_autoscaler_v2

        self.answers = bool(is_autoscaler_v2())

    def ask(self, bundles: list[dict[str, float]]) -> int:
        """Ask for room for so many workers, beside nothing else; return the state's version by then.

        A request stands until the next one of anyone in the cluster.
        """
        request_resources(bundles=bundles)
        return self._status()[0]

    def answer(self) -> Answer:
        """Return what it said last."""
        _, seen, refused = self._status()
        return Answer(seen, not refused)

    def _status(self) -> tuple[int, int, bool]:
        """Return the state's version, the version that it has seen, and whether it cannot be met."""
        if not self.answers:
            return 0, -1, False
        from ray._raylet import GcsClient  # type: ignore[attr-defined]
        from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply

        status = GetClusterStatusReply()
        address = ray.get_runtime_context().gcs_address
        status.ParseFromString(GcsClient(address).get_cluster_status(timeout_s=10))
        said = status.autoscaling_state
        return (
            status.cluster_resource_state.cluster_resource_state_version,
            said.last_seen_cluster_resource_state_version,
            bool(said.infeasible_cluster_resource_constraints),
        )


class Room:
    """Room for groups on the connected cluster, now and later.

    Where it may grow, the autoscaler is asked for one group first, so that what can never be is refused
    within seconds; then for as many as can be used. It takes a request whole or not at all, so what is
    too much is halved until it fits.
    """

    def __init__(
        self,
        resources: ResourcesSpec,
        *,
        wanted: int,
        wait: float = 0.0,
        autoscaler: Autoscaler | None = None,
    ) -> None:
        """Take what is wanted; nothing is asked yet.

        Args:
            resources: What one group takes.
            wanted: More groups than so many would have nothing to do.
            wait: Seconds that the cluster may take to grow to the first group; 0 asks for nothing.
            autoscaler: Of the connected cluster, where it is not to be found.
        """
        self._resources, self._wait = resources, wait
        self.most = min(wanted, resources.max_groups or wanted)
        self._autoscaler = (autoscaler or Autoscaler()) if wait else None
        self._possible, self._impossible = 0, self.most + 1
        self._asked = 0
        self._version: int | None = None

    def __enter__(self) -> Room:
        return self

    def __exit__(self, *_: object) -> None:
        self.withdraw()

    def first(self) -> int:
        """Return how many groups to start with, waiting for the first if need be.

        Raises:
            ClusterError: If not even one fits, now or after the autoscaler has done what it may.
        """
        until = time.monotonic() + self._wait
        while not (fits := self.groups()):
            short = shortage_now(self._resources)
            if short is None:  # the cluster says that it grows so far, once work waits for it
                return max(1, min(self._declared(), self.most))
            if self._impossible == 1:
                raise ClusterError(f"{short}, and its autoscaler can bring no more")
            if time.monotonic() >= until:
                after = f", after {self._wait:.0f} seconds" if self._wait else GROWS
                raise ClusterError(f"{short}{after}")
            time.sleep(LOOK_SECONDS)
        return fits

    def groups(self) -> int:
        """Return how many groups may run by now, and ask for more where there may be more."""
        fits = min(groups_that_fit(self._resources), self.most)
        if self._autoscaler is not None and fits < self.most:
            with _no_answer_yet():
                self._ask(self._autoscaler, fits)
        return fits

    def _ask(self, autoscaler: Autoscaler, fits: int) -> None:
        """Take in what the autoscaler said, and ask for the next number of groups."""
        self._possible = max(self._possible, fits)
        if not autoscaler.answers:
            following = self.most
        elif self._version is None:  # nothing was asked, or it is not known to have been heard
            following = self._asked or min(self._possible + 1, self._impossible - 1)
        else:
            answer = autoscaler.answer()
            if answer.version < self._version:
                return
            if answer.possible:
                self._possible = max(self._possible, self._asked)
            else:
                self._impossible = min(self._impossible, self._asked)
            # All at once first; then halfway between what it can bring and what it cannot.
            top = self._impossible - 1
            following = top if top == self.most else (self._possible + self._impossible) // 2
        if following > fits and (following != self._asked or self._version is None):
            self._asked, self._version = following, None
            self._version = autoscaler.ask(
                [worker_needs(self._resources)] * (following * self._resources.workers_per_run)
            )

    def _declared(self) -> int:
        limit = declared_limit()
        return min(
            int(limit.get(name, 0.0) // amount)
            for name, amount in needs(self._resources).items()
            if amount
        )

    def withdraw(self) -> None:
        """Let the cluster shrink again; one that is gone has forgotten what it was asked for."""
        if self._autoscaler is not None and self._asked:
            with _no_answer_yet():
                self._autoscaler.ask([])
            self._asked, self._version = 0, None


@contextlib.contextmanager
def _no_answer_yet() -> Iterator[None]:
    """Wait no longer for an autoscaler that is slow: whether the cluster is lost shows elsewhere."""
    with contextlib.suppress(ray.exceptions.RayError, ConnectionError):
        yield
