"""How what was raised counts."""

import errno
import subprocess
import sys

import pytest
import ray
import torch

from ksl_bench.worker.outcome import classify, lost_a_peer, spoils


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError("no room"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
        RuntimeError(
            "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"
        ),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ray.exceptions.OutOfMemoryError("Task was killed due to the node running low on memory."),
    ],
)
def test_memory_that_ran_out_is_told_apart_whoever_noticed(error):
    status, reason = classify(error)
    assert status == "out_of_memory"
    assert reason.startswith(type(error).__name__)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shape mismatch"),
        OSError("out of memory cards"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_all_else_has_failed(error):
    assert classify(error)[0] == "failed"
    assert not spoils(error)


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("unspecified launch failure"),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: uncorrectable ECC error encountered"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        torch.distributed.DistBackendError(
            "NCCL error in: NCCLUtils.hpp:275, unhandled cuda error"
        ),
    ],
)
def test_what_breaks_the_device_has_failed_and_leaves_a_process_of_no_use(error):
    assert classify(error)[0] == "failed"
    assert spoils(error)


RANK = """
import os, sys, torch, torch.distributed as dist
from ksl_bench.worker.outcome import lost_a_peer
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
dist.all_reduce(torch.ones(1))
if rank == 1:
    os._exit(9)
try:
    while True:
        dist.all_reduce(torch.ones(1))
except RuntimeError as error:
    print(lost_a_peer(error), error)
"""


def test_a_rank_that_is_gone_is_told_from_a_fault_of_the_work(tmp_path):
    line = [sys.executable, "-W", "ignore", "-c", RANK]
    ranks = [
        subprocess.Popen([*line, str(rank), str(tmp_path / "meeting")], stdout=subprocess.PIPE)
        for rank in (0, 1)
    ]
    said = ranks[0].communicate(timeout=120)[0].decode()
    ranks[1].communicate(timeout=120)
    assert said.startswith("True "), said
    assert not lost_a_peer(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not lost_a_peer(ValueError("Connection reset by peer"))
