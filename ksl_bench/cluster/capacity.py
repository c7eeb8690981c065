"""What a cluster must have: room for a group, now or once it has grown."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

import ray

from ksl_bench.config import ResourcesSpec
from ksl_bench.errors import ClusterError


def needs(resources: ResourcesSpec) -> dict[str, float]:
    """Return what one group takes."""
    return {
        "CPU": resources.workers_per_run * resources.cpus_per_worker,
        "GPU": resources.workers_per_run * resources.gpus_per_worker,
    }


def worker_needs(resources: ResourcesSpec) -> dict[str, float]:
    """Return what one worker takes, without what it takes nothing of."""
    each = {"CPU": resources.cpus_per_worker, "GPU": resources.gpus_per_worker}
    return {name: amount for name, amount in each.items() if amount}


def groups_that_fit(resources: ResourcesSpec) -> int:
    """Return how many groups the nodes of the connected cluster hold side by side."""
    each = worker_needs(resources)
    places = [
        int(min(node["Resources"].get(name, 0.0) // amount for name, amount in each.items()))
        for node in ray.nodes()
        if node["Alive"]
    ]
    return _groups(places, resources)


def _groups(places: Sequence[int], resources: ResourcesSpec) -> int:
    """Return how many groups fit, given how many workers each node holds."""
    workers = resources.workers_per_run
    if resources.placement == "STRICT_PACK":
        return sum(place // workers for place in places)
    if resources.placement == "STRICT_SPREAD":  # a node holds one worker of each group
        groups = sum(places) // workers
        while groups and sum(min(place, groups) for place in places) < groups * workers:
            groups -= 1
        return groups
    return sum(places) // workers


def shortage_now(resources: ResourcesSpec) -> str | None:
    """Return what the connected cluster lacks for a single group, and cannot get by itself."""
    if groups_that_fit(resources):
        return None
    there, limit = ray.cluster_resources(), declared_limit()
    for name, amount in needs(resources).items():
        most = max(there.get(name, 0.0), limit.get(name, 0.0))
        if amount > most:
            return shortage(resources, name, amount, most)
    return None if limit else _scattered(resources)


def declared_limit() -> dict[str, float]:
    """Return what the cluster may grow to; nothing where its autoscaler does not say.

    Ray's own autoscaler (2.60) never does, some platforms' do. It says no sooner than it is asked:
    `growth.py`.
    """
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


def _scattered(resources: ResourcesSpec) -> str:
    """Return the line for a cluster that has enough, but not where it is needed."""
    each = worker_needs(resources)
    nodes = [
        " and ".join(f"{node['Resources'].get(name, 0.0):g} {name}" for name in each)
        for node in ray.nodes()
        if node["Alive"]
    ]
    worker = " and ".join(f"{amount:g} {name}" for name, amount in each.items())
    return (
        f"resources.workers_per_run: {resources.workers_per_run} workers x {worker}, placed "
        f"{resources.placement}, do not fit the nodes, which have {', '.join(nodes)}"
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
