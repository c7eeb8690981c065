"""A sweep, from the name of its search space to what won."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from rich.console import Console

from ksl_bench.cluster.connection import connect, disconnect
from ksl_bench.cluster.growth import Room
from ksl_bench.cluster.pool import RayPool
from ksl_bench.cluster.shared import check_shared
from ksl_bench.errors import ClusterError, StorageError
from ksl_bench.plan import Plan
from ksl_bench.pool import Event
from ksl_bench.runner import checked_plan, tell_loss
from ksl_bench.space import Space
from ksl_bench.store import Store
from ksl_bench.store.bundles import forget_bundles
from ksl_bench.tracking import TrackingThread
from ksl_bench.trials import Scored, Trial, Trials

TRIALS_A_GROUP = 3
"""Trials side by side for each worker group: while some wait for a shared source, others have work."""

GROWN_GROUPS = 8
"""Of the groups that a cluster may yet grow to, so many are kept in trials: each trial is a process."""


def run_sweep(
    space: Space,
    *,
    store: Store,
    address: str | None,
    retry: bool,
    console: Console,
    wait: float = 0.0,
) -> dict[str, Any]:
    """Check everything, then make and score what is missing of a sweep.

    Args:
        space: What is searched.
        store: Where artifacts live.
        address: A Ray cluster, None for this machine.
        retry: Make anew what ran out of memory, diverged or was skipped.
        console: Where progress is shown.
        wait: Seconds that the cluster may take to grow to what a run needs.

    Returns:
        What `ksl-bench sweep --json` prints: every trial, the winner of each baseline, and whether all of
        it is finished.

    Raises:
        KslBenchError: If the input is wrong; then nothing was started.
    """
    base = checked_plan(space.suite, store, address, space.tried)
    trials = Trials(space, base.setting.model, store, retry=retry)

    tracking = TrackingThread(store, space.suite, console, lambda: _write_down(trials, store))
    lost = False
    if _all_there(trials, store):
        trials.ended = True
    else:
        lost = _search(base, trials, store, address, wait, console, tracking)
        trials.ended = not lost
    if trials.scored:
        store.plans.write(space.spec.name, trials.record())
        tracking.finish()
    finished = all(one.status == "finished" for one in trials.scored.values())
    return {**trials.found(), "complete": finished and not lost}


def _write_down(trials: Trials, store: Store) -> bool:
    """Write what was scored so far, if anything: who looks finds it, and so does MLflow."""
    if trials.scored:
        with contextlib.suppress(StorageError):  # told by whoever makes the next artifact
            store.plans.write(trials.space.spec.name, trials.record())
    return bool(trials.scored)


def _all_there(trials: Trials, store: Store) -> bool:
    """Score all choices from the store, if they are known beforehand and nothing has to be made."""
    space = trials.space
    if space.is_adaptive:
        known = trials.stored(store.plans.read(space.spec.name))
    else:
        known = [Trial(name, one) for name in space.spec.baselines for one in space.choices(name)]
    if not known or not all(trials.is_there(one) for one in known):
        return False
    for one in known:
        trials.run(one, _NothingToDo())
    return True


class _NothingToDo:
    """A pool for executions that find everything in the store."""

    def has_workers(self) -> bool:
        return True

    def submit(self, work: Any) -> None:
        raise AssertionError(f"{work} was to be there")

    def events(self) -> list[Event]:
        return []

    def close(self) -> None:
        pass


def _search(
    base: Plan,
    trials: Trials,
    store: Store,
    address: str | None,
    wait: float,
    console: Console,
    tracking: TrackingThread,
) -> bool:
    """Let Ray Tune go through the space; return whether the cluster was lost on the way."""
    space = trials.space
    from ksl_bench.sweep.tuning import quiet, sweep

    quiet()
    wanted, seeds = trials_wanted(space), len(space.spec.seeds)
    connect(address)
    try:
        with Room(space.suite.resources, wanted=wanted, wait=wait) as room:
            groups = room.first()
            check_shared(store)
            forget_bundles(store, (store.plans.read(space.spec.name) or {}).get("rows", ()))
            console.print(
                f"{space.spec.name}: {wanted} trials of {seeds} seed{'s' if seeds > 1 else ''}, {groups} "
                f"worker groups, in {store.root}",
                markup=False,
                soft_wrap=True,
            )
            later = min(room.most, GROWN_GROUPS) if wait else groups
            pool = RayPool(base, store, groups=groups, room=room)
            tracking.start()
            try:
                sweep(
                    trials,
                    pool,
                    store=store,
                    width=max(TRIALS_A_GROUP, base.setting.pack) * max(groups, later),
                    on_event=lambda event: None,
                    on_trial=_Progress(space, console),
                )
            except (ClusterError, StorageError) as error:  # no fault of the input
                tell_loss(console, error)
                return True
            finally:
                pool.close()
    finally:
        disconnect()
    return False


def trials_wanted(space: Space) -> int:
    """Return how many choices a sweep makes over all its baselines."""
    return sum(map(space.budget, space.spec.baselines))


class _Progress:
    """Tells each score as it comes, and the best so far."""

    def __init__(self, space: Space, console: Console) -> None:
        self._console, self._wanted = console, trials_wanted(space)
        self._lock, self._done = threading.Lock(), 0
        self._what = f"{space.spec.objective.metric} {space.spec.objective.rule}"

    def __call__(self, scored: Scored) -> None:
        with self._lock:
            self._done += 1
            score = f"{scored.score:.1f}" if scored.status == "finished" else scored.status
            self._console.print(
                f"{self._done} of {self._wanted}: {scored.name}: {self._what} {score}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
