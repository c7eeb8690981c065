"""The main job, from a suite to finished artifacts."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console

from ksl_bench.benchmark import Execution
from ksl_bench.cluster.capacity import check_this_machine
from ksl_bench.cluster.connection import connect, disconnect
from ksl_bench.cluster.growth import Room
from ksl_bench.cluster.pool import RayPool
from ksl_bench.cluster.shared import check_shared
from ksl_bench.config import Baseline, Suite
from ksl_bench.display import RunDisplay
from ksl_bench.errors import ClusterError, KslBenchError, StorageError
from ksl_bench.evaluation.metrics import check_tokenizer_files
from ksl_bench.models import find_model
from ksl_bench.plan import Plan, make_plan
from ksl_bench.pool import Pool
from ksl_bench.preflight import check_devices, check_model
from ksl_bench.store import Store
from ksl_bench.store.bundles import forget_bundles
from ksl_bench.tracking import TrackingThread, tracking_uri


def run_suite(
    suite: Suite,
    *,
    store: Store,
    address: str | None,
    retry: bool,
    console: Console,
    wait: float = 0.0,
) -> bool:
    """Check everything, then make what is missing of a suite.

    Args:
        suite: What is wanted.
        store: Where artifacts live.
        address: A Ray cluster, None for this machine.
        retry: Make anew what ran out of memory, diverged or was skipped.
        console: Where progress is shown.
        wait: Seconds that the cluster may take to grow to what a run needs.

    Returns:
        Whether every artifact of the suite is finished.

    Raises:
        KslBenchError: If the input is wrong; then nothing was started.
    """
    plan = checked_plan(suite, store, address)
    execution = Execution(plan, store, retry=retry)
    tracking = TrackingThread(store, suite, console)
    if not execution.pending:
        store.plans.write(suite.name, plan.record())
        standing = _standing(execution)
        console.print(f"{suite.name}: nothing to do, {standing}", markup=False, soft_wrap=True)
        tracking.finish()
        return execution.tally.complete
    connect(address)
    try:
        with Room(suite.resources, wanted=len(execution.pending), wait=wait) as room:
            groups = room.first()
            check_shared(store)
            record = plan.record()
            forget_bundles(store, record["rows"], execution.pending)
            store.plans.write(suite.name, record)
            console.print(
                f"{suite.name}: {len(execution.pending)} of {len(plan.works)} artifacts to make, {groups} "
                f"worker group{'s' if groups > 1 else ''} of {suite.resources.workers_per_run}, in "
                f"{store.root}",
                markup=False,
                soft_wrap=True,
            )
            with tracking:
                pool = RayPool(plan, store, groups=groups, room=room)
                lost = _execute(plan, pool, execution, console)
    finally:
        disconnect()
    return execution.tally.complete and not lost


def checked_plan(
    suite: Suite, store: Store, address: str | None, choices: Iterable[Baseline] = ()
) -> Plan:
    """Check all that can be wrong before anything starts, and plan a suite; `choices` as of `check_model`.

    Raises:
        KslBenchError: If the input is wrong.
    """
    check_tokenizer_files(suite.evaluate.metrics)
    tracking_uri(store, suite.tracking.uri)
    store.check_writable()
    check_devices(suite, here=address is None)
    plan = make_plan(suite, find_model(suite.model))
    check_model(plan, choices)
    if address is None:
        check_this_machine(suite.resources)
    return plan


def _standing(execution: Execution) -> str:
    """Return how a plan stands of which nothing can be made."""
    if execution.tally.complete:
        return f"all {len(execution.plan.works)} artifacts are there"
    failed = len(execution.tally.failed)
    return f"but {failed} ended otherwise than finished; --retry makes them anew"


def _execute(plan: Plan, pool: Pool, execution: Execution, console: Console) -> bool:
    """Make what is missing; return whether the cluster or the storage was lost on the way."""
    try:
        with RunDisplay(plan, console, pending=len(execution.pending)) as display:
            execution.run(pool, display)
    except (
        ClusterError,
        StorageError,
    ) as error:  # no fault of the input: what is finished is shown
        tell_loss(console, error)
        return True
    finally:
        pool.close()
    return False


def tell_loss(console: Console, error: KslBenchError) -> None:
    """Say that the surroundings gave way while a run was on, e.g. the cluster went or the disk is full."""
    console.print(
        f"{error}; what is finished is kept, the same command goes on",
        style="red",
        markup=False,
        soft_wrap=True,
    )
