"""How what was raised counts."""

import pytest
import ray
import torch

from ksl_bench.worker import classify


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError("no room"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
        ray.exceptions.OutOfMemoryError("Task was killed due to the node running low on memory."),
    ],
)
def test_memory_that_ran_out_is_told_apart_whoever_noticed(error):
    status, reason = classify(error)
    assert status == "out_of_memory"
    assert reason.startswith(type(error).__name__)


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), OSError("out of memory cards")])
def test_all_else_has_failed(error):
    assert classify(error)[0] == "failed"
