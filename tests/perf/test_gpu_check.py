"""The GPU check runs through the real loop; here on a CPU, with small sizes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).resolve().parents[2] / "perf" / "gpu_check.py"


def check(*arguments):
    return subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_every_method_is_measured(tmp_path):
    report = tmp_path / "report.json"
    sizes = ["--layers", "1", "--hidden", "128", "--vocab", "200", "--batch", "2", "--length", "48"]
    done = check("--device", "cpu", *sizes, "--steps", "2", "--json", str(report))
    assert done.returncode == 0, done.stderr[-2000:]
    rows = {row["method"]: row for row in json.loads(report.read_text())["methods"]}
    assert rows.keys() == {"full", "embedding", "partial_tuning", "lora", "prefix"}
    assert rows["partial_tuning"]["trainable_parameters"] == 18 * 128
    assert rows["embedding"]["trainable_parameters"] == 200 * 128
    assert {row["status"] for row in rows.values()} == {"finished"}
    assert all(row["step_seconds"] > 0 for row in rows.values())


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so():
    done = check()
    assert done.returncode == 3
    assert "no CUDA device" in done.stdout
