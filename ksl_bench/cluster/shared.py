"""A storage that every node sees."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ksl_bench.errors import ClusterError
from ksl_bench.store import Store

KEEP_SECONDS = 600.0
"""How often a probe is written again: `clean` takes what has not been for a day."""


class Probe:
    """A file just written into a storage: who does not see it has another folder of that name."""

    def __init__(self, store: Store) -> None:
        """Write it; nothing is written to an object store, which is the same for everyone."""
        self._file = None
        if "://" not in store.root:  # what lies in `ray` is Ray's and may go
            self._file = Path(store.location("ray")) / f".shared-{uuid.uuid4().hex}"
            self._write(self._file)

    @property
    def path(self) -> str | None:
        """The file, where there is one."""
        return None if self._file is None else str(self._file)

    def keep(self) -> None:
        """Show, from time to time, that it is in use; it is there again if somebody removed it."""
        if self._file is not None and time.monotonic() - self._written >= KEEP_SECONDS:
            with contextlib.suppress(OSError):  # told by whoever writes the next artifact
                self._write(self._file)

    def close(self) -> None:
        """Remove it; fine if it is not there, nor the storage."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.unlink()

    def _write(self, file: Path) -> None:
        self._written = time.monotonic()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


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
