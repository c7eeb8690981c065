"""The script that drives stub runs through real scheduling, results and tracking."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "perf" / "scale.py"


@pytest.mark.slow
@pytest.mark.nightly
def test_every_stub_run_is_driven_and_the_board_is_read_over_all_results():
    line = [sys.executable, "-W", "ignore", str(SCRIPT), "--json", "--no-tracking"]
    done = subprocess.run(
        [*line, "--runs", "3", "9", "--results", "150"],
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout)
    assert [row["runs"] for row in report["runs"]] == [3, 9]
    for row in report["runs"]:
        assert all(row[f"{what}_ms_a_run"] > 0 for what in ("plan", "drive", "resume"))
    assert (
        report["leaderboard"]["results"] == 150
    )  # two directions of 15 baselines under five seeds
    assert report["leaderboard"]["pairs"] > 0
