"""A storage that every node sees."""

from __future__ import annotations

import os
import tempfile

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ksl_bench.errors import ClusterError
from ksl_bench.store import Store


class Probe:
    """A file just written into a storage: who does not see it has another folder of that name."""

    def __init__(self, store: Store) -> None:
        """Write it; nothing is written to an object store, which is the same for everyone."""
        self._file = None
        if "://" not in store.root:
            folder = store.location("ray")  # what lies there is Ray's and may go
            os.makedirs(folder, exist_ok=True)
            self._file = tempfile.NamedTemporaryFile(prefix=".shared-", dir=folder)  # noqa: SIM115

    @property
    def path(self) -> str | None:
        """The file, where there is one."""
        return self._file.name if self._file is not None else None

    def close(self) -> None:
        """Remove it."""
        if self._file is not None:
            self._file.close()


def sees(path: str | None) -> bool:
    """Tell whether this process sees a probe."""
    return path is None or os.path.exists(path)


def not_shared(root: str, address: str) -> ClusterError:
    """Return the error for a node that sees another storage."""
    return ClusterError(
        f"--storage: {root} is not shared: node {address} does not see what this one wrote there; name a "
        "shared folder or a URI"
    )


def check_shared(store: Store) -> None:
    """Check that every node that the connected cluster has by now sees the same storage.

    A node that joins later is checked by the first worker that lands there.

    Raises:
        ClusterError: If a folder is not shared.
    """
    nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    if "://" in store.root or len(nodes) < 2:
        return
    probe = Probe(store)
    try:
        for node, address in nodes.items():
            if not _node_sees(node, probe.path):
                raise not_shared(store.root, address)
    finally:
        probe.close()


def _node_sees(node: str, path: str | None) -> bool:
    """Tell whether a node sees a probe."""
    where = NodeAffinitySchedulingStrategy(node, soft=False)
    look = ray.remote(num_cpus=0, scheduling_strategy=where)(sees)
    return bool(ray.get(look.remote(path)))
