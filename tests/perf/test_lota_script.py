"""The script that holds LoTA's memory against full fine-tuning's, with small sizes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "perf" / "lota.py"


@pytest.mark.slow
@pytest.mark.nightly
def test_the_optimizer_holds_the_kept_entries_and_nothing_else():
    sizes = ["--vocab", "300", "--hidden", "64", "--layers", "2", "--batch", "2"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPT), *sizes, "--device", "cpu", "--json"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = {row["way"]: row for row in json.loads(done.stdout)["ways"]}
    layer = 4 * 64 * 64 + 3 * 64 * (64 * 11008 // 4096)
    whole = 2 * layer + 2 * 300 * 64 + 5 * 64  # both embeddings, and the norms
    assert rows["full"]["trainable_parameters"] == whole
    for sparsity in (0.9, 0.99):
        row = rows[f"lota s={sparsity}"]
        assert row["trainable_parameters"] == round((1 - sparsity) * 2 * layer)
        assert row["optimizer_bytes"] == 2 * 4 * row["trainable_parameters"]
        assert row["optimizer_of_full"] == pytest.approx(row["parameters_of_full"])
