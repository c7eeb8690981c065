"""What every worker of a group runs: ask the desk, build, tell the desk."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist

from ksl_bench.cluster.shared import sees
from ksl_bench.desk import Again
from ksl_bench.pack import Pack
from ksl_bench.plan import Setting, Work
from ksl_bench.store import Store
from ksl_bench.training.loop import Worker
from ksl_bench.worker.outcome import Outcome, classify, lost_a_peer, spoils

WAIT_SECONDS = 0.05
"""How long a group without work waits before it asks again."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the workers of a group are to know."""

    desk: Any
    """The actor that hands out work."""
    group: int
    setting: Setting
    storage: str
    probe: str | None
    """A file that a worker must see; see `shared`."""
    make_builder: Callable[[Setting, Store, Worker], Any]
    """Makes what makes the artifacts."""


def serve(order: Order) -> None:
    """Work for the desk until it says to leave; runs on every worker of a group."""
    desk, group = order.desk, order.group
    if not sees(order.probe):  # on a node that joined after the others were checked
        ray.get(desk.cannot_see.remote(ray.util.get_node_ip_address()))
        return
    os.environ.update(ray.get(desk.environment.remote()))
    context = ray.train.get_context()
    worker = Worker(
        rank=context.get_world_rank(),
        world_size=context.get_world_size(),
        device=ray.train.torch.get_device(),
    )
    if worker.device.type == "cuda":
        torch.cuda.set_device(worker.device)  # collective calls on objects use the current device
    store = Store(order.storage)
    builder = order.make_builder(order.setting, store, worker)
    _arrive(desk, group, worker)
    while True:
        # The answer goes to all ranks even if it is to wait: a rank that waited in a collective call
        # for hours would run into its timeout.
        told: list[Any] = [_ask(desk, group, store) if worker.leads else None]
        if worker.world_size > 1:
            dist.broadcast_object_list(told, src=0)
        if told[0] == "leave":
            return
        if told[0] == "wait":
            time.sleep(WAIT_SECONDS)
        else:
            _build(builder, told[0], desk, group)


def _arrive(desk: Any, group: int, worker: Worker) -> None:
    """Tell the desk of a worker; first of the leader, with whom the group has arrived."""
    actor = ray.get_runtime_context().current_actor
    if worker.leads:
        ray.get(desk.arrive.remote(group, actor))
    if worker.world_size > 1:
        dist.barrier()
    if not worker.leads:
        ray.get(desk.join.remote(group, actor))


def _ask(desk: Any, group: int, store: Store) -> Work | Pack | str:
    """Return what the desk has for a group, once it is nothing that is finished already."""
    told = ray.get(desk.next.remote(group))
    while isinstance(told, Again):
        work = told.work
        if not store.is_finished(work.kind, work.key):
            return work
        ray.get(desk.done.remote(group, Outcome(work.key, "finished")))
        told = ray.get(desk.next.remote(group))
    return cast("Work | Pack | str", told)


def _build(builder: Any, work: Work | Pack, desk: Any, group: int) -> None:
    """Build an artifact, or a pack of them, and tell the desk; a group that cannot go on ends here."""

    def report_of(key: str) -> Any:
        return lambda progress: desk.progress.remote(key, progress)

    def tell(outcome: Outcome) -> None:
        if builder.worker.leads:
            ray.get(desk.done.remote(group, outcome))

    try:
        if isinstance(work, Pack):
            builder.build_pack(work, report_of, tell)
            return
        outcome = builder.build(work, report_of(work.key))
    except Exception as error:
        if builder.worker.world_size > 1 and lost_a_peer(error):
            raise  # the group is made anew, and the desk hands the work out again, so many times
        status, reason = classify(error)
        if isinstance(work, Pack):
            logging.getLogger(__name__).exception("a pack of %d failed", len(work.works))
            ray.get(desk.broke.remote(group))
        else:
            logging.getLogger(__name__).exception("%s %s failed", work.kind, work.key)
            ray.get(desk.done.remote(group, Outcome(work.key, status, reason)))
        # Other ranks may wait in a collective call for this one. Ray Train makes the group anew.
        if builder.worker.world_size > 1 or spoils(error):
            raise
        return
    tell(outcome)
