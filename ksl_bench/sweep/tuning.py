"""Ray Tune over a search space.

Tune proposes choices and stops the worse ones; each trial is an actor that takes no resources, asks for
its score at a counter, and waits. The driver answers: it makes what a trial needs through the same warm
worker groups, store and keys as a suite. So neither Tune nor Ray is the memory of a sweep: called
again, it proposes the same choices, and what is in the store is there at once.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from ksl_bench.cluster.connection import beside_the_driver
from ksl_bench.errors import ClusterError
from ksl_bench.pool import Event
from ksl_bench.sharing import SharedPool
from ksl_bench.space import Domain, Space
from ksl_bench.store import Store
from ksl_bench.sweep.answerer import Answerer
from ksl_bench.sweep.asker import POLL_SECONDS, Asker, Counter
from ksl_bench.trials import Scored, Trial, Trials

SLOT = {"memory": 1 << 20}
"""What a trial takes of the cluster: Tune refuses nothing at all, and devices are for the work."""


def sweep(
    trials: Trials,
    pool: Any,
    *,
    store: Store,
    width: int,
    on_event: Callable[[Event], None],
    on_trial: Callable[[Scored], None],
) -> None:
    """Run all trials of a space over a pool of warm worker groups.

    Args:
        trials: Makes and scores them.
        pool: Of the connected cluster.
        store: Where Tune may leave its own files.
        width: Trials side by side.
        on_event: Told of every event of the pool.
        on_trial: Told of every score.

    Raises:
        ClusterError: If Tune fails, or no worker group is left.
    """
    counter: Any = beside_the_driver(Counter).remote()
    shared = SharedPool(pool)

    def score(trial: dict[str, Any]) -> dict[str, Any]:
        scored = trials.run(Trial(**trial), shared.client(), on_event)
        on_trial(scored)
        return asdict(scored)

    answerer = Answerer(counter, score, width)
    try:
        for tuner in _tuners(trials.space, counter, store, width):
            _fit(tuner, answerer.ended)
    finally:
        answerer.ended.set()
        shared.close()  # ends what still waits for work, and with it the answerer
        answerer.join(seconds=10)
        with contextlib.suppress(ray.exceptions.RayError):
            ray.kill(counter)
    if answerer.failure is not None:
        raise answerer.failure


def _fit(tuner: tune.Tuner, stop: threading.Event) -> None:
    """Run one tuner; a failure of the driver's own threads ends it, too."""
    found: list[Any] = []

    def fit() -> None:
        try:
            found.append(tuner.fit())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=fit, name="tune", daemon=True)
    thread.start()
    while thread.is_alive() and not stop.is_set():
        thread.join(timeout=POLL_SECONDS)
    if stop.is_set():
        return
    if isinstance(found[0], BaseException):
        raise ClusterError(f"Ray Tune ended: {found[0]}") from found[0]
    if found[0].errors:
        raise ClusterError(f"Ray Tune lost a trial: {found[0].errors[0]}")


def _tuners(space: Space, counter: Any, store: Store, width: int) -> Iterable[tune.Tuner]:
    """Yield one tuner for all baselines, or one each where their trials must not be mixed.

    A scheduler holds trials against each other, and a search algorithm learns from them.
    """
    names = list(space.spec.baselines)
    for group in [[one] for one in names] if space.is_adaptive else [names]:
        yield _tuner(space, group, counter, store, width)


def _tuner(
    space: Space, names: Sequence[str], counter: Any, store: Store, width: int
) -> tune.Tuner:
    spec = space.spec
    how: dict[str, Any] = {"num_samples": 1}
    settings: Any
    if spec.search.algorithm == "optuna":
        (name,) = names
        domains = {path: _domain(one) for path, one in spec.baselines[name].items()}
        settings = {**_fixed(space, name), "choice": domains}
        how = {"num_samples": spec.search.trials, "search_alg": _optuna(spec.search.seed)}
    else:
        settings = tune.grid_search(
            [
                {**_fixed(space, name), "choice": one}
                for name in names
                for one in space.choices(name)
            ]
        )
    return tune.Tuner(
        tune.with_resources(tune.with_parameters(Asker, counter=counter), SLOT),
        param_space={"trial": settings},
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            scheduler=_scheduler(space, names),
            max_concurrent_trials=width,
            reuse_actors=True,
            **how,
        ),
        run_config=tune.RunConfig(
            name=f"{spec.name}-{names[0] if len(names) == 1 else 'all'}",
            storage_path=store.location("tune"),
            verbose=0,
            # A trial's process only asks and waits: lost with its node, it asks again.
            failure_config=tune.FailureConfig(max_failures=3),
        ),
    )


def _fixed(space: Space, name: str) -> dict[str, Any]:
    return {"baseline": name, "rungs": rungs(space, name)}


def rungs(space: Space, name: str) -> list[int | None]:
    """Return the optimizer steps of each run of a choice; None for the baseline's own, once."""
    scheduler = space.spec.scheduler
    if scheduler.first_steps is None:
        return [None]
    last = space.full_steps(name)
    steps: list[int | None] = []
    now = scheduler.first_steps
    while now < last:
        steps.append(now)
        now *= scheduler.factor
    return [*steps, last]


def _scheduler(space: Space, names: Sequence[str]) -> TrialScheduler:
    spec = space.spec.scheduler
    if spec.first_steps is None:
        return FIFOScheduler()
    return ASHAScheduler(
        time_attr="step",
        max_t=space.full_steps(names[0]),
        grace_period=spec.first_steps,
        reduction_factor=spec.factor,
    )


def _optuna(seed: int) -> Any:
    from ray.tune.search.optuna import OptunaSearch

    return OptunaSearch(seed=seed)


def _domain(domain: Domain) -> Any:
    if domain.grid is not None:
        return tune.choice(list(domain.grid))
    if domain.loguniform is not None:
        return tune.loguniform(*domain.loguniform)
    assert domain.uniform is not None
    return tune.uniform(*domain.uniform)


def quiet() -> None:
    """Keep Tune from writing logs of its own beside the store, and from reporting use."""
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
