"""What a run cost, and on what it ran."""

from __future__ import annotations

import platform
import resource
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = (
    "ksl-bench",
    "torch",
    "transformers",
    "peft",
    "deepspeed",
    "ray",
    "mlflow",
    "sacrebleu",
    "scipy",
)


def reset_peak_memory(device: torch.device) -> None:
    """Start a new peak: a warm process would go on to show its highest one ever."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not Linux, or not allowed: the peak is then the process's
        return


def peak_memory(device: torch.device) -> dict[str, int | None]:
    """Return the peak since the last reset, in bytes.

    Returns:
        `allocated` and `reserved` by PyTorch on a GPU; on a CPU the resident set, as `allocated`, and
        None, since nothing tells them apart there.
    """
    if device.type == "cuda":
        return {
            "allocated": torch.cuda.max_memory_allocated(device),
            "reserved": torch.cuda.max_memory_reserved(device),
        }
    return {"allocated": _peak_resident_bytes(), "reserved": None}


def _peak_resident_bytes() -> int:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def package_versions() -> dict[str, str]:
    """Return the versions of what a number depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hardware(device: torch.device) -> dict[str, Any]:
    """Return the device's name, and the machine's."""
    if device.type == "cuda":
        return {"device": torch.cuda.get_device_name(device), "machine": platform.machine()}
    return {
        "device": _cpu_name(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "cpu"


def git_commit() -> str | None:
    """Return the commit of the checkout that the package runs from; None when installed."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    found = subprocess.run(
        ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None
