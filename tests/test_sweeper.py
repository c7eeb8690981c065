"""What a sweep that learns from scores remembers: the choices that it made, once it has ended."""

import pytest

from ksl_bench.models import find_model
from ksl_bench.space import load_space
from ksl_bench.store import Store
from ksl_bench.sweeper import _all_there
from ksl_bench.trials import Trial, Trials
from tests.test_winners import SMALL, put

ASHA = [
    *SMALL,
    "space.baselines={lora: {train.learning_rate: {grid: [0.01, 0.02, 0.03]}}}",
    "space.scheduler={name: asha, first_steps: 2, factor: 2}",
]
CHOSEN = [(0.01, 2), (0.02, 2), (0.02, 4)]
"""What was tried: the better of two went on, and the third never came to it."""


def trials_of(store, *changes):
    space = load_space("learning_rate", [*ASHA, *changes])
    return Trials(space, find_model(space.suite.model), store, retry=False)


@pytest.fixture
def store(tmp_path):
    """A store with such a sweep, whose scores are put there, not trained."""
    store = Store(str(tmp_path))
    trials = trials_of(store)
    for rate, steps in CHOSEN:
        trial = Trial("lora", {"train.learning_rate": rate}, steps)
        for key, work in trials.plan(trial).works.items():
            put(store, work.kind, key, score=100 * rate)
        trials.run(trial, pool=None)
    trials.ended = True
    store.plans.write("learning_rate", trials.record())
    return store


def test_a_second_call_finds_what_the_first_one_chose(store):
    again = trials_of(store)
    assert _all_there(again, store)
    assert again.found()["trials"] == store.plans.read("learning_rate")["sweep"]["trials"]


@pytest.mark.parametrize(
    "change",
    [
        "space.seeds=[0, 1]",
        "space.scheduler.factor=3",
        "train.warmup_ratio=0.5",
        "task.train_size=9",
    ],
)
def test_another_space_or_another_suite_is_another_sweep(store, change):
    assert not _all_there(trials_of(store, change), store)


def test_a_sweep_that_was_cut_off_proposes_anew(store):
    plan = store.plans.read("learning_rate")
    assert trials_of(store).stored(plan)
    assert not trials_of(store).stored({**plan, "sweep": {**plan["sweep"], "ended": False}})
    assert not trials_of(store).stored(None)


def test_a_plan_under_way_is_no_past_plan(store):
    """The one that had ended is kept; those written on the way are not."""
    trials = trials_of(store, "space.seeds=[0, 1]")
    for rate, steps in CHOSEN:
        trial = Trial("lora", {"train.learning_rate": rate}, steps)
        for key, work in trials.plan(trial).works.items():
            put(store, work.kind, key, score=1.0)
        trials.run(trial, pool=None)
        store.plans.write("learning_rate", trials.record())
    assert len(store.plans.past("learning_rate")) == 1


def test_of_equal_scores_the_first_name_wins_in_whatever_order_trials_end(tmp_path):
    winners = set()
    for rates in ([0.02, 0.03], [0.03, 0.02]):
        trials = trials_of(Store(str(tmp_path)))
        for rate in rates:
            trial = Trial("lora", {"train.learning_rate": rate}, 4)
            for key, work in trials.plan(trial).works.items():
                put(trials.store, work.kind, key, score=1.0)
            trials.run(trial, pool=None)
        winners.add(trials.found()["winners"]["lora"])
    assert winners == {"lora.learning_rate-0.02.steps-4"}
