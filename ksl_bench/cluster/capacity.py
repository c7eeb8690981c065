"""What a cluster must have: room for a group, and a storage that every node sees."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Mapping

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ksl_bench.config import ResourcesSpec
from ksl_bench.errors import ClusterError
from ksl_bench.store import Store

GROWTH_SECONDS = 2.0
"""How often it is looked whether a cluster has grown."""


def check_shared(store: Store) -> None:
    """Check that every node of the connected cluster sees the same storage.

    Raises:
        ClusterError: If a folder is not shared.
    """
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    if "://" in store.root or len(nodes) < 2:
        return
    with tempfile.NamedTemporaryFile(prefix=".shared-", dir=_made(store.root)) as probe:
        blind = [node for node in nodes if not _sees(node, probe.name)]
    if blind:
        where = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}
        raise ClusterError(
            f"--storage: {store.root} is not shared: node {where[blind[0]]} does not see what this one "
            "wrote there; name a shared folder or a URI"
        )


def _made(folder: str) -> str:
    os.makedirs(folder, exist_ok=True)
    return folder


def _sees(node: str, path: str) -> bool:
    """Tell whether a node sees a file."""
    where = NodeAffinitySchedulingStrategy(node, soft=False)
    look = ray.remote(num_cpus=0, scheduling_strategy=where)(os.path.exists)
    return bool(ray.get(look.remote(path)))


def group_count(resources: ResourcesSpec, *, wanted: int, wait: float = 0.0) -> int:
    """Return how many groups to start on the connected cluster.

    Args:
        resources: What one group takes.
        wanted: More than so many would have nothing to do.
        wait: Seconds that a cluster may take to grow that does not say how far it can.

    Raises:
        ClusterError: If not even one fits, now or after the autoscaler has done what it may.
    """
    need = needs(resources)
    until = time.monotonic() + wait
    while (short := shortage_now(resources, need)) is not None:
        if time.monotonic() >= until:
            raise ClusterError(short)
        time.sleep(GROWTH_SECONDS)
    there = ray.cluster_resources()
    fits = min(int(there.get(name, 0.0) // amount) for name, amount in need.items() if amount)
    return max(1, min(fits, wanted, resources.max_groups or fits or 1))


def shortage_now(resources: ResourcesSpec, need: Mapping[str, float]) -> str | None:
    """Return what the cluster lacks, and cannot get by itself."""
    there, limit = ray.cluster_resources(), _autoscaler_limit()
    for name, amount in need.items():
        most = max(there.get(name, 0.0), limit.get(name, 0.0))
        if amount > most:
            return shortage(resources, name, amount, most)
    return None


def needs(resources: ResourcesSpec) -> dict[str, float]:
    """Return what one group takes."""
    return {
        "CPU": resources.workers_per_run * resources.cpus_per_worker,
        "GPU": resources.workers_per_run * resources.gpus_per_worker,
    }


def _autoscaler_limit() -> dict[str, float]:
    """Return what the cluster may grow to; nothing where it does not say."""
    from ray._private.state import state

    with contextlib.suppress(Exception):  # a private call: without it, what is there is the limit
        return dict(state.get_max_resources_from_cluster_config() or {})
    return {}


def shortage(resources: ResourcesSpec, name: str, amount: float, most: float) -> str:
    """Return the line that says what was asked for and what there is."""
    each = resources.cpus_per_worker if name == "CPU" else resources.gpus_per_worker
    return (
        f"resources.workers_per_run: {resources.workers_per_run} workers x {each:g} {name} = "
        f"{amount:g} {name}, but the cluster has at most {most:g}"
    )


def check_this_machine(resources: ResourcesSpec) -> None:
    """Check, before Ray is started, that one run fits on this machine.

    Raises:
        ClusterError: If it does not.
    """
    import torch

    there = {"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}
    for name, amount in needs(resources).items():
        if amount > there[name]:
            raise ClusterError(shortage(resources, name, amount, there[name]))
