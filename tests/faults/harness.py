"""What a fault needs: a cluster of several nodes on this machine, a driver, and an eye on the storage."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

SETTINGS = [
    "task.train_size=64",
    "task.devtest_size=8",
    "train.steps=60",
    "train.checkpoint_every_steps=5",
    "evaluate.decoding.max_new_tokens=12",
    "evaluate.bootstrap_samples=100",
    "baselines=[base, embedding, lora, ks_partial_k4]",
]
"""A suite of three tunings: long enough to be killed in, short enough for many faults."""


class Driver:
    """`ksl-bench run` as a process."""

    def __init__(
        self,
        storage: Path,
        *changes: str,
        address: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        line = [sys.executable, "-W", "ignore", "-m", "ksl_bench.cli", "run", "quickstart"]
        for one in [*SETTINGS, *changes]:
            line += ["--set", one]
        line += ["--json", "--storage", str(storage)]
        if address is not None:
            line += ["--address", address]
        # They live as long as the driver: what it said is read when it has ended.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            line,
            stdout=self._output,
            stderr=self._errors,
            env={**os.environ, **(environment or {})},
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def board(self, *, code: int = 0) -> list[dict[str, Any]]:
        """Wait for the end; return the leaderboard without costs."""
        self.process.wait(400)
        said = self.errors()
        assert self.process.returncode == code, said[-3000:]
        self._output.seek(0)
        shown = self._output.read()
        assert shown, said[-3000:]
        rows = json.loads(shown)
        return [{name: part for name, part in row.items() if name != "cost"} for row in rows]

    def errors(self) -> str:
        """Return what it said on stderr."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def kill(self) -> None:
        """Kill it, and what it started itself, as a crash of the machine would."""
        if self.process.poll() is None:
            kill_tree(self.pid)
        self.process.wait()

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._output.close()
        self._errors.close()


def run(storage: Path, *changes: str, code: int = 0, **where: Any) -> list[dict[str, Any]]:
    """Run a suite to its end; return its leaderboard without costs."""
    with Driver(storage, *changes, **where) as driver:
        return driver.board(code=code)


def kill_tree(pid: int) -> None:
    """Kill a process and all that it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


_ALIVE = """
import sys, time, ray
ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
for _ in range(60):
    if sum(node["Alive"] for node in ray.nodes()) >= int(sys.argv[2]):
        sys.exit(0)
    time.sleep(0.5)
sys.exit(1)
"""
"""Tells by its exit code whether so many nodes are in a cluster within half a minute."""


class Nodes:
    """A Ray cluster of raylets on this machine, with a token of its own."""

    def __init__(self, *, nodes: int = 2) -> None:
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self._folder = Path(tempfile.mkdtemp(prefix="kslf", dir="/tmp"))  # sockets want short paths
        token = f"token-of-{self._folder.name}"
        self.environment = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": token,
            "RAY_health_check_initial_delay_ms": "0",
            "RAY_health_check_period_ms": "500",
            "RAY_health_check_timeout_ms": "500",
            "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
        }
        self.head = self._start("--head", "--port", str(port), "--num-cpus", "0")
        self.workers = [self._join() for _ in range(nodes)]
        self._wait_for_nodes(1 + nodes)

    def _wait_for_nodes(self, count: int) -> None:
        """Wait until all have joined: a raylet on a busy machine takes its time, or gives up."""
        line = [sys.executable, "-W", "ignore", "-c", _ALIVE, self.address, str(count)]
        environment = {**os.environ, **self.environment}
        for _ in range(3):
            if subprocess.run(line, env=environment, check=False).returncode == 0:
                return
            self.workers = [
                self._join() if node.poll() is not None else node for node in self.workers
            ]
        raise AssertionError(f"not {count} nodes in {self.address}")

    def _join(self) -> subprocess.Popen[bytes]:
        return self._start("--address", self.address, "--num-cpus", "1")

    def _start(self, *how: str) -> subprocess.Popen[bytes]:
        head = "--head" in how
        line = [str(Path(sys.executable).with_name("ray")), "start", "--block", *how]
        # Every agent would listen on the same port: beside another Ray of this machine one has none.
        line += ["--disable-usage-stats", "--dashboard-agent-listen-port", str(free_port())]
        if head:
            line += ["--include-dashboard", "false", "--temp-dir", str(self._folder)]
        process = subprocess.Popen(
            line,
            env={**os.environ, **self.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: self._is_up(process))
        return process

    @staticmethod
    def _is_up(process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, "ray start ended"
        for one in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):  # it has ended meanwhile
                if one.name() == "raylet":
                    return True
        return False

    def train_workers(self) -> list[psutil.Process]:
        """Return the processes that train."""
        found = []
        for node in self.workers:
            for one in psutil.Process(node.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if "RayTrainWorker" in " ".join(one.cmdline()):
                        found.append(one)
        return found

    def node_of(self, process: psutil.Process) -> subprocess.Popen[bytes]:
        """Return the node that a process belongs to."""
        above = {one.pid for one in process.parents()}
        return next(node for node in self.workers if node.pid in above)

    def raylet(self, node: subprocess.Popen[bytes]) -> psutil.Process:
        """Return the raylet of a node."""
        children = psutil.Process(node.pid).children(recursive=True)
        return next(one for one in children if one.name() == "raylet")

    def __enter__(self) -> Nodes:
        return self

    def __exit__(self, *_: object) -> None:
        for node in [*self.workers, self.head]:
            kill_tree(node.pid)
            node.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def records(storage: Path) -> dict[str, int]:
    """Return the records of finished artifacts, each with when it was written."""
    found = {}
    for pattern in ("states/*/state.json", "tickets/*.json", "evaluations/*/result.json"):
        for path in storage.glob(pattern):
            with contextlib.suppress(FileNotFoundError, ValueError):
                if json.loads(path.read_bytes())["status"] == "finished":
                    found[str(path.relative_to(storage))] = path.stat().st_mtime_ns
    return found


class Eye:
    """Watches finished artifacts: how many are lost, how many are made a second time."""

    def __init__(self, storage: Path) -> None:
        self._storage = storage
        self._written: dict[str, set[int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.broken: set[str] = set()
        """Records that a fault itself breaks: they are to be made again."""

    def _look(self) -> None:
        for path, at in records(self._storage).items():
            self._written.setdefault(path, set()).add(at)

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            self._look()

    @property
    def lost(self) -> int:
        """Finished artifacts that are no longer there."""
        return len(self._written.keys() - records(self._storage).keys())

    @property
    def repeated(self) -> int:
        """Times that a finished artifact was made once more, though nothing was wrong with it."""
        return sum(
            len(times) - 1 for path, times in self._written.items() if path not in self.broken
        )

    @property
    def finished(self) -> int:
        """Artifacts that were ever seen finished."""
        return len(self._written)

    def __enter__(self) -> Eye:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()


def has_checkpoint(storage: Path) -> bool:
    """Tell whether a tuning is under way, and has something to go on from."""
    return any(storage.glob("states/*/checkpoints/step-*.json"))


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def wait_for(condition: Callable[[], Any], *, seconds: float = 180.0) -> Any:
    """Wait until something is true, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come to that")


@contextlib.contextmanager
def small_disk(*, mebibytes: int) -> Iterator[Path]:
    """Mount a file system of a given size; PermissionError where that is not allowed."""
    place = Path(tempfile.mkdtemp(prefix="ksl-disk-"))
    line = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(place)]
    try:
        done = subprocess.run(line, capture_output=True, check=False)
        if done.returncode:
            raise PermissionError("no file system can be mounted here")
        try:
            yield place
        finally:
            subprocess.run(["umount", "-l", str(place)], check=True)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def stop(process: psutil.Process) -> None:
    """Kill a process at once."""
    process.send_signal(signal.SIGKILL)
