"""The job server's moods: a head that is not ready, one of another version, a user who presses Ctrl-C."""

import platform
from types import SimpleNamespace

import pytest
import ray

from ksl_bench.cli import submit as cli
from ksl_bench.errors import ClusterError
from ksl_bench.jobs import client
from ksl_bench.jobs.client import Job, Jobs

ADDRESS = "http://head:8265"


@pytest.fixture
def jobs(monkeypatch):
    """Jobs over a stub of Ray's client."""
    monkeypatch.setattr(client, "JobSubmissionClient", lambda address: SimpleNamespace())
    return Jobs(ADDRESS)


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on only while someone sleeps."""
    now = [0.0]
    monkeypatch.setattr(client.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(client.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def agents_after(jobs, attempts):
    """Let the head answer as Ray's does until so many submissions were tried."""
    tried = []

    def submit_job(**what):
        tried.append(what["submission_id"])
        if len(tried) <= attempts:
            raise RuntimeError(
                "Request failed with status code 503: No available agent to submit job, please try "
                "again later."
            )
        return what["submission_id"]

    jobs._client.submit_job = submit_job
    return tried


def job(tmp_path):
    return Job("run-quickstart", "true", tmp_path, {})


def test_a_head_that_is_still_coming_up_is_asked_again(jobs, clock, tmp_path):
    tried = agents_after(jobs, 3)
    assert jobs.submit(job(tmp_path)).startswith("run-quickstart-")
    assert len(tried) == 4
    assert len(set(tried)) == 1  # one job, however often it was sent


def test_a_head_that_never_comes_up_is_one_line(jobs, clock, tmp_path):
    agents_after(jobs, 10**9)
    with pytest.raises(
        ClusterError, match="has had a job agent for 60 s: is `ray status`"
    ) as caught:
        jobs.submit(job(tmp_path))
    assert 60 <= clock[0] <= 62
    assert len(caught.value.problems) == 1


def test_a_refusal_is_told_at_once(jobs, clock, tmp_path):
    def submit_job(**what):
        raise RuntimeError("Request failed with status code 400: no such entrypoint")

    jobs._client.submit_job = submit_job
    with pytest.raises(ClusterError, match="no such entrypoint"):
        jobs.submit(job(tmp_path))
    assert clock[0] == 0


def head_of(jobs, **versions):
    data = {"rayVersion": ray.__version__, "pythonVersion": platform.python_version(), **versions}
    jobs._client._do_request = lambda *_: SimpleNamespace(json=lambda: {"data": data})


def test_a_head_of_another_version_is_told_with_both(jobs):
    head_of(jobs, rayVersion="2.9.1", pythonVersion="3.9.18")
    assert jobs.differences() == [
        f"--address: {ADDRESS} runs Ray 2.9.1, here is {ray.__version__}",
        f"--address: {ADDRESS} runs Python 3.9.18, here is {platform.python_version()}",
    ]


def test_a_patch_level_is_no_difference(jobs):
    minor = ".".join(platform.python_version().split(".")[:2])
    head_of(jobs, pythonVersion=f"{minor}.99")
    assert jobs.differences() == []


class Interrupted:
    """Jobs that a user stops following."""

    def __init__(self):
        self.stopped = []

    def follow(self, job, show):
        show("step 1\n")
        raise KeyboardInterrupt

    def stop(self, job):
        self.stopped.append(job)


@pytest.mark.parametrize(
    ("terminal", "answer", "stopped", "said"),
    [
        (True, True, ["job-1"], "job-1 is being stopped; what is finished is kept"),
        (True, False, [], "job-1 goes on; ksl-bench submit stop job-1 ends it"),
        (False, True, [], "job-1 goes on; ksl-bench submit stop job-1 ends it"),
    ],
)
def test_ctrl_c_asks_whether_the_job_is_to_end(
    monkeypatch, capsys, terminal, answer, stopped, said
):
    asked = []
    monkeypatch.setattr(cli.sys, "stdin", SimpleNamespace(isatty=lambda: terminal))
    monkeypatch.setattr(cli.typer, "confirm", lambda *what, **how: asked.append(what) or answer)
    jobs = Interrupted()
    assert cli._follow(jobs, "job-1") == 130
    assert jobs.stopped == stopped
    assert len(asked) == terminal  # without a terminal there is nobody to ask
    assert capsys.readouterr().err == f"error: {said}\n"
