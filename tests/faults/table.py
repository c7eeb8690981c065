"""The faults, each a function that makes it happen and tells what came of it."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.harness import (
    Driver,
    Eye,
    Nodes,
    free_port,
    has_checkpoint,
    kill_tree,
    records,
    run,
    small_disk,
    stop,
    wait_for,
)

Board = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a fault."""

    when: str
    """What was done, and when."""
    finished: int
    """Artifacts finished in the end."""
    lost: int
    repeated: int
    same: bool
    """Whether the leaderboard is that of an undisturbed run, costs and times apart."""
    note: str = ""


FAULTS: dict[str, Callable[[Path, Board], Row]] = {}


def fault(name: str) -> Callable[[Callable[[Path, Board], Row]], Callable[[Path, Board], Row]]:
    """Name a fault."""

    def put(function: Callable[[Path, Board], Row]) -> Callable[[Path, Board], Row]:
        FAULTS[name] = function
        return function

    return put


_started = contextlib.ExitStack()


@functools.cache
def cluster() -> Nodes:
    """Start a cluster of three raylets for the faults that leave it whole."""
    return _started.enter_context(Nodes())


def shared() -> dict[str, Any]:
    """Return where a driver finds that cluster."""
    return {"address": cluster().address, "environment": cluster().environment}


@atexit.register
def end_shared() -> None:
    """End the shared cluster, if there is one."""
    cluster.cache_clear()
    _started.close()


def undisturbed() -> Board:
    """Return the leaderboard of a run to which nothing happens."""
    with tempfile.TemporaryDirectory() as folder:
        return run(Path(folder), **shared())


def in_a_step(storage: Path) -> bool:
    """Tell whether something is finished, and something else under way with a checkpoint."""
    return has_checkpoint(storage) and bool(records(storage))


def told(when: str, eye: Eye, board: Board, wanted: Board, note: str = "") -> Row:
    """Return a row of the table."""
    return Row(when, eye.finished, eye.lost, eye.repeated, board == wanted, note)


@fault("a worker is killed")
def worker(storage: Path, wanted: Board) -> Row:
    before = cluster().train_workers()  # of an earlier driver, on their way out
    with Eye(storage) as eye, Driver(storage, **shared()) as driver:
        wait_for(lambda: in_a_step(storage))
        stop(next(one for one in cluster().train_workers() if one not in before))
        board = driver.board()
    return told("SIGKILL in a step, after a checkpoint", eye, board, wanted)


@fault("a node is lost")
def node(storage: Path, wanted: Board) -> Row:
    with Nodes() as nodes, Eye(storage) as eye:
        where: Any = {"address": nodes.address, "environment": nodes.environment}
        with Driver(storage, **where) as driver:
            wait_for(lambda: in_a_step(storage))
            victim = wait_for(nodes.train_workers)[0]
            stop(nodes.raylet(nodes.node_of(victim)))
            board = driver.board()
    return told("SIGKILL of one of two raylets in a step; it never comes back", eye, board, wanted)


@fault("the driver is killed")
def driver(storage: Path, wanted: Board) -> Row:
    with Eye(storage) as eye:
        with Driver(storage, **shared()) as first:
            wait_for(lambda: in_a_step(storage))
            first.kill()
        board = run(storage, **shared())
    return told("SIGKILL in a step; the same command again", eye, board, wanted)


@fault("the head is lost")
def head(storage: Path, wanted: Board) -> Row:
    with Eye(storage) as eye:
        with Nodes() as nodes:
            where: Any = {"address": nodes.address, "environment": nodes.environment}
            with Driver(storage, **where) as first:
                wait_for(lambda: in_a_step(storage))
                kill_tree(nodes.head.pid)
                begun = time.monotonic()
                first.process.wait(120)
                note = f"the driver ended {time.monotonic() - begun:.0f} s later"
                assert first.process.returncode != 0
        with Nodes() as nodes:
            board = run(storage, address=nodes.address, environment=nodes.environment)
    when = (
        "SIGKILL of all processes of the head in a step; then a new cluster over the same storage"
    )
    return told(when, eye, board, wanted, note)


@fault("MLflow is down")
def mlflow(storage: Path, wanted: Board) -> Row:
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    with Eye(storage) as eye:
        board = run(storage, f"tracking.uri={uri}", **shared())
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{storage}/server.db"),
            *("--artifacts-destination", str(storage / "server")),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        first, second = [runs_after_sync(storage, uri) for _ in range(2)]
    finally:
        kill_tree(server.pid)
        server.wait()
    same = board == wanted and first == second and len(first) == len(wanted)
    when = "for the whole run; then `track --sync`, twice"
    note = f"{len(first)} runs in MLflow, the same after both"
    return Row(when, eye.finished, eye.lost, eye.repeated, same, note)


def runs_after_sync(storage: Path, uri: str) -> dict[str, dict[str, float]]:
    """Bring MLflow up to date; return its runs with their metrics."""
    line = [sys.executable, "-W", "ignore", "-m", "ksl_bench.cli", "track", "--sync"]
    line += ["--uri", uri, "--storage", str(storage)]

    def synced() -> bool:
        return subprocess.run(line, capture_output=True, check=False).returncode == 0

    wait_for(synced, seconds=120)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiments = [one.experiment_id for one in client.search_experiments()]
    found = client.search_runs(experiments, "tags.kind = 'run'")
    return {one.info.run_id: one.data.metrics for one in found}


@fault("the disk is full")
def disk(storage: Path, wanted: Board) -> Row:
    with small_disk(mebibytes=96) as place:
        there = place / "results"
        with Eye(there) as eye:
            with Driver(there, **shared()) as first:
                wait_for(lambda: in_a_step(there))
                filler = place / "filler"
                fill(filler)
                first.process.wait(300)
                assert first.process.returncode == 1, first.errors()[-2000:]
                assert "No space left" in first.errors(), first.errors()[-2000:]
            filler.unlink()
            board = run(there, **shared())
        return told(
            "filled while checkpoints are written; then space, and the same command",
            eye,
            board,
            wanted,
        )


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


@fault("a checkpoint is broken")
def checkpoint(storage: Path, wanted: Board) -> Row:
    with Eye(storage) as eye:
        with Driver(storage, **shared()) as first:
            wait_for(lambda: in_a_step(storage))
            first.kill()
        parts = [one for one in storage.glob("states/*/checkpoints/*/*") if one.is_file()]
        parts = parts or [one for one in storage.glob("states/*/checkpoints/*") if one.is_file()]
        for number, part in enumerate(sorted(parts)):
            flip(part) if number % 2 else cut(part)
        assert parts
        board = run(storage, **shared())
    when = f"the driver killed, every file of {len(parts)} truncated or with a flipped bit"
    return told(when, eye, board, wanted)


@fault("a result is broken")
def result(storage: Path, wanted: Board) -> Row:
    with Eye(storage) as eye:
        run(storage, **shared())
        parts = files_of("ks_partial_k4", storage)
        records = [path for path in storage.glob("evaluations/*/result.json") if path not in parts]
        for path in parts:
            flip(path)
        cut(records[0])
        eye.broken = {record_of(path, storage) for path in [*parts, records[0]]}
        board = run(storage, **shared())
    when = "a bit flipped in a run's record, its outputs, its ticket and its state; another record cut short"
    return told(when, eye, board, wanted)


def files_of(baseline: str, storage: Path) -> list[Path]:
    """Return the files that a run left behind: its result, its outputs, its ticket, its state."""
    (row,) = [
        row for row in json.loads((storage / "suites/quickstart.json").read_text())["rows"]
        if row["baseline"] == baseline
    ]  # fmt: skip
    return [
        storage / f"evaluations/{row['evaluation']}/result.json",
        storage / f"evaluations/{row['evaluation']}/outputs.jsonl",
        storage / f"tickets/{row['ticket']}.safetensors",
        storage / f"states/{row['state']}/state.safetensors",
    ]


def record_of(path: Path, storage: Path) -> str:
    """Return the record that a file belongs to."""
    names = {"outputs.jsonl": "result.json", "state.safetensors": "state.json"}
    if path.parent.name == "tickets":
        path = path.with_suffix(".json")
    return str(path.with_name(names.get(path.name, path.name)).relative_to(storage))


def flip(path: Path) -> None:
    """Flip one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    """Cut a file short."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@fault("two drivers at once")
def two(storage: Path, wanted: Board) -> Row:
    where = shared()
    with Eye(storage) as eye, Driver(storage, **where) as one, Driver(storage, **where) as other:
        boards = [one.board(), other.board()]
    same = boards[0] == boards[1] == wanted
    return Row(
        "the same command twice, at the same time", eye.finished, eye.lost, eye.repeated, same
    )


@fault("a run is out of memory")
def memory(storage: Path, wanted: Board) -> Row:
    huge = "baselines.lora.lora_rank=1000000000"
    with Eye(storage) as eye:
        board = run(storage, huge, code=1, **shared())
    return without(
        "lora",
        "out_of_memory",
        eye,
        board,
        wanted,
        "one adapter of 10^9 ranks; the other rows are compared",
    )


@fault("a loss is NaN")
def nan(storage: Path, wanted: Board) -> Row:
    with Eye(storage) as eye:
        change = "baselines.lora.train.learning_rate=1e30"
        board = run(storage, change, code=1, **shared())
        with Driver(storage, change, **shared()) as again:
            assert again.board(code=1) == board
            assert "1 ended otherwise than finished; --retry makes them anew" in again.errors()
    return without(
        "lora",
        "diverged",
        eye,
        board,
        wanted,
        "one learning rate of 1e30; the other rows are compared",
    )


def without(name: str, status: str, eye: Eye, board: Board, wanted: Board, when: str) -> Row:
    """Return the row of a fault that one baseline does not survive, and all others do."""
    (gone,) = [row for row in board if row["baseline"] == name]
    same = measured(board, name) == measured(wanted, name)
    assert gone["status"] == status, (gone["status"], gone["reason"])
    return Row(when, eye.finished, eye.lost, eye.repeated, same, f"{status}: {gone['reason']}")


def measured(board: Board, without: str) -> Board:
    """Return what was measured of all rows but one; ranks and verdicts speak of that one, too."""
    return [
        {name: part for name, part in row.items() if name not in ("ranking", "verdicts")}
        for row in board
        if row["baseline"] != without
    ]


def disk_is_possible() -> bool:
    """Tell whether a small disk can be had here."""
    try:
        with small_disk(mebibytes=1):
            return True
    except (PermissionError, FileNotFoundError):
        return False
