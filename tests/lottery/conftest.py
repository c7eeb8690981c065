"""What the tests of the lottery share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def peak_growth() -> Callable[[Callable[[], object]], int]:
    """Return a measure of how many bytes resident memory rises above where it stands during some work."""

    def peak() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))

    def growth(work: Callable[[], object]) -> int:
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            pytest.skip("the peak of resident memory cannot be reset here")
        start = peak()
        work()
        return peak() - start

    return growth
