"""Ray: a pool of long-lived Ray Train worker groups that pull work from the driver.

Each group is one `TorchTrainer` whose training function never trains one thing: it asks the desk (an
actor) for work, builds it, says how it went, and asks again. Start-up is paid once a group, not once a
run. When a worker dies, Ray Train restarts its group, and the desk hands out again what the group was
at; after too many losses the work counts as failed. Nothing is remembered here beyond the queue: what
is finished is in the store.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import ray
import ray.train
import ray.train.torch
from ray._private import ray_constants
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ksl_bench.benchmark import Event
from ksl_bench.config import ResourcesSpec, Suite
from ksl_bench.desk import Desk
from ksl_bench.errors import ClusterError
from ksl_bench.pack import Pack
from ksl_bench.plan import Plan, Setting, Work
from ksl_bench.store import Store
from ksl_bench.training.loop import Worker
from ksl_bench.worker import Builder, Outcome, classify

PASSED_ON = ("HF_", "NCCL_", "SACREBLEU", "AWS_", "CUDA_DEVICE_MAX_CONNECTIONS")
"""Prefixes of the environment variables that workers need."""

SECRET = ("TOKEN", "SECRET", "KEY", "PASSWORD", "CREDENTIAL")
"""What the name of a secret holds: its value goes by actor call, so that no log, dashboard or job
description shows it. The others go with Ray's runtime environment, since libraries read some of them
(HF_HOME) when they are imported."""


SIGN_SECONDS = 2.0
"""How often a group's worker is asked for a sign of life."""

GROWTH_SECONDS = 2.0
"""How often it is looked whether a cluster has grown."""

WAIT_SECONDS = 0.05
"""How long a group without work waits before it asks again."""


def serve(config: dict[str, Any]) -> None:
    """Work for the desk until it says to leave; runs on every worker of a group."""
    import torch
    import torch.distributed as dist

    desk, group = config["desk"], config["group"]
    os.environ.update(ray.get(desk.environment.remote()))
    context = ray.train.get_context()
    worker = Worker(
        rank=context.get_world_rank(),
        world_size=context.get_world_size(),
        device=ray.train.torch.get_device(),
    )
    if worker.device.type == "cuda":
        torch.cuda.set_device(worker.device)  # collective calls on objects use the current device
    builder = config["make_builder"](config["setting"], Store(config["storage"]), worker)
    if worker.leads:
        ray.get(desk.arrive.remote(group, ray.get_runtime_context().current_actor))
    while True:
        # The answer goes to all ranks even if it is to wait: a rank that waited in a collective call
        # for hours would run into its timeout.
        told: list[Any] = [ray.get(desk.next.remote(group)) if worker.leads else None]
        if worker.world_size > 1:
            dist.broadcast_object_list(told, src=0)
        if told[0] == "leave":
            return
        if told[0] == "wait":
            time.sleep(WAIT_SECONDS)
        else:
            _build(builder, told[0], desk, group)


def _build(builder: Any, work: Work | Pack, desk: Any, group: int) -> None:
    """Build an artifact, or a pack of them, and tell the desk; a group that cannot go on ends here."""

    def report_of(key: str) -> Any:
        return lambda progress: desk.progress.remote(key, progress)

    def tell(outcome: Outcome) -> None:
        if builder.worker.leads:
            ray.get(desk.done.remote(group, outcome))

    try:
        if isinstance(work, Pack):
            builder.build_pack(work, report_of, tell)
            return
        outcome = builder.build(work, report_of(work.key))
    except Exception as error:
        status, reason = classify(error)
        if isinstance(work, Pack):
            logging.getLogger(__name__).exception("a pack of %d failed", len(work.works))
            ray.get(desk.broke.remote(group))
        else:
            logging.getLogger(__name__).exception("%s %s failed", work.kind, work.key)
            ray.get(desk.done.remote(group, Outcome(work.key, status, reason)))
        # After an out-of-memory error the allocator is in pieces; other ranks may wait in a collective
        # call for this one. Ray Train makes the group anew.
        if status == "out_of_memory" or builder.worker.world_size > 1:
            raise
        return
    tell(outcome)


class RayPool:
    """As many warm worker groups as the cluster holds and the plan can use."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        *,
        groups: int,
        make_builder: Callable[[Setting, Store, Worker], Any] = Builder,
    ) -> None:
        """Start the groups; they come up while the caller goes on.

        Args:
            plan: What they will work on.
            store: Where artifacts live.
            groups: How many.
            make_builder: Called by every worker: what makes the artifacts.
        """
        self._desk: Any = beside_the_driver(Desk).remote(passed_on(secret=True), plan.setting)
        self._errors: list[BaseException] = []
        self._watch = _Watch(self._desk)
        self._threads = [
            threading.Thread(
                target=self._fit,
                args=(plan, store, group, make_builder),
                name=f"group-{group}",
                daemon=True,
            )
            for group in range(groups)
        ]
        for thread in self._threads:
            thread.start()

    def _fit(self, plan: Plan, store: Store, group: int, make_builder: Any) -> None:
        config = {
            "desk": self._desk,
            "group": group,
            "setting": plan.setting,
            "storage": store.root,
            "make_builder": make_builder,
        }
        try:
            _trainer(plan.suite, store, config).fit()
        except BaseException as error:
            self._errors.append(error)

    def submit(self, work: Work) -> None:
        """Queue a piece of work."""
        with _cluster_there():
            ray.get(self._desk.submit.remote(work))

    def events(self) -> Iterable[Event]:
        """Return what happened; waits a tenth of a second when nothing did."""
        with _cluster_there():
            self._watch.look()
            events: list[Event] = ray.get(self._desk.events.remote())
        if not events:
            if not any(thread.is_alive() for thread in self._threads):
                last = self._errors[-1] if self._errors else "they ended early"
                raise ClusterError(f"no worker group is left: {last}")
            time.sleep(0.1)
        return events

    def close(self) -> None:
        """Let the groups go; those that do not come to an end are left to Ray's shutdown."""
        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(self._desk.close.remote(), timeout=10)
        for thread in self._threads:
            thread.join(timeout=10)


def beside_the_driver(kind: type) -> Any:
    """Return a class of actors that live on the driver's node: no other node's loss takes them along."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(kind)


class _Watch:
    """Notices that a group's worker is gone.

    Ray Train starts such a group anew, but where its node went too that may take for ever: what it was
    at must not wait for it.
    """

    def __init__(self, desk: Any) -> None:
        self._desk = desk
        self._asked: list[tuple[int, Any, Any]] = []
        self._next = 0.0

    def look(self) -> None:
        """Ask every group's worker for a sign of life, from time to time, and tell the desk of the dead."""
        if time.monotonic() < self._next:
            return
        for group, member, answer in self._asked:
            if not ray.wait([answer], timeout=0)[0]:
                continue
            try:
                ray.get(answer)
            except ray.exceptions.RayActorError:
                ray.get(self._desk.lost.remote(group, member))
        members = ray.get(self._desk.members.remote())
        self._asked = [(group, one, one.__ray_ready__.remote()) for group, one in members.items()]
        self._next = time.monotonic() + SIGN_SECONDS


@contextlib.contextmanager
def _cluster_there() -> Iterator[None]:
    """Turn the loss of the cluster's head into an error that says so."""
    try:
        yield
    except (ray.exceptions.RayError, ConnectionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ClusterError(f"the cluster is lost: {reason}") from None


def _trainer(suite: Suite, store: Store, config: dict[str, Any]) -> ray.train.torch.TorchTrainer:
    resources = suite.resources
    per_worker = {"CPU": resources.cpus_per_worker}
    if resources.gpus_per_worker:
        per_worker["GPU"] = resources.gpus_per_worker
    return ray.train.torch.TorchTrainer(
        serve,
        train_loop_config=config,
        scaling_config=ray.train.ScalingConfig(
            num_workers=resources.workers_per_run,
            use_gpu=bool(resources.gpus_per_worker),
            resources_per_worker=per_worker,
            placement_strategy=resources.placement,
        ),
        run_config=ray.train.RunConfig(
            name=f"{suite.name}-group-{config['group']}",
            storage_path=store.location("ray"),
            # The desk counts losses by piece of work; the group itself may always come back.
            failure_config=ray.train.FailureConfig(max_failures=-1),
        ),
    )


def passed_on(*, secret: bool) -> dict[str, str]:
    """Return this process's variables that workers need: the secret ones, or the others."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(PASSED_ON) and any(word in name for word in SECRET) is secret
    }


def connect(address: str | None) -> None:
    """Join a Ray cluster, or start one on this machine that listens on loopback only.

    Raises:
        ClusterError: If the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    logging.getLogger("ray").setLevel(logging.ERROR)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            _stay_on_loopback()
            ray.init(include_dashboard=False, **options)
        else:
            # In a Ray job the job's own runtime environment is there already; the same variables again
            # are no conflict.
            os.environ.setdefault("RAY_OVERRIDE_JOB_RUNTIME_ENV", "1")
            environment = {"env_vars": passed_on(secret=False)}
            ray.init(address=address, runtime_env=environment, **options)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ClusterError(f"--address {address}: cannot reach Ray: {reason}") from None


def _stay_on_loopback() -> None:
    """Let what Ray starts here listen on 127.0.0.1 only; by itself it listens on every address.

    Ray has a switch for it, meant for systems whose firewall asks. It is read when Ray is imported, so
    here it is set for the processes to come and for this one.
    """
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False


def check_shared(store: Store) -> None:
    """Check that every node of the connected cluster sees the same storage.

    Raises:
        ClusterError: If a folder is not shared.
    """
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    if "://" in store.root or len(nodes) < 2:
        return
    with tempfile.NamedTemporaryFile(prefix=".shared-", dir=_made(store.root)) as probe:
        blind = [node for node in nodes if not _sees(node, probe.name)]
    if blind:
        where = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}
        raise ClusterError(
            f"--storage: {store.root} is not shared: node {where[blind[0]]} does not see what this one "
            "wrote there; name a shared folder or a URI"
        )


def _made(folder: str) -> str:
    os.makedirs(folder, exist_ok=True)
    return folder


def _sees(node: str, path: str) -> bool:
    """Tell whether a node sees a file."""
    where = NodeAffinitySchedulingStrategy(node, soft=False)
    look = ray.remote(num_cpus=0, scheduling_strategy=where)(os.path.exists)
    return bool(ray.get(look.remote(path)))


def disconnect() -> None:
    """Leave the cluster; one that was started here ends."""
    ray.shutdown()


def group_count(resources: ResourcesSpec, *, wanted: int, wait: float = 0.0) -> int:
    """Return how many groups to start on the connected cluster.

    Args:
        resources: What one group takes.
        wanted: More than so many would have nothing to do.
        wait: Seconds that a cluster may take to grow that does not say how far it can.

    Raises:
        ClusterError: If not even one fits, now or after the autoscaler has done what it may.
    """
    need = needs(resources)
    until = time.monotonic() + wait
    while (short := _shortage_now(resources, need)) is not None:
        if time.monotonic() >= until:
            raise ClusterError(short)
        time.sleep(GROWTH_SECONDS)
    there = ray.cluster_resources()
    fits = min(int(there.get(name, 0.0) // amount) for name, amount in need.items() if amount)
    return max(1, min(fits, wanted, resources.max_groups or fits or 1))


def _shortage_now(resources: ResourcesSpec, need: Mapping[str, float]) -> str | None:
    """Return what the cluster lacks, and cannot get by itself."""
    there, limit = ray.cluster_resources(), _autoscaler_limit()
    for name, amount in need.items():
        most = max(there.get(name, 0.0), limit.get(name, 0.0))
        if amount > most:
            return shortage(resources, name, amount, most)
    return None


def needs(resources: ResourcesSpec) -> dict[str, float]:
    """Return what one group takes."""
    return {
        "CPU": resources.workers_per_run * resources.cpus_per_worker,
        "GPU": resources.workers_per_run * resources.gpus_per_worker,
    }


def _autoscaler_limit() -> dict[str, float]:
    """Return what the cluster may grow to; nothing where it does not say."""
    from ray._private.state import state

    with contextlib.suppress(Exception):  # a private call: without it, what is there is the limit
        return dict(state.get_max_resources_from_cluster_config() or {})
    return {}


def shortage(resources: ResourcesSpec, name: str, amount: float, most: float) -> str:
    """Return the line that says what was asked for and what there is."""
    each = resources.cpus_per_worker if name == "CPU" else resources.gpus_per_worker
    return (
        f"resources.workers_per_run: {resources.workers_per_run} workers x {each:g} {name} = "
        f"{amount:g} {name}, but the cluster has at most {most:g}"
    )


def check_this_machine(resources: ResourcesSpec) -> None:
    """Check, before Ray is started, that one run fits on this machine.

    Raises:
        ClusterError: If it does not.
    """
    import torch

    there = {"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}
    for name, amount in needs(resources).items():
        if amount > there[name]:
            raise ClusterError(shortage(resources, name, amount, there[name]))
