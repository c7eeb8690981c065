"""What a suite costs beyond its own work: wall time of a run against the sum of its parts.

    python perf/overhead.py [SUITE] [--storage DIR] [--set PATH=VALUE ...]

Runs the suite in a fresh storage through the command line, as a user does, and compares the wall time with
the seconds that training, selection and evaluation took by their own records. With g groups side by side
the parts add up to at most g times the wall time; what is missing is start-up, scheduling and waiting.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time

from ksl_bench.plan import Kind
from ksl_bench.store import Store


def seconds_of(store: Store, kind: Kind, key: str) -> float:
    record = store.record(kind, key)
    if record is None or record["status"] != "finished":
        return 0.0
    field = {
        "state": "train_seconds",
        "ticket": "selection_seconds",
        "evaluation": "evaluate_seconds",
    }
    return float(record["cost"][field[kind]])


def timed_run(suite: str, storage: str, assignments: list[str]) -> float:
    command = [sys.executable, "-m", "ksl_bench.cli", "run", suite, "--storage", storage, "--json"]
    for one in assignments:
        command += ["--set", one]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suite", nargs="?", default="quickstart")
    parser.add_argument("--storage", help="a fresh folder; a temporary one where none is given")
    parser.add_argument("--set", action="append", default=[], dest="assignments")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    storage = options.storage or tempfile.mkdtemp(prefix="ksl-overhead-")
    first = timed_run(options.suite, storage, options.assignments)
    second = timed_run(options.suite, storage, options.assignments)
    store = Store(storage)
    plan = store.plans.read(options.suite)
    assert plan is not None
    parts: dict[str, dict[str, float]] = {"state": {}, "ticket": {}, "evaluation": {}}
    for row in plan["rows"]:
        for kind, field in (
            ("state", "source_state"),
            ("ticket", "ticket"),
            ("state", "state"),
            ("evaluation", "evaluation"),
        ):
            if row[field]:
                parts[kind][row[field]] = seconds_of(store, kind, row[field])
    sums = {kind: sum(found.values()) for kind, found in parts.items()}
    counts = {kind: len(found) for kind, found in parts.items()}
    work = sum(sums.values())
    report = {
        "suite": options.suite,
        "wall_seconds": first,
        "second_run_seconds": second,
        "work_seconds": work,
        "seconds": sums,
        "artifacts": counts,
        "wall_over_work": first / work,
    }
    if options.json:
        print(json.dumps(report, indent=2))
        return
    for kind, name in (
        ("state", "training"),
        ("ticket", "selection"),
        ("evaluation", "evaluation"),
    ):
        print(f"{name:<12} {sums[kind]:8.1f} s in {counts[kind]} artifacts")
    print(f"{'sum':<12} {work:8.1f} s")
    print(f"{'wall':<12} {first:8.1f} s, {first / work:.2f} of the sum")
    print(f"{'again':<12} {second:8.1f} s, nothing to do")


if __name__ == "__main__":
    main()
