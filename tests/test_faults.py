"""Real processes killed in the middle of a run: the next run goes on, and nothing is lost."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow

SETTINGS = [
    "task.train_size=64",
    "task.devtest_size=8",
    "train.steps=60",
    "train.checkpoint_every_steps=5",
    "evaluate.decoding.max_new_tokens=12",
    "evaluate.bootstrap_samples=100",
    "baselines=[base, embedding, lora, ks_partial_k4]",
]


def command(storage: Path, *extra: str) -> list[str]:
    line = [sys.executable, "-W", "ignore", "-m", "ksl_bench.cli", "run", "quickstart", "--json"]
    for one in [*SETTINGS, *extra]:
        line += ["--set", one]
    return [*line, "--storage", str(storage)]


def run(storage: Path, *extra: str) -> list[dict]:
    done = subprocess.run(
        command(storage, *extra), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def without_costs(rows: list[dict]) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "cost"} for row in rows]


def records(storage: Path) -> dict[str, float]:
    """When each finished artifact was written."""
    found = [*storage.glob("states/*/state.json"), *storage.glob("evaluations/*/result.json")]
    return {str(path): path.stat().st_mtime for path in found}


def wait_for(condition, *, seconds: float = 120.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come to that")


def has_checkpoint(storage: Path) -> bool:
    return any(storage.glob("states/*/checkpoints/step-*.json"))


def train_workers(driver: int) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(driver).children(recursive=True):
        try:
            if "RayTrainWorker" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def end(process: subprocess.Popen) -> None:
    """Stop a driver that a failed test left, and what it started."""
    if process.poll() is None:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return run(tmp_path_factory.mktemp("undisturbed"))


def test_a_worker_killed_in_a_step_is_replaced_and_the_board_is_the_same(undisturbed, tmp_path):
    driver = subprocess.Popen(
        command(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(lambda: has_checkpoint(tmp_path))
        victims = wait_for(lambda: train_workers(driver.pid))
        victims[0].send_signal(signal.SIGKILL)
        output, errors = driver.communicate(timeout=300)
    finally:
        end(driver)
    assert driver.returncode == 0, errors[-2000:]
    assert without_costs(json.loads(output)) == without_costs(undisturbed)


def test_a_killed_driver_leaves_what_is_finished_and_the_next_run_goes_on(undisturbed, tmp_path):
    driver = subprocess.Popen(
        command(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
    )
    try:
        wait_for(lambda: has_checkpoint(tmp_path) and records(tmp_path))
        os.kill(driver.pid, signal.SIGKILL)
    finally:
        end(driver)
    finished = records(tmp_path)
    assert finished
    rows = run(tmp_path)
    assert without_costs(rows) == without_costs(undisturbed)
    after = records(tmp_path)
    assert {path: after[path] for path in finished} == finished  # untouched


def test_a_diverged_run_stays_on_the_board_with_its_reason_and_the_rest_goes_on(tmp_path):
    settings = [
        "baselines.lora.train.learning_rate=1000",
        "baselines.lora.train.divergence_factor=1.1",
    ]
    done = subprocess.run(
        command(tmp_path, *settings), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1, done.stderr[-2000:]
    rows = {row["baseline"]: row for row in json.loads(done.stdout)}
    assert rows["lora"]["status"] == "diverged"
    assert "the loss is" in rows["lora"]["reason"]
    assert {rows[name]["status"] for name in ("base", "embedding", "ks_partial_k4")} == {"finished"}
    again = subprocess.run(
        command(tmp_path, *settings), capture_output=True, text=True, timeout=300, check=False
    )
    assert again.returncode == 1
    assert "1 ended otherwise than finished; --retry makes them anew" in again.stderr
