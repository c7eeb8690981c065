"""The script that compares partial tuning's step with others', with small sizes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "perf" / "partial_step.py"


@pytest.mark.slow
@pytest.mark.nightly
def test_partial_tuning_and_trainable_tokens_are_compared():
    sizes = ["--vocab", "300", "--hidden", "64", "--layers", "1", "--batch", "2", "--rounds", "2"]
    methods = ["--methods", "trainable_tokens", "--device", "cpu", "--json"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPT), *sizes, *methods],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads(done.stdout)["steps"]
    ways = [(row["method"], row["logits"]) for row in rows]
    assert ways == [
        ("partial_tuning", "labels"),
        ("trainable_tokens", "labels"),
        ("trainable_tokens", "all"),
    ]
    assert {row["trainable_parameters"] for row in rows} == {18 * 64}
    assert rows[0]["times"] == 1
    assert all(row["step_seconds"] > 0 and row["memory_bytes"] >= 0 for row in rows)
