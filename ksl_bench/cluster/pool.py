"""Warm worker groups, as many as the cluster holds."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import ray
import ray.train
import ray.train.torch

from ksl_bench.cluster.connection import beside_the_driver, passed_on
from ksl_bench.cluster.group import Order, serve
from ksl_bench.cluster.growth import Room
from ksl_bench.cluster.rendezvous import Rendezvous
from ksl_bench.cluster.shared import Probe, not_shared
from ksl_bench.cluster.watch import Watch, cluster_there
from ksl_bench.config import Suite
from ksl_bench.desk import Desk
from ksl_bench.errors import ClusterError
from ksl_bench.plan import Plan, Setting, Work
from ksl_bench.pool import Event
from ksl_bench.store import Store
from ksl_bench.training.loop import Worker
from ksl_bench.worker.builder import Builder


class RayPool:
    """As many warm worker groups as the cluster holds and the plan can use."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        *,
        groups: int,
        room: Room | None = None,
        make_builder: Callable[[Setting, Store, Worker], Any] = Builder,
    ) -> None:
        """Start the groups; they come up while the caller goes on.

        Args:
            plan: What they will work on.
            store: Where artifacts live.
            groups: How many to begin with.
            room: Says how many there may be once nodes have joined; None for no more.
            make_builder: Called by every worker: what makes the artifacts.
        """
        self._desk: Any = beside_the_driver(Desk).remote(passed_on(secret=True), plan.setting)
        self._errors: list[BaseException] = []
        self._watch = Watch(self._desk, plan.suite.resources)
        self._plan, self._store, self._room = plan, store, room
        self._make_builder, self._probe = make_builder, Probe(store)
        self._threads: list[threading.Thread] = []
        self._came_up = False
        self._grow(groups)

    def _grow(self, groups: int) -> None:
        """Start groups until there are so many."""
        for group in range(len(self._threads), groups):
            thread = threading.Thread(
                target=self._fit, args=(group,), name=f"group-{group}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _fit(self, group: int) -> None:
        order = Order(
            desk=self._desk,
            group=group,
            setting=self._plan.setting,
            storage=self._store.root,
            probe=self._probe.path,
            make_builder=self._make_builder,
        )
        try:
            _trainer(self._plan.suite, self._store, order).fit()
        except BaseException as error:
            self._errors.append(error)

    def has_workers(self) -> bool:
        """Return whether any group has come up yet."""
        if not self._came_up:
            with cluster_there():
                self._came_up = bool(ray.get(self._desk.members.remote()))
        return self._came_up

    def submit(self, work: Work) -> None:
        """Queue a piece of work."""
        with cluster_there():
            ray.get(self._desk.submit.remote(work))

    def events(self) -> Iterable[Event]:
        """Return what happened; waits a tenth of a second when nothing did."""
        with cluster_there():
            if self._watch.look():
                self._look_around()
            events: list[Event] = ray.get(self._desk.events.remote())
        if not events:
            if not any(thread.is_alive() for thread in self._threads):
                last = self._errors[-1] if self._errors else "they ended early"
                raise ClusterError(f"no worker group is left: {last}")
            time.sleep(0.1)
        return events

    def _look_around(self) -> None:
        """Make use of nodes that have joined, unless they see another storage."""
        self._probe.keep()
        if (blind := ray.get(self._desk.blind.remote())) is not None:
            raise not_shared(self._store.root, blind)
        if self._room is not None:
            self._grow(self._room.groups())

    def close(self) -> None:
        """Let the groups go; those that do not come to an end are left to Ray's shutdown."""
        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(self._desk.close.remote(), timeout=10)
        for thread in self._threads:
            thread.join(timeout=10)
        self._probe.close()


def _trainer(suite: Suite, store: Store, order: Order) -> ray.train.torch.TorchTrainer:
    resources = suite.resources
    per_worker = {"CPU": resources.cpus_per_worker}
    if resources.gpus_per_worker:
        per_worker["GPU"] = resources.gpus_per_worker
    return ray.train.torch.TorchTrainer(
        # Ray Train's controller passes the function on unopened; a `train_loop_config` it would open, and
        # load the model code for it.
        partial(serve, order),
        torch_config=Rendezvous(),
        scaling_config=ray.train.ScalingConfig(
            num_workers=resources.workers_per_run,
            use_gpu=bool(resources.gpus_per_worker),
            resources_per_worker=per_worker,
            placement_strategy=resources.placement,
        ),
        run_config=ray.train.RunConfig(
            name=f"{suite.name}-group-{order.group}",
            storage_path=store.location("ray"),
            # The desk counts losses by piece of work; the group itself may always come back.
            failure_config=ray.train.FailureConfig(max_failures=-1),
        ),
    )
