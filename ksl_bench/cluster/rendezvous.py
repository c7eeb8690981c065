"""How the workers of a group find each other; on one machine, so that nothing listens beyond it.

PyTorch's usual meeting point is a server on every address, without a password. Workers of one node meet in a
file instead, and talk over loopback.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from datetime import timedelta
from typing import Any

import ray
import ray.train
import torch.distributed as dist
from ray.train.torch import TorchConfig
from ray.train.torch.config import _TorchBackend

from ksl_bench.errors import ClusterError

INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
"""Variables by which the libraries choose where they listen."""
LOOPBACK = ("lo", "lo0")
"""Names of the loopback interface: Linux's, and that of macOS and BSD."""


class Rendezvous(TorchConfig):  # type: ignore[misc]
    """As Ray Train does it, but for groups on one node."""

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        """What sets a group up."""
        return _Backend


class _Backend(_TorchBackend):  # type: ignore[misc]
    """Sets up the process group of a worker group."""

    _file: str | None = None

    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        """Let the workers meet, before training starts."""
        if len(set(worker_group.execute(_node))) > 1:
            super().on_start(worker_group, backend_config)
            return
        # Kept while the group lives: what it communicates over later is agreed upon there, too.
        self._file = file = worker_group.execute_single(0, _meeting_file)
        ray.get(
            [
                worker_group.execute_single_async(rank, _meet, file, backend_config.timeout_s)
                for rank in range(len(worker_group))
            ]
        )

    def on_shutdown(self, worker_group: Any, backend_config: TorchConfig) -> None:
        """Let the workers part."""
        super().on_shutdown(worker_group, backend_config)
        if self._file is not None:
            with contextlib.suppress(ray.exceptions.RayError):  # of a worker that is gone by now
                worker_group.execute_single(0, _forget, self._file)


def _forget(file: str) -> None:
    with contextlib.suppress(OSError):
        os.remove(file)


def _node() -> str:
    return str(ray.get_runtime_context().get_node_id())


def _meeting_file() -> str:
    handle, path = tempfile.mkstemp(prefix="ksl-bench-")
    os.close(handle)
    return path


def _meet(file: str, timeout_seconds: int) -> None:
    """Join the process group; run by every worker."""
    context = ray.train.get_context()
    _listen_on_loopback()
    os.environ.update(  # what torchrun sets, and DeepSpeed asks for
        LOCAL_RANK=str(context.get_local_rank()),
        LOCAL_WORLD_SIZE=str(context.get_local_world_size()),
        NODE_RANK=str(context.get_node_rank()),
        RANK=str(context.get_world_rank()),
        WORLD_SIZE=str(context.get_world_size()),
    )
    dist.init_process_group(
        backend="nccl" if ray.train.torch.get_device().type == "cuda" else "gloo",
        init_method=f"file://{file}",
        rank=context.get_world_rank(),
        world_size=context.get_world_size(),
        timeout=timedelta(seconds=timeout_seconds),
    )


def _listen_on_loopback() -> None:
    """Let the libraries listen on loopback only, unless the environment chose for them.

    Raises:
        ClusterError: If a choice is left to be made and there is no such interface.
    """
    open_ = [variable for variable in INTERFACES if variable not in os.environ]
    there = {name for _, name in socket.if_nameindex()}
    loopback = next((name for name in LOOPBACK if name in there), None)
    if open_ and loopback is None:
        raise ClusterError(
            f"{', '.join(open_)}: no loopback interface ({' or '.join(LOOPBACK)}) among "
            f"{', '.join(sorted(there)) or 'none'}; set it to the interface that workers may talk over"
        )
    os.environ.update({variable: str(loopback) for variable in open_})
