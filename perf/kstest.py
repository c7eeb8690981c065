"""What the row-wise KS test costs, against a loop over `scipy.stats.ks_2samp` and its `axis=1`.

    python perf/kstest.py [--rows 32000] [--width 4096] [--repeats 3] [--sample 200] [--full] [--json]

One thread; random float32 rows, once with all of them moved, once with every tenth. SciPy is timed on a
sample of rows, evenly spread, and its time scaled to all of them; `--full` times the loop over every row.
Seconds are the best of the repeats, on the clock and of the processor (which other work on the machine
disturbs less). Each peak is what resident memory rose above where it stood just before.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from scipy import stats
from torch import Tensor

from ksl_bench.lottery.kstest import exact_p_values, ks_heights
from ksl_bench.measure import hardware, package_versions, peak_memory, reset_peak_memory

CPU = torch.device("cpu")
AXIS_SAMPLE = 50


@dataclass(frozen=True)
class Timing:
    """One way to test all rows."""

    moved: str
    way: str
    timed_rows: int
    """Fewer than all where the seconds are scaled."""
    wall_seconds: float
    cpu_seconds: float
    peak_extra_bytes: int | None


def best_of(repeats: int, work: Callable[[], object]) -> tuple[float, float]:
    """Return the fewest seconds on the clock, and of the processor."""
    wall, cpu = [], []
    for _ in range(repeats):
        started, used = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    return min(wall), min(cpu)


def peak_extra(work: Callable[[], object]) -> int | None:
    """Return how far resident memory rises above where it stands."""
    reset_peak_memory(CPU)
    start = peak_memory(CPU)["allocated"]
    work()
    peak = peak_memory(CPU)["allocated"]
    return None if start is None or peak is None else peak - start


def scipy_loop(before_VD: Tensor, after_VD: Tensor, rows: range) -> list[int]:
    width = before_VD.shape[1]
    before, after = before_VD.numpy(), after_VD.numpy()
    found = (stats.ks_2samp(before[row], after[row], method="exact") for row in rows)
    return [round(one.statistic * width) for one in found]


def ours(before_VD: Tensor, after_VD: Tensor) -> Tensor:
    heights_V = ks_heights(before_VD, after_VD)
    exact_p_values(heights_V, before_VD.shape[1])
    return heights_V


def spread(rows: int, sample: int) -> range:
    """Return about `sample` rows, evenly spread, a tenth of them tenth rows."""
    step = max(1, rows // sample)
    while math.gcd(step, 10) > 1:
        step += 1
    return range(0, rows, step)


def compare(
    moved: str, before_VD: Tensor, after_VD: Tensor, options: argparse.Namespace
) -> list[Timing]:
    total = len(before_VD)
    heights_V = ours(before_VD[:64], after_VD[:64])  # warm up
    timings = []
    extra = peak_extra(lambda: ours(before_VD, after_VD))
    wall, cpu = best_of(options.repeats, lambda: ours(before_VD, after_VD))
    timings.append(Timing(moved, "ksl-bench", total, wall, cpu, extra))
    heights_V = ours(before_VD, after_VD)

    rows = range(total) if options.full else spread(total, options.sample)
    assert scipy_loop(before_VD, after_VD, rows) == heights_V[rows.start :: rows.step].tolist()
    repeats = 1 if options.full else options.repeats
    wall, cpu = best_of(repeats, lambda: scipy_loop(before_VD, after_VD, rows))
    scale = total / len(rows)
    timings.append(Timing(moved, "scipy loop", len(rows), wall * scale, cpu * scale, None))

    rows = spread(total, min(AXIS_SAMPLE, options.sample))
    before, after = (one[rows.start :: rows.step].numpy() for one in (before_VD, after_VD))
    wall, cpu = best_of(
        options.repeats, lambda: stats.ks_2samp(before, after, axis=1, method="exact")
    )
    scale = total / len(rows)
    timings.append(Timing(moved, "scipy axis=1", len(rows), wall * scale, cpu * scale, None))
    return timings


def table(timings: list[Timing], total: int) -> str:
    lines = [
        f"{'moved':<6}{'way':<14}{'seconds':>9}{'cpu s':>9}{'times':>8}{'extra MiB':>11}  timed"
    ]
    for one in timings:
        first = next(other for other in timings if other.moved == one.moved)
        extra = "" if one.peak_extra_bytes is None else f"{one.peak_extra_bytes / 2**20:.0f}"
        note = "all rows" if one.timed_rows == total else f"{one.timed_rows} rows, scaled"
        lines.append(
            f"{one.moved:<6}{one.way:<14}{one.wall_seconds:>9.2f}{one.cpu_seconds:>9.2f}"
            f"{one.wall_seconds / first.wall_seconds:>8.1f}{extra:>11}  {note}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=32_000)
    parser.add_argument("--width", type=int, default=4_096)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sample", type=int, default=200, help="rows that SciPy is timed on")
    parser.add_argument("--full", action="store_true", help="time the SciPy loop on every row")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for name in ("rows", "width", "repeats", "sample"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be >= 1, got {getattr(options, name)}")
    torch.set_num_threads(1)
    draw = torch.Generator().manual_seed(0)
    before_VD = torch.randn(options.rows, options.width, generator=draw).mul_(0.02)
    after_VD = torch.randn(options.rows, options.width, generator=draw).mul_(1e-3).add_(before_VD)
    timings = compare("100 %", before_VD, after_VD, options)
    stayed = torch.arange(options.rows) % 10 != 0
    after_VD[stayed] = before_VD[stayed]
    timings += compare("10 %", before_VD, after_VD, options)
    if options.json:
        report: dict[str, Any] = {
            "rows": options.rows,
            "width": options.width,
            "hardware": hardware(CPU),
            "versions": package_versions(),
            "timings": [asdict(one) for one in timings],
        }
        print(json.dumps(report, indent=2))
    else:
        print(f"{options.rows} rows of {options.width} values, one thread")
        print(table(timings, options.rows))


if __name__ == "__main__":
    main()
