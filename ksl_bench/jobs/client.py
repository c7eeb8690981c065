"""Ray's job server: send a job, follow it, ask for it, stop it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from ksl_bench.auth import ray_token
from ksl_bench.errors import ClusterError

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
NAMES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Variables that name a cluster; Ray lets them win over what a caller says, here it is the reverse."""

LOGGERS = ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk")
"""They tell on stderr of every package and connection."""

POLL_SECONDS = 0.5

AGENT_SECONDS = 60.0
"""How long a head may take, after its job server answers, until it can start a job."""

NOT_READY = "try again later"
"""What the job server says meanwhile."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be run at the head of a cluster."""

    name: str
    """Begins the job's id."""
    entrypoint: str
    package: Path
    """Zip file of its working directory."""
    environment: Mapping[str, str]


class Jobs:
    """The jobs of one cluster."""

    def __init__(self, address: str | None) -> None:
        """Connect.

        Args:
            address: Of the job server, e.g. http://head:8265; else the environment's, else this machine.

        Raises:
            ClusterError: If nothing answers there, or it wants another token.
        """
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        named = next((os.environ[name] for name in NAMES if os.environ.get(name)), None)
        self.address = address or named or DEFAULT_ADDRESS
        with _reported(self.address), _without(NAMES):
            self._client = JobSubmissionClient(self.address)

    def differences(self) -> list[str]:
        """Return how the head differs from here in what a job depends on; a line each."""
        with _reported(self.address):
            answer = self._client._do_request("GET", "/api/v0/cluster_metadata").json()["data"]
        here = {"Ray": ray.__version__, "Python": platform.python_version()}
        there = {"Ray": answer["rayVersion"], "Python": answer["pythonVersion"]}
        return [
            f"--address: {self.address} runs {name} {there[name]}, here is {here[name]}"
            for name in here
            if _minor(there[name]) != _minor(here[name])
        ]

    def submit(self, job: Job) -> str:
        """Start a job and return its id.

        Raises:
            ClusterError: If the cluster refuses it.
        """
        stamp = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.urandom(2).hex()}"
        send = partial(
            self._client.submit_job,
            entrypoint=job.entrypoint,
            submission_id=f"{job.name}-{stamp}",
            runtime_env={"working_dir": str(job.package), "env_vars": dict(job.environment)},
        )
        with _reported(self.address):
            return str(self._when_ready(send))

    def _when_ready(self, send: Callable[[], str]) -> str:
        """Send, and again for a while where the head has just been started.

        Raises:
            ClusterError: If it is not ready by then.
        """
        until = time.monotonic() + AGENT_SECONDS
        while True:
            try:
                return send()
            except RuntimeError as error:
                if NOT_READY not in str(error):
                    raise
                if time.monotonic() >= until:
                    raise ClusterError(
                        f"--address: {self.address} answers, but no node of it has had a job agent for "
                        f"{AGENT_SECONDS:.0f} s: is `ray status` healthy there, with ray[default] installed, "
                        "and no other Ray of its machine on the agent's port (--dashboard-agent-listen-port)?"
                    ) from None
            time.sleep(2 * POLL_SECONDS)

    def details(self, job: str) -> JobDetails:
        """Return what the cluster knows of a job.

        Raises:
            ClusterError: If it knows no such job.
        """
        with _reported(self.address, job):
            return self._client.get_job_info(job)

    def logs(self, job: str) -> str:
        """Return all that a job has printed.

        Raises:
            ClusterError: If there is no such job.
        """
        with _reported(self.address, job):
            return str(self._client.get_job_logs(job))

    def stop(self, job: str) -> bool:
        """Ask a job to end; return False if it had ended before.

        Raises:
            ClusterError: If there is no such job.
        """
        with _reported(self.address, job):
            return bool(self._client.stop_job(job))

    def follow(self, job: str, show: Callable[[str], None]) -> JobDetails:
        """Pass on what a job prints until it has ended.

        Raises:
            ClusterError: If the cluster is lost.
        """
        shown = 0

        def pass_on(text: str) -> None:
            nonlocal shown
            shown += len(text)
            show(text)

        while True:
            with contextlib.suppress(RuntimeError):  # the connection broke; the job may well go on
                asyncio.run(self._tail(job, pass_on, skip=shown))
            details = self.details(job)
            if details.status.is_terminal():
                pass_on(self.logs(job)[shown:])
                return details
            time.sleep(POLL_SECONDS)

    async def _tail(self, job: str, pass_on: Callable[[str], None], *, skip: int) -> None:
        """Pass on a job's log as it grows, without the characters at its beginning shown before."""
        async for text in self._client.tail_job_logs(job):
            if fresh := text[skip:]:
                pass_on(fresh)
            skip = max(0, skip - len(text))


def ended(details: JobDetails) -> tuple[int, str]:
    """Return the exit code of a job that has ended, and a line about it."""
    if details.status == JobStatus.SUCCEEDED:
        return 0, "the job has finished"
    if details.status == JobStatus.STOPPED:
        return 1, "the job was stopped; what is finished is kept, the same command goes on"
    code = details.driver_exit_code or 1
    reason = " ".join(str(details.message or "").split())
    # The job's own last line says why, if it came to run at all.
    return code, f"the job failed with exit code {code}" + (
        "" if details.driver_exit_code else f": {reason[:500]}"
    )


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


@contextlib.contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    """Hide some environment variables for a while."""
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


@contextlib.contextmanager
def _reported(address: str, job: str | None = None) -> Iterator[None]:
    """Turn what Ray's client raises into one line."""
    try:
        yield
    except ClusterError:
        raise
    except AuthenticationError:
        lack = (
            f"--address: {address} wants another token than the one here"
            if ray_token()
            else "Ray's token is missing here"
        )
        raise ClusterError(
            f"{lack}; put the cluster's into ~/.ray/auth_token, or name its file in $RAY_AUTH_TOKEN_PATH"
        ) from None
    except ConnectionError:
        raise ClusterError(f"--address: no Ray job server answers at {address}") from None
    except Exception as error:  # requests, aiohttp and Ray each raise their own kinds
        text: Any = str(error).strip() or type(error).__name__
        if job is not None and "404" in text:
            raise ClusterError(f"JOB: {address} knows no job {job!r}") from None
        raise ClusterError(f"--address: {address}: {text.splitlines()[0][:500]}") from None
