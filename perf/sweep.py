"""What a trial of a sweep costs beyond its training: warm workers, Train jobs, packs.

    python perf/sweep.py [--trials 8] [--jobs 3] [--packs 4 8] [--steps 20] [--width 256 --vocabulary 32000]

Side by side in one run: the same small tuning as a trial of a warm worker group (the path of `ksl-bench
sweep`) and as a Ray Train job of its own; then T tickets one by one and in one batch. Overhead is wall
time beyond the seconds that selection, training and scoring took by their own record.

One by one and packed take turns in one process; `step seconds` are those of the optimizer steps alone, by
their own record, and `seconds` all that it takes to make the states. Memory is measured in a process of its
own for each: the peak above what stood there before, of resident memory on a CPU and of PyTorch's
allocations on a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from ksl_bench import measure
from ksl_bench.benchmark import Execution
from ksl_bench.cli.common import quiet_models
from ksl_bench.cluster.connection import connect, disconnect
from ksl_bench.cluster.pool import RayPool
from ksl_bench.models import find_model, load_tokenizer
from ksl_bench.pack import Pack
from ksl_bench.plan import Plan, make_plan
from ksl_bench.store import Store
from ksl_bench.suite import load_suite
from ksl_bench.training.engine import join_process_group
from ksl_bench.training.loop import Worker
from ksl_bench.trials import own_seconds
from ksl_bench.worker.builder import Builder

RECIPE = "frequency_k18"
"""Partial tuning whose ticket needs no other tuning: a trial is a ticket, a state, and nothing shared."""

WAYS = ("alone", "packed")


def plan_of(options: argparse.Namespace, *, seeds: range, model: str, pack: int = 1) -> Plan:
    changes = [
        f"model.name_or_path={model}",
        f"baselines=[{{recipe: {RECIPE}, train: {{steps: {options.steps}}}}}]",
        f"seeds={list(seeds)}",
        f"task.train_size={max(64, options.batch)}",
        "task.devtest_size=2",
        "evaluate.decoding.max_new_tokens=1",
        "evaluate.bootstrap_samples=100",
        f"train.micro_batch_size={options.batch}",
        f"train.global_batch_size={options.batch}",
        f"resources.pack={pack}",
        "resources.max_groups=1",
    ]
    suite = load_suite("quickstart", changes)
    return make_plan(suite, find_model(suite.model))


def own(plan: Plan, store: Store, keys: list[str]) -> float:
    """Return the seconds that artifacts themselves took."""
    records = [store.record(plan.works[key].kind, key) for key in keys]
    return sum(own_seconds(one) for one in records if one is not None)


def in_warm_workers(options: argparse.Namespace, folder: Path) -> float:
    """Return seconds beyond the work itself of each trial after the first, which pays the start."""
    plan = plan_of(options, seeds=range(1 + options.trials), model="tiny-base")
    store = Store(str(folder / "warm"))
    pool = RayPool(plan, store, groups=1)
    ended: dict[str, float] = {}

    def on_event(event: Any) -> None:
        if event.outcome is not None:
            ended[event.key] = time.perf_counter()

    try:
        tally = Execution(plan, store).run(pool, on_event)
    finally:
        pool.close()
    assert tally.complete, tally
    # One piece of work after another in one group: from the end of the first state on, all is warm. What
    # comes then are the other states and every evaluation, the first trial's with them.
    first = min(ended[one.key] for one in plan.works.values() if one.kind == "state")
    later = [key for key, at in ended.items() if at > first]
    return (max(ended.values()) - first - own(plan, store, later)) / options.trials


def job(config: dict[str, Any]) -> None:
    """One trial as a Train job of its own: the naive way."""
    builder = Builder(config["setting"], Store(config["storage"]), Worker())
    for work in config["works"]:
        builder.build(work)


def in_jobs(options: argparse.Namespace, folder: Path) -> list[float]:
    """Return seconds beyond the work itself of each trial."""
    seconds = []
    for seed in range(100, 100 + options.jobs):
        plan = plan_of(options, seeds=range(seed, seed + 1), model="tiny-base")
        store = Store(str(folder / f"job-{seed}"))
        order = {"ticket": 0, "state": 1, "evaluation": 2}
        works = sorted(plan.works.values(), key=lambda work: order[work.kind])
        begun = time.perf_counter()
        ray.train.torch.TorchTrainer(
            job,
            train_loop_config={"setting": plan.setting, "storage": store.root, "works": works},
            scaling_config=ray.train.ScalingConfig(num_workers=1),
            run_config=ray.train.RunConfig(name=f"job-{seed}", storage_path=str(folder / "ray")),
        ).fit()
        wall = time.perf_counter() - begun
        seconds.append(wall - own(plan, store, list(plan.works)))
    return seconds


class Bench:
    """T tickets that are ready to be trained, one by one or together."""

    def __init__(self, options: argparse.Namespace, size: int, model: str) -> None:
        """Plan as many trials."""
        join_process_group()
        self.device = torch.device(options.device)
        self.plan = plan_of(options, seeds=range(size), model=model, pack=size)
        self.works = tuple(one for one in self.plan.works.values() if one.kind == "state")

    def ready(self, folder: Path) -> tuple[Builder, Store]:
        """Return a worker whose base model is loaded and whose tickets are there, and its fresh store."""
        store = Store(str(folder))
        builder = Builder(self.plan.setting, store, Worker(device=self.device))
        for work in self.plan.works.values():
            if work.kind == "ticket":
                builder.build(work)
        return builder, store

    def make(self, builder: Builder, how: str) -> None:
        """Make the states."""
        if how == "packed":
            builder.build_pack(Pack(self.works))
            return
        for work in self.works:
            builder.build(work)

    def seconds(self, folder: Path, how: str) -> tuple[float, float]:
        """Return what all of it takes, and the optimizer steps."""
        builder, store = self.ready(folder)
        begun = time.perf_counter()
        self.make(builder, how)
        wall = time.perf_counter() - begun
        return wall, own(self.plan, store, [work.key for work in self.works])

    def memory(self, folder: Path, how: str) -> int:
        """Return the highest peak of the states above what the loaded base model takes, in bytes."""
        builder, store = self.ready(folder)
        measure.reset_peak_memory(self.device)
        before = measure.peak_memory(self.device)["allocated"] or 0
        self.make(builder, how)
        records = [store.record("state", work.key) for work in self.works]
        peaks = [one["cost"]["peak_memory"][0]["allocated"] for one in records if one is not None]
        return int(max(peaks) - before)


@dataclass(frozen=True)
class Compared:
    """T tickets one by one, and in one batch."""

    tickets: int
    alone_seconds: float
    packed_seconds: float
    alone_step_seconds: float
    packed_step_seconds: float
    alone_peak_mib: float
    packed_peak_mib: float


def in_packs(options: argparse.Namespace, folder: Path, model: str) -> list[Compared]:
    """Compare the two ways for each size, in turns."""
    rows = []
    for size in options.packs:
        bench = Bench(options, size, model)
        taken: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
        for repeat in range(options.repeats + 1):
            for way in WAYS if repeat % 2 else reversed(WAYS):
                seconds = bench.seconds(folder / f"{size}-{repeat}-{way}", way)
                if repeat:  # the first of each warms up
                    taken[way].append(seconds)
        whole = {way: statistics.median(one for one, _ in taken[way]) for way in WAYS}
        steps = {way: statistics.median(one for _, one in taken[way]) for way in WAYS}
        peaks = {way: memory_of(options, size, way, model) / 2**20 for way in WAYS}
        rows.append(
            Compared(
                tickets=size,
                alone_seconds=whole["alone"],
                packed_seconds=whole["packed"],
                alone_step_seconds=steps["alone"],
                packed_step_seconds=steps["packed"],
                alone_peak_mib=peaks["alone"],
                packed_peak_mib=peaks["packed"],
            )
        )
    return rows


def memory_of(options: argparse.Namespace, size: int, way: str, model: str) -> int:
    """Measure a way's memory in a process of its own."""
    line = [sys.executable, "-W", "ignore", __file__, "--memory-of", way, "--model", model]
    for name in ("steps", "batch", "device"):
        line += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(
        [*line, "--packs", str(size)],
        check=True,
        capture_output=True,
        text=True,
        # Else glibc keeps freed tensors of many MiB or not, by chance, and the peak varies by half.
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    return int(done.stdout.splitlines()[-1])


def random_llama(options: argparse.Namespace, folder: Path) -> str:
    """Make a larger random model with the tiny base's tokenizer; return its folder."""
    tokenizer: AutoTokenizer = load_tokenizer(find_model(load_suite("quickstart").model))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=options.vocabulary,
        hidden_size=options.width,
        intermediate_size=4 * options.width,
        num_hidden_layers=options.layers,
        num_attention_heads=max(1, options.width // 64),
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,  # type: ignore[attr-defined]
        eos_token_id=tokenizer.eos_token_id,  # type: ignore[attr-defined]
    )
    place = folder / "random-llama"
    LlamaForCausalLM(config).save_pretrained(place)
    tokenizer.save_pretrained(place)  # type: ignore[attr-defined]
    return str(place)


def overheads(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Measure a trial's overhead both ways."""
    connect(None)
    try:
        warm = in_warm_workers(options, folder)
        jobs = statistics.median(in_jobs(options, folder))
    finally:
        disconnect()
    return {
        "warm_overhead_seconds": warm,
        "job_overhead_seconds": jobs,
        "jobs_over_warm": jobs / warm if warm > 0 else float("inf"),
    }


def tell(report: dict[str, Any]) -> None:
    if "jobs_over_warm" in report:
        print(f"overhead of a trial in warm workers: {report['warm_overhead_seconds']:.2f} s")
        print(f"overhead of a trial as a Train job:  {report['job_overhead_seconds']:.2f} s")
        print(f"ratio: {report['jobs_over_warm']:.0f}x")
    print(f"{'tickets':<9}{'':<8}{'seconds':>9}{'in steps':>10}{'extra MiB':>11}")
    for row in report["packs"]:
        for way in WAYS:
            print(
                f"{row['tickets']:<9}{way:<8}{row[f'{way}_seconds']:>9.2f}"
                f"{row[f'{way}_step_seconds']:>10.2f}{row[f'{way}_peak_mib']:>11.0f}"
            )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=8, help="in warm workers; 0 for packs alone")
    parser.add_argument("--jobs", type=int, default=3, help="trials as Train jobs")
    parser.add_argument("--packs", type=int, nargs="*", default=[4, 8])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--vocabulary", type=int, default=1500)
    parser.add_argument(
        "--width", type=int, default=0, help="of a random Llama; else the tiny base"
    )
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory-of", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--model", default="tiny-base", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    return options


def main() -> None:
    options = parse()
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    quiet_models()
    with tempfile.TemporaryDirectory(prefix="ksl-sweep-") as name:
        folder = Path(name)
        if options.memory_of is not None:
            bench = Bench(options, options.packs[0], options.model)
            print(bench.memory(folder, options.memory_of))
            return
        report: dict[str, Any] = {
            "options": vars(options),
            "hardware": measure.hardware(torch.device(options.device)),
            "versions": measure.package_versions(),
        }
        if options.trials and options.jobs:
            report |= overheads(options, folder)
        model = random_llama(options, folder) if options.width else options.model
        report["packs"] = [asdict(one) for one in in_packs(options, folder, model)]
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        tell(report)


if __name__ == "__main__":
    main()
