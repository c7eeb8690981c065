"""The commands of the cluster page, on a machine that has never seen Ray: an empty HOME, on loopback."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from tests.faults.harness import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = (
    "--set baselines=[base,embedding] --set train.steps=4 --set task.train_size=16 "
    "--set task.devtest_size=2 --set evaluate.bootstrap_samples=100 --set resources.max_groups=1"
)
SMALL_SPACE = (
    "--set train.steps=4 --set task.train_size=16 --set task.dev_size=2 "
    "--set evaluate.bootstrap_samples=100 --set resources.max_groups=1 "
    "--set 'space.baselines={ks_partial_k18: {ticket.k: {grid: [2]}}}'"
)


def block(page, heading):
    """Return the commands of the first shell block under a heading."""
    text = (REPOSITORY / page).read_text().split(f"\n## {heading}\n")[1]
    return re.search(r"```bash\n(.*?)```", text, flags=re.S)[1].splitlines()


PAGE = block("docs/cluster.md", "Try it on this machine")


def bare(lines):
    """Return commands without comments and alignment."""
    return [" ".join(shlex.split(line, comments=True)) for line in lines]


def test_the_readme_shows_the_commands_of_the_page():
    assert bare(block("README.md", "On a cluster")) == bare(PAGE)[:-1]
    assert PAGE[-1] == "ray stop"


def script(port):
    """Return the page's commands with small work, a job server at `port`, and each submission twice.

    `ray stop` ends every Ray of the machine, so that one is left to the fixture.
    """
    lines = []
    for line in PAGE[:-1]:
        if "ray start --head" in line:
            own = f"--port {free_port()} --dashboard-port {port} --temp-dir $SHORT --num-cpus 2 "
            own += f"--dashboard-agent-listen-port {free_port()}"
            line = line.replace("ray start --head", f"ray start --head --disable-usage-stats {own}")
        if " -- run " in line:
            lines += [f"echo FIRST; {line} {SMALL}", f"echo SECOND; {line} {SMALL}"]
        elif " -- sweep " in line:
            lines += [f"echo FIRST; {line} {SMALL_SPACE}", f"echo SECOND; {line} {SMALL_SPACE}"]
        else:
            lines.append(line)
    return "set -e\n" + "\n".join(lines)


@pytest.fixture
def environment(tmp_path):
    """An empty home, and the end of all that was started with it."""
    short = tempfile.mkdtemp(prefix="kslp", dir="/tmp")
    yield {
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": str(REPOSITORY),
        "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{free_port()}",
        "SHORT": short,
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
    }
    ours = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get("HOME") == str(tmp_path):
                # An agent that has renamed itself shows no environment, but its raylet does.
                ours += [*process.children(recursive=True), process]
    for process in ours:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(ours, timeout=30)
    shutil.rmtree(short, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.nightly
def test_the_commands_of_the_page_work_where_there_is_no_token_yet(environment, tmp_path):
    done = subprocess.run(
        ["bash", "-c", script(environment["RAY_API_SERVER_ADDRESS"].rpartition(":")[2])],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert (tmp_path / ".ray/auth_token").stat().st_mode & 0o077 == 0
    token = (tmp_path / ".ray/auth_token").read_text()
    assert token not in done.stdout + done.stderr
    ran, again, swept, swept_again = done.stdout.split("FIRST")[1:] and [
        part for whole in done.stdout.split("FIRST")[1:] for part in whole.split("SECOND")
    ]
    assert "3 of 3 artifacts to make" in ran
    assert "nothing to do, all 3 artifacts are there" in again
    assert "1 trials of 1 seed" in swept
    assert "trials of" not in swept_again  # it did not even start
