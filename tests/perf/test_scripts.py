"""The scripts of perf/, which no type checker reads."""

import subprocess
import sys
from pathlib import Path

PERF = Path(__file__).resolve().parents[2] / "perf"
SCRIPTS = sorted(PERF.glob("*.py"))


def test_every_script_finds_what_it_imports():
    code = "import importlib\n" + "\n".join(
        f"importlib.import_module({one.stem!r})" for one in SCRIPTS
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=PERF,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert len(SCRIPTS) > 5
