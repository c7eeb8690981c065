"""What the suite itself costs when runs cost nothing: 2,000 stub runs through the real code path.

    python perf/scale.py [--runs 200 2000] [--results 10000] [--storage s3://bucket/folder] [--no-tracking]

A stub run writes a real record of a state and of an evaluation, and trains nothing. Planning, Ray's worker
groups, the desk, leases, the store and MLflow are the real ones. Shown are seconds and the driver's memory
for each number of runs, side by side in one process; both are to stay flat a run. Then the leaderboard over
many results, read twice: an object store (`--storage`, of the results alone) then has them in bundles.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from safetensors.numpy import save

from ksl_bench.benchmark import Execution
from ksl_bench.cli.common import quiet_models
from ksl_bench.cluster.connection import connect, disconnect
from ksl_bench.cluster.pool import RayPool
from ksl_bench.evaluation.scoring import RESAMPLES_FILE
from ksl_bench.leaderboard import as_csv, read_board
from ksl_bench.leaderboard.runs import read_results
from ksl_bench.models import find_model
from ksl_bench.plan import Plan, Setting, Work, make_plan
from ksl_bench.pool import Event
from ksl_bench.store import Store
from ksl_bench.store.bundles import read_together
from ksl_bench.suite import load_suite
from ksl_bench.tracking import TrackingThread
from ksl_bench.training.loop import Worker
from ksl_bench.worker.outcome import Outcome

STEPS = 10
RESAMPLES = 1000
BASELINES = 15
COST = {
    "selection_seconds": 0.0,
    "train_seconds": 0.001,
    "evaluate_seconds": 0.001,
    "device_hours": 1e-6,
    "money": None,
    "state_bytes": 8,
    "peak_memory": [{"allocated": 2**20, "reserved": None}],
    "train_peak_memory": [{"allocated": 2**20, "reserved": None}],
    "evaluate_peak_memory": [{"allocated": 2**20, "reserved": None}],
}


class StubBuilder:
    """Writes the records that a worker writes, and makes nothing."""

    def __init__(self, setting: Setting, store: Store, worker: Worker) -> None:
        """Take where records go."""
        self.store, self.worker = store, worker

    def build(self, work: Work, report: Any = None) -> Outcome:
        """Write the record of an artifact."""
        if work.kind == "state":
            self._state(work)
        else:
            self._evaluation(work)
        return Outcome(work.key, "finished")

    def _state(self, work: Work) -> None:
        lines = [
            json.dumps(
                {
                    "step": step + 1,
                    "loss": 1.0,
                    "learning_rate": 0.1,
                    "gradient_norm": None,
                    "tokens": 9,
                    "seconds": 1e-4,
                }
            )
            for step in range(STEPS)
        ]
        self.store.write_lines("state", work.key, "metrics.jsonl", lines)
        record = {"baseline": work.baseline.name, "seed": work.seed, "steps": STEPS, "cost": COST}
        files = {"state.safetensors": b"\0" * 8, "config.yaml": b"{}\n"}
        self.store.finish("state", work.key, record, files)

    def _evaluation(self, work: Work) -> None:
        draw = np.random.default_rng(int(work.key, 16))
        value = 50.0 + draw.normal()
        score = {"value": value, "low": value - 2, "high": value + 2, "signature": "stub"}
        rules = ("raw", "first_line", "prompt_restart")
        result = {
            "baseline": work.baseline.name,
            "method": work.baseline.method,
            "seed": work.seed,
            "split": "devtest",
            "ticket_rows": None,
            "sentences": 200,
            "truncated_training_examples": 0,
            "parameters": {"trainable": 1, "total": 2},
            "scores": {rule: {"bleu": score, "chrf": score} for rule in rules},
            "draw": {
                "resamples": RESAMPLES,
                "groups": 200,
                "unit": "sentences",
                "digest": "0" * 20,
            },
            "data": {"digest": "stub", "origin": "stub"},
            "diagnostics": {"eos_rate": 1.0, "length_ratio": {rule: 1.0 for rule in rules}},
            "cost": COST,
        }
        resampled = {
            f"{rule}/{metric}": value + draw.normal(size=RESAMPLES)
            for rule in rules
            for metric in ("bleu", "chrf")
        }
        files = {"outputs.jsonl": b"{}\n", RESAMPLES_FILE: save(resampled)}
        self.store.finish("evaluation", work.key, result, files)


def plan_of(runs: int) -> Plan:
    changes = [
        "baselines=[embedding]",
        f"seeds={list(range(runs))}",
        "task.train_size=8",
        "task.devtest_size=2",
        "resources.max_groups=2",
    ]
    suite = load_suite("quickstart", changes)
    return make_plan(suite, find_model(suite.model))


def resident() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def driven(runs: int, folder: Path, *, tracking: bool) -> dict[str, float]:
    """Drive so many stub runs; return what each cost."""
    begun = time.perf_counter()
    plan = plan_of(runs)
    planned = time.perf_counter() - begun
    store = Store(str(folder / f"runs-{runs}"))
    store.plans.write(plan.suite.name, plan.record())
    thread = TrackingThread(store, plan.suite, Console(file=io.StringIO()))
    pool = RayPool(plan, store, groups=2, make_builder=StubBuilder)
    first: list[float] = []

    def on_event(event: Event) -> None:
        if event.outcome is not None and not first:
            first.append(time.perf_counter())  # the groups are up

    before = resident()
    try:
        tally = Execution(plan, store).run(pool, on_event)
        done = time.perf_counter()
    finally:
        pool.close()
    grown = resident() - before
    assert tally.made == 2 * runs, tally
    begun = time.perf_counter()
    if tracking:
        thread.finish()
    tracked = time.perf_counter() - begun
    begun = time.perf_counter()
    Execution(plan, store)
    looked = time.perf_counter() - begun
    return {
        "runs": runs,
        "plan_ms_a_run": 1000 * planned / runs,
        "drive_ms_a_run": 1000 * (done - first[0]) / runs,
        "track_ms_a_run": 1000 * tracked / runs,
        "resume_ms_a_run": 1000 * looked / runs,
        "driver_kib_a_run": grown / 1024 / runs,
    }


def leaderboard_over(results: int, store: Store) -> dict[str, float]:
    """Return seconds of the leaderboard over so many results: 14 baselines and the base under five seeds."""
    plan = plan_of(5)
    record, stub = plan.record(), StubBuilder(plan.setting, store, Worker())
    (recipe,) = record["suite"]["baselines"]
    names = ["base", *(f"embedding-{number}" for number in range(1, BASELINES))]
    record["suite"]["baselines"] = [
        {**recipe, "name": name} | ({"method": "none"} if name == "base" else {}) for name in names
    ]
    works = [work for work in plan.works.values() if work.kind == "evaluation"]
    rows: list[dict[str, Any]] = []
    for direction in range(results // (5 * BASELINES)):
        where = {"condition": f"direction-{direction}", "scored_under": f"direction-{direction}"}
        for name in names:
            for work in works:
                key = f"{len(rows):020x}"
                stub._evaluation(replace(work, key=key))
                rows.append(
                    {**record["rows"][work.seed], "baseline": name, "evaluation": key, **where}
                )
    store.plans.write("board", {**record, "rows": rows})
    before, begun = resident(), time.perf_counter()
    board = read_board(store, "board")
    read = time.perf_counter() - begun
    as_csv(board)
    csv = time.perf_counter() - begun
    assert sum(len(row["finished_seeds"]) for row in board.rows) == len(rows)
    grown, begun = resident() - before, time.perf_counter()
    same = read_board(store, "board")
    again = time.perf_counter() - begun
    assert same == board
    begun = time.perf_counter()
    for together in read_together(rows).values():
        read_results(store, together)
    reading = time.perf_counter() - begun
    pairs = sum(len(one.ranking.pairs) for some in board.rankings.values() for one in some)
    return {
        "results": len(rows),
        "seconds": read,
        "with_csv": csv,
        "again": again,
        "reading": reading,
        "pairs": pairs,
        "mib": grown / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--results", type=int, default=10_000)
    parser.add_argument("--storage", help="of the results, empty; a temporary folder if left out")
    parser.add_argument("--no-tracking", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = Store(options.storage) if options.storage else None
    if results is not None and results.plans.names():
        parser.error(f"--storage: must be empty, as the results stay there; got {options.storage}")
    quiet_models()
    with tempfile.TemporaryDirectory(prefix="ksl-scale-") as name:
        folder = Path(name)
        rows = []
        for runs in options.runs:
            connect(None)
            try:
                rows.append(driven(runs, folder, tracking=not options.no_tracking))
            finally:
                disconnect()
        board = leaderboard_over(options.results, results or Store(str(folder / "board")))
    if options.json:
        print(json.dumps({"runs": rows, "leaderboard": board}, indent=2))
        return
    for row in rows:
        print(", ".join(f"{field} {value:.4g}" for field, value in row.items()))
    print(
        f"leaderboard over {board['results']:,} results, {board['pairs']:,} pairs compared: "
        f"{board['seconds']:.2f} s, again {board['again']:.2f} s (of it reading and verifying: "
        f"{board['reading']:.2f} s), {board['mib']:.0f} MiB"
    )


if __name__ == "__main__":
    main()
