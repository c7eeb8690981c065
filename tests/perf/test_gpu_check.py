"""The GPU check runs through the real loop; here on a CPU, with small sizes."""

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "perf" / "gpu_check.py"


WITHOUT_RAY_AND_MLFLOW = """
import importlib.machinery, runpy, sys

class Found(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        absent = name.split(".")[0] in ("ray", "mlflow")
        return None if absent else super().find_spec(name, path, target)

sys.meta_path = [Found if one is importlib.machinery.PathFinder else one for one in sys.meta_path]
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def check(*arguments):
    """Run the script as on a machine that has neither Ray nor MLflow, nor a GPU."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_RAY_AND_MLFLOW, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
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


def test_without_a_gpu_it_says_so():
    done = check()
    assert done.returncode == 3
    assert "no CUDA device" in done.stdout
