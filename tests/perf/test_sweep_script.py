"""The script that holds warm workers against Train jobs and packs against tickets one by one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "perf" / "sweep.py"


def report_of(*arguments):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPT), "--steps", "2", "--json", *arguments],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.nightly
def test_packs_are_held_against_tickets_one_by_one():
    (row,) = report_of("--trials", "0", "--packs", "2", "--repeats", "1")["packs"]
    assert row.pop("tickets") == 2
    assert all(value > 0 for value in row.values())


@pytest.mark.slow
@pytest.mark.nightly
def test_warm_workers_are_held_against_train_jobs():
    report = report_of("--trials", "2", "--jobs", "1", "--packs")
    assert report["jobs_over_warm"] > 1
    assert report["packs"] == []
