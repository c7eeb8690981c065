"""A real head with token authentication on loopback: jobs that finish, fail, keep secrets, are stopped."""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ksl_bench.jobs.client import Jobs
from tests.faults.harness import free_port

pytestmark = pytest.mark.slow

ADDRESS = "RAY_API_SERVER_ADDRESS"
"""The variable that names the head's job server."""
SMALL = [
    "--set",
    "baselines=[base, embedding]",
    "--set",
    "resources.max_groups=1",
    "--set",
    "train.steps=5",
    "--set",
    "task.train_size=32",
    "--set",
    "task.devtest_size=4",
    "--set",
    "evaluate.bootstrap_samples=100",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A head of its own token, which ends with the module."""
    home = tmp_path_factory.mktemp("home")
    short = Path("/tmp") / f"kslj{os.getpid()}"  # a socket's path is at most 107 bytes
    ray = Path(sys.executable).with_name("ray")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "HOME": str(home),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }
    port = free_port()
    head = subprocess.Popen(
        [
            *(str(ray), "start", "--head", "--block", "--num-cpus", "2", "--disable-usage-stats"),
            *("--port", str(free_port()), "--dashboard-port", str(port), "--temp-dir", str(short)),
            *("--dashboard-agent-listen-port", str(free_port())),
        ],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield {**environment, ADDRESS: f"http://127.0.0.1:{port}"}
    for process in [*psutil.Process(head.pid).children(recursive=True), head]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    head.wait(60)
    shutil.rmtree(short, ignore_errors=True)


def call(home, *arguments, timeout=240):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "ksl_bench.cli", *arguments],
        env=home,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def submit(home, *arguments):
    """Submit, and give a head that is still coming up two minutes."""
    end = time.monotonic() + 120
    early_words = ("no Ray job server answers", "no node of it has had a job agent")
    while True:
        done = call(home, "submit", "--address", home[ADDRESS], *arguments)
        early = any(words in done.stderr for words in early_words)
        if not early or time.monotonic() > end:
            return done
        time.sleep(1)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


def test_a_job_runs_a_suite_keeps_secrets_and_has_nothing_to_do_the_second_time(
    home, work, monkeypatch
):
    with_secret = {**home, "HF_TOKEN": "hf_not_to_be_seen", "NCCL_DEBUG": "WARN"}
    line = ["--working-dir", str(work), "--env", "HF_TOKEN", "--env", "NCCL_DEBUG"]
    line += ["--", "run", "quickstart", *SMALL, "--storage", str(work / "results")]
    first = submit(with_secret, *line)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "3 of 3 artifacts to make" in first.stdout
    assert "embedding" in first.stdout  # the leaderboard
    second = submit(with_secret, *line)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "nothing to do" in second.stdout
    monkeypatch.setenv("RAY_AUTH_TOKEN", home["RAY_AUTH_TOKEN"])
    told = Jobs(home[ADDRESS]).details(first.stdout.split()[0])
    assert told.runtime_env["env_vars"]["NCCL_DEBUG"] == "WARN"
    results = b"".join(
        path.read_bytes() for path in (work / "results").rglob("*") if path.is_file()
    )
    everything = str(told) + first.stdout + first.stderr + results.decode(errors="replace")
    for secret in ("hf_not_to_be_seen", home["RAY_AUTH_TOKEN"]):
        assert secret not in everything


@pytest.mark.nightly
def test_a_sweep_is_a_job_and_makes_nothing_the_second_time(home, work):
    space = """
    name: small
    suite: quickstart
    set: [task.train_size=32, task.dev_size=4, train.steps=4, evaluate.bootstrap_samples=100]
    seeds: [0]
    baselines: {ks_partial_k18: {ticket.k: {grid: [2, 4]}}}
    """
    (work / "small.yaml").write_text(space)
    line = ["--working-dir", str(work), "--", "sweep", str(work / "small.yaml")]
    line += ["--storage", str(work / "s")]
    first = submit(home, *line)
    assert first.returncode == 0, first.stdout + first.stderr
    made = {path: path.stat().st_mtime_ns for path in (work / "s").glob("*/*/*.json")}
    assert len([path for path in made if path.parts[-3] == "evaluations"]) == 3  # and the base
    second = submit(home, *line)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "devtest and fresh" in second.stdout  # the sweep's table, from what is there
    assert "artifacts made" not in second.stdout
    assert {path: path.stat().st_mtime_ns for path in (work / "s").glob("*/*/*.json")} == made


def test_a_failing_run_gives_its_exit_code_and_shows_why(home, work):
    done = submit(
        home,
        *("--working-dir", str(work), "--", "run", "quickstart", *SMALL),
        *("--set", "baselines=[base, full]", "--set", "train.learning_rate=1e30"),
        *("--storage", str(work / "failing")),
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "diverged" in done.stdout
    assert "exit code 1" in done.stderr


def test_what_the_cluster_lacks_is_refused_by_the_job_with_exit_code_2(home, work):
    done = submit(
        home,
        *("--working-dir", str(work), "--", "run", "quickstart", *SMALL),
        *("--set", "resources.workers_per_run=4", "--storage", str(work / "large")),
        *("--set", "train.micro_batch_size=1"),
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "4 workers x 1 CPU = 4 CPU, but the cluster has at most 2" in done.stdout
    assert not (work / "large/states").exists()


def test_another_token_is_one_line(home, work):
    done = submit({**home, "RAY_AUTH_TOKEN": "another"}, "--", "run", "quickstart")
    assert done.returncode == 2
    assert "wants another token" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_job_can_be_looked_at_and_stopped(home, work):
    done = submit(
        home,
        *("--working-dir", str(work), "--no-wait", "--", "run", "quickstart"),
        *("--set", "train.steps=100000", "--storage", str(work / "long")),
    )
    job = done.stdout.split()[0]
    told = call(home, "submit", "status", job, "--address", home[ADDRESS], "--json")
    assert json.loads(told.stdout)["status"] in ("PENDING", "RUNNING")
    stopped = call(home, "submit", "stop", job, "--address", home[ADDRESS])
    assert (stopped.returncode, stopped.stdout) == (0, f"{job} is being stopped\n")
    followed = call(home, "submit", "logs", job, "--address", home[ADDRESS], "--follow")
    assert followed.returncode == 1
    assert "was stopped" in followed.stderr
    unknown = call(home, "submit", "status", "no-such-job", "--address", home[ADDRESS])
    assert (unknown.returncode, unknown.stderr) == (
        2,
        f"error: JOB: {home[ADDRESS]} knows no job 'no-such-job'\n",
    )


def test_nothing_of_it_listens_beyond_loopback(home):
    ours = {
        one.pid
        for one in psutil.process_iter(["environ"])
        if (one.info["environ"] or {}).get("RAY_AUTH_TOKEN") == home["RAY_AUTH_TOKEN"]
    }
    listening = [
        one.laddr
        for one in psutil.net_connections("inet")
        if one.status == psutil.CONN_LISTEN and one.pid in ours
    ]
    assert listening
    assert {place.ip for place in listening} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
