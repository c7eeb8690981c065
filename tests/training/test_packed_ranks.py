"""A pack over two real workers: each trial as it is alone on both of them."""

import json
import os
import subprocess
import sys
from pathlib import Path


def test_a_pack_on_two_workers_has_the_losses_and_rows_of_runs_alone():
    script = Path(__file__).with_name("packed_ranks.py")
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*command, "--nproc-per-node", "2", str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith("TRIAL ")]
    reports = [json.loads(line.removeprefix("TRIAL ")) for line in lines]
    assert len(reports) == 2
    assert all(value < 1e-5 for report in reports for value in report.values())
