"""How a piece of work ends, and how far it is."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["finished", "failed", "out_of_memory", "diverged", "skipped"]
Report = Callable[[dict[str, Any]], None]
"""Told how far a piece of work is; for a display, never for the record."""

REPORT_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a piece of work ended."""

    key: str
    status: Status
    reason: str | None = None


def classify(error: BaseException) -> tuple[Status, str]:
    """Return the status and the one-line reason of work that raised."""
    text = str(error).strip()
    reason = f"{type(error).__name__}: {text.splitlines()[0] if text else 'no message'}"
    # torch and Ray each have an OutOfMemoryError; Ray's is not imported here.
    names = {kind.__name__ for kind in type(error).__mro__}
    out_of_memory = (
        bool(names & {"OutOfMemoryError", "MemoryError"})
        or (isinstance(error, RuntimeError) and any(words in text for words in _FULL))
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    )
    return ("out_of_memory" if out_of_memory else "failed"), reason


_FULL = ("can't allocate memory", "CUDA error: out of memory", "_STATUS_ALLOC_FAILED")
"""What is said where no memory is left: PyTorch's allocator on the CPU, CUDA, then cuBLAS and cuDNN."""

_SPOILED = ("CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS", "NCCL")
"""What is said where a device, or what talks to it, failed."""


def spoils(error: BaseException) -> bool:
    """Tell whether a process can do no more work after an error.

    After a failed assertion or an illegal access on a device every later call fails, too; after an
    out-of-memory error the allocator is in pieces.
    """
    if classify(error)[0] == "out_of_memory":
        return True
    # By name: PyTorch has had an AcceleratorError since 2.8.
    names = {kind.__name__ for kind in type(error).__mro__}
    return "AcceleratorError" in names or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _SPOILED)
    )


_BROKEN = (
    "Connection closed by peer",
    "Connection reset by peer",
    "gloo/transport",
    "remote process exited",
    "NCCL communicator was aborted",
)
"""What collective calls say when another rank is gone: gloo, then NCCL."""


def lost_a_peer(error: BaseException) -> bool:
    """Tell whether a collective call broke because another rank is gone: no fault of the work."""
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _BROKEN)


class Throttle:
    """Passes on a report at most every so many seconds, and the first and the last."""

    def __init__(self, report: Report) -> None:
        """Take who is told."""
        self._report, self._last = report, 0.0

    def __call__(self, progress: dict[str, Any]) -> None:
        """Pass on a report, or not."""
        now = time.monotonic()
        if now - self._last >= REPORT_SECONDS or progress["step"] >= progress["total"]:
            self._last = now
            self._report(progress)
