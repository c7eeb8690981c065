"""To a Ray cluster and away from it; what goes along with the workers."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

import ray
from ray._private import ray_constants
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ksl_bench.auth import UNSEALED, is_secret
from ksl_bench.errors import ClusterError

PASSED_ON = (
    *("HF_", "NCCL_", "GLOO_", "SACREBLEU", "CUDA_DEVICE_MAX_CONNECTIONS"),
    *("AWS_", "AZURE_", "GOOGLE_"),
)
"""Prefixes of the environment variables that workers need: libraries, and the keys of object stores."""

REACH_SECONDS = 10.0
"""How long a head may take to take a connection."""

PROCESSES = 16
"""Of Ray's workers on this machine may start at once, though it have fewer cores."""


def passed_on(*, secret: bool) -> dict[str, str]:
    """Return this process's variables that workers need: the secret ones, or the others.

    A secret one goes by actor call, so that no log, dashboard or job description shows it; so does all
    that a submission sealed, whatever its name. The others go with Ray's runtime environment, since
    libraries read some of them (HF_HOME) when they are imported.
    """
    sealed = os.environ.get(UNSEALED, "").split(",")
    return {
        name: value
        for name, value in os.environ.items()
        if (name in sealed or name.startswith(PASSED_ON))
        and (name in sealed or is_secret(name, value)) is secret
    }


def connect(address: str | None) -> None:
    """Join a Ray cluster, or start one on this machine that listens on loopback only.

    Raises:
        ClusterError: If the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    # One more process a group, which tells training of a node that will be taken away and restarts the group
    # then. Here a lost worker is noticed, and its work goes on from its checkpoint.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    logging.getLogger("ray").setLevel(logging.ERROR)
    if address is not None:
        _check_reachable(address)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            _stay_on_loopback()
            # By itself Ray starts one process a core at once, and warns when there are several times as many.
            # Of the trials of a sweep, and of the controllers of groups, nearly all only wait.
            at_once = str(max(PROCESSES, os.cpu_count() or 1))
            os.environ.setdefault("RAY_worker_maximum_startup_concurrency", at_once)
            # Left to itself Ray would join any cluster that runs on this machine.
            ray.init(address="local", include_dashboard=False, **options)
        else:
            # In a Ray job the job's own runtime environment is there already; the same variables again
            # are no conflict.
            os.environ.setdefault("RAY_OVERRIDE_JOB_RUNTIME_ENV", "1")
            environment = {"env_vars": passed_on(secret=False)}
            ray.init(address=address, runtime_env=environment, **options)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = str(error).strip().splitlines()[0]
        where = (
            "cannot start Ray here" if address is None else f"--address {address}: cannot reach Ray"
        )
        raise ClusterError(f"{where}: {reason}") from None


def _check_reachable(address: str) -> None:
    """Refuse a host and port where nothing listens: Ray would ask there for more than ten minutes.

    Raises:
        ClusterError: If nothing does.
    """
    host, colon, port = address.rpartition(":")
    if "://" in address or not colon or not port.isdecimal():
        return  # `auto`, Ray's client, or nothing that Ray knows: it says so
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ClusterError(f"--address {address}: cannot reach Ray: {reason}") from None


def _stay_on_loopback() -> None:
    """Let what Ray starts here listen on 127.0.0.1 only; by itself it listens on every address.

    Ray has a switch for it, meant for systems whose firewall asks. It is read when Ray is imported, so
    here it is set for the processes to come and for this one.
    """
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False


def disconnect() -> None:
    """Leave the cluster; one that was started here ends."""
    ray.shutdown()


def beside_the_driver(kind: type) -> Any:
    """Return a class of actors that live on the driver's node: no other node's loss takes them along."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(kind)
