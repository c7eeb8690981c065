"""Two real drivers at once over one store: work done once in total, and the same board."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow

DRIVER = """
import json, sys
from ksl_bench.benchmark import Execution
from ksl_bench.in_process import InProcessPool
from ksl_bench.cli.common import quiet_models
from ksl_bench.leaderboard import as_json, read_board
from ksl_bench.models import find_model
from ksl_bench.plan import make_plan
from ksl_bench.store import Store
from ksl_bench.suite import load_suite

quiet_models()
store, suite = Store(sys.argv[1]), load_suite("quickstart", sys.argv[2:])
plan = make_plan(suite, find_model(suite.model))
store.plans.write(suite.name, plan.record())
tally = Execution(plan, store).run(InProcessPool(plan, store))
board = json.loads(as_json(read_board(store, suite.name)))
print(json.dumps({"made": tally.made, "of": len(plan.works), "complete": tally.complete, "board": board}))
"""
SETTINGS = [
    "task.train_size=64",
    "task.devtest_size=8",
    "train.steps=40",
    "train.checkpoint_every_steps=5",
    "evaluate.decoding.max_new_tokens=12",
    "evaluate.bootstrap_samples=100",
    "baselines=[lora, embedding, ks_partial_k4]",
]


def start(storage):
    line = [sys.executable, "-W", "ignore", "-c", DRIVER, str(storage), *SETTINGS]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result(driver):
    output, errors = driver.communicate(timeout=300)
    assert driver.returncode == 0, errors[-2000:]
    return json.loads(output.splitlines()[-1])


def without_costs(found):
    return [
        {name: value for name, value in row.items() if name != "cost"} for row in found["board"]
    ]


def wait_for(condition):
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to that")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return without_costs(result(start(tmp_path_factory.mktemp("undisturbed"))))


def test_two_drivers_share_the_work_and_agree(undisturbed, tmp_path):
    drivers = [start(tmp_path), start(tmp_path)]
    one, other = [result(driver) for driver in drivers]
    assert one["complete"]
    assert other["complete"]
    assert one["made"] + other["made"] == one["of"]
    assert without_costs(one) == without_costs(other) == undisturbed
    assert list((tmp_path / "leases").iterdir()) == []
    assert not list(tmp_path.rglob("*.corrupt-*"))


def test_a_killed_driver_is_succeeded_by_the_one_that_waits(undisturbed, tmp_path):
    first = start(tmp_path)
    wait_for(lambda: list(tmp_path.glob("states/*/checkpoints/step-*.json")))
    second = start(tmp_path)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*/*.json")}
    found = result(second)
    assert found["complete"]
    assert without_costs(found) == undisturbed
    after = {path: path.stat().st_mtime_ns for path in finished}
    assert after == finished
    assert list((tmp_path / "leases").iterdir()) == []
