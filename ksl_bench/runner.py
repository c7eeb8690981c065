"""The main job, from a suite's name to finished artifacts; and what `plan` and `list` tell."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console

from ksl_bench.benchmark import Execution
from ksl_bench.cluster.capacity import check_this_machine
from ksl_bench.cluster.connection import connect, disconnect
from ksl_bench.cluster.growth import Room
from ksl_bench.cluster.pool import RayPool
from ksl_bench.cluster.shared import check_shared
from ksl_bench.config import Baseline, Suite
from ksl_bench.data.prompts import TEMPLATES
from ksl_bench.display import RunDisplay
from ksl_bench.errors import ClusterError, KslBenchError, StorageError, TrackingError
from ksl_bench.estimate import MEAN_TOKENS, estimate
from ksl_bench.evaluation.metrics import check_tokenizer_files
from ksl_bench.lottery.criteria import CRITERIA
from ksl_bench.lottery.entries import ENTRY_CRITERIA
from ksl_bench.methods import METHODS
from ksl_bench.models import find_model, skeleton
from ksl_bench.plan import Plan, make_plan
from ksl_bench.pool import Pool
from ksl_bench.preflight import adapter_problems, check_devices, check_model
from ksl_bench.registry import Registry
from ksl_bench.store import Store
from ksl_bench.suite import available, load_suite, read_yaml
from ksl_bench.tracking import Tracker, tracking_uri

SYNC_SECONDS = 15.0
"""How often MLflow is brought up to date while a suite runs."""


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
        with Room(suite.resources, wanted=execution.pending, wait=wait) as room:
            groups = room.first()
            check_shared(store)
            store.plans.write(suite.name, plan.record())
            console.print(
                f"{suite.name}: {execution.pending} of {len(plan.works)} artifacts to make, {groups} "
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
        with RunDisplay(plan, console, pending=execution.pending) as display:
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


class TrackingThread:
    """Keeps MLflow up to date beside a run; its troubles never stop the run."""

    def __init__(
        self,
        store: Store,
        suite: Suite,
        console: Console,
        is_planned: Callable[[], bool] = lambda: True,
    ) -> None:
        """Take what is followed, and where troubles are told.

        Args:
            store: Where it is.
            suite: What it is.
            console: Where troubles are told.
            is_planned: Asked each time whether the store has a plan of it by now; may write one.
        """
        self._store, self._suite, self._console = store, suite, console
        self._is_planned = is_planned
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="tracking", daemon=True)
        self._tracker: Tracker | None = None
        self._trouble: TrackingError | None = None

    def start(self) -> None:
        """Begin to follow; `finish` ends it."""
        self._thread.start()

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self.finish()

    def _sync(self) -> None:
        planned = self._is_planned()
        try:
            if self._tracker is None:
                self._tracker = Tracker(self._store, uri=self._suite.tracking.uri)
            if planned:
                self._tracker.sync(self._suite.name)
            self._trouble = None
        except TrackingError as error:
            self._trouble = error

    def _follow(self) -> None:
        # The first call also makes the database, which takes seconds: better now than at the end.
        self._sync()
        if self._trouble is not None:  # now, not only at the end: someone may start it meanwhile
            self._tell()
        while not self._stop.wait(SYNC_SECONDS):
            self._sync()

    def finish(self) -> None:
        """Bring MLflow up to date a last time, and say what it refused."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._sync()
        if self._trouble is not None:
            self._tell()

    def _tell(self) -> None:
        self._console.print(
            f"MLflow: {self._trouble}", style="yellow", markup=False, soft_wrap=True
        )
        self._console.print("Results do not need it; later: ksl-bench track --sync", markup=False)


def describe_plan(name: str, assignments: Sequence[str], store: Store) -> dict[str, Any]:
    """Describe what a suite would do, from configurations alone.

    Args:
        name: Of the suite, or its path.
        assignments: `--set`.
        store: Where the sweeps are whose winners the suite takes.

    Returns:
        What `ksl-bench plan --json` prints.
    """
    suite = load_suite(name, assignments, stored=store.plans.read)
    reference = find_model(suite.model, weights=False)
    data_problem: str | None = None
    plan: Plan | None = None
    try:
        plan = make_plan(suite, reference)
    except KslBenchError as error:  # the text may not be at hand yet; shapes still tell a lot
        data_problem = error.problems[0]
    examples = (
        max(data["train"]["examples"] for data in plan.data.values())
        if plan
        else suite.task.train_size
    )
    refused = adapter_problems(suite.baselines, lambda: skeleton(reference))
    if refused:
        raise KslBenchError(refused)
    rows = []
    for baseline in suite.baselines:
        one = estimate(
            baseline.at_step(0),
            make_skeleton=lambda: skeleton(reference),
            resources=suite.resources,
            training_examples=examples,
        )
        rows.append(
            {
                **one.as_dict(),
                "method": baseline.method,
                "needs": _needed_by(baseline),
                "seeds": len(suite.seeds),
                "states": _states_of(plan, baseline.name) if plan else None,
            }
        )
    note = (
        f"{len(plan.works)} artifacts for {len(plan.rows)} rows (shared ones once). Estimates from shapes, "
        f"not promises; examples of {MEAN_TOKENS} tokens"
        if plan
        else f"artifacts not planned: {data_problem}"
    )
    return {
        "suite": suite.name,
        "model": suite.model.name_or_path,
        "baselines": rows,
        "artifacts": [
            {
                "kind": work.kind,
                "key": work.key,
                "baseline": work.baseline.name,
                "condition": work.condition,
                "seed": work.seed,
                "needs": [key for _, key in work.needs],
            }
            for work in (plan.works.values() if plan else ())
        ],
        "data": dict(plan.data) if plan else None,
        "note": note,
    }


def _needed_by(baseline: Baseline) -> str | None:
    """Return what a baseline needs of another one."""
    if baseline.merge is not None:
        return f"states of {baseline.merge.of}"
    ticket = baseline.ticket
    return f"state of {ticket.source}" if ticket and ticket.source else None


def _states_of(plan: Plan, baseline: str) -> int:
    """Count what is trained for a baseline: every condition, seed and step, and what it needs of others."""
    rows = [row for row in plan.rows if row.baseline == baseline]
    return len({key for row in rows for kind, key in row.chain() if kind == "state"})


def _described(kind: str) -> Callable[[], dict[str, str]]:
    return lambda: {
        name: str(read_yaml(path).get("description", "")) for name, path in available(kind).items()
    }


def _first_lines(parts: Mapping[str, Any]) -> dict[str, str]:
    return {name: (part.__doc__ or "").strip().splitlines()[0] for name, part in parts.items()}


LISTINGS: Registry[Callable[[], dict[str, str]]] = Registry(
    "listing",
    {
        "suites": _described("suite"),
        "baselines": _described("baseline"),
        "spaces": _described("search space"),
        "methods": lambda: _first_lines(METHODS),
        "criteria": lambda: {
            **{name: one.description for name, one in CRITERIA.items()},
            **{name: one.description for name, one in ENTRY_CRITERIA.items()},
        },
        "prompts": lambda: {name: repr(one.text) for name, one in TEMPLATES.items()},
    },
)
