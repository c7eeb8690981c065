"""Checkpoints of one run in the store: each rank writes its shard, the leader closes it.

A checkpoint counts from the moment its manifest is there, which names the digest of every shard. One
that does not match is set aside, and the run goes on from the one before.
"""

from __future__ import annotations

import torch.distributed as dist
from safetensors.torch import load, save
from torch import Tensor

from ksl_bench.store import Store
from ksl_bench.training.loop import Checkpoint, Worker

STATE = "state.safetensors"
KEPT = 2
"""Checkpoints that stay: the newest, and one to fall back on should it turn out broken."""


def _shard(rank: int) -> str:
    return f"rank-{rank}.safetensors"


class StoredCheckpoints:
    """The checkpoints of one state, for one worker."""

    def __init__(self, store: Store, key: str, worker: Worker) -> None:
        """Look up the newest whole checkpoint: once, by the leader, so that all ranks agree."""
        self._files, self._worker = store.checkpoints(key), worker
        newest = [self._files.newest() if worker.leads else None]
        if worker.world_size > 1:
            dist.broadcast_object_list(newest, src=0)
        self._newest = newest[0]

    def step(self) -> int:
        """Return the step to go on from, 0 for the beginning."""
        return self._newest or 0

    def latest(self) -> Checkpoint | None:
        """Read it, each rank its own shard."""
        if self._newest is None:
            return None
        return Checkpoint(
            self._newest,
            load(self._files.read(self._newest, STATE)),
            self._files.read(self._newest, _shard(self._worker.rank)),
        )

    def save(self, step: int, state: dict[str, Tensor], shard: bytes) -> None:
        """Write this rank's part; the leader closes the checkpoint once all parts are there."""
        own = _shard(self._worker.rank)
        digests = {own: self._files.write_part(step, own, shard)}
        if self._worker.leads:
            digests[STATE] = self._files.write_part(step, STATE, save(state))
        parts = [digests]
        if self._worker.world_size > 1:
            parts = [{} for _ in range(self._worker.world_size)]
            dist.all_gather_object(parts, digests)
        if self._worker.leads:
            written = {name: one for part in parts for name, one in part.items()}
            self._files.close(step, written, keep=KEPT)
