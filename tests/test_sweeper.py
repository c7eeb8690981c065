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


def score(trials, choice, steps, score):
    """Put there what a trial of LoRA scored."""
    trial = Trial("lora", choice, steps)
    for key, work in trials.plan(trial).works.items():
        put(trials.store, work.kind, key, score=score)
    trials.run(trial, pool=None)


def score_rate(trials, rate, steps, value):
    score(trials, {"train.learning_rate": rate}, steps, value)


@pytest.fixture
def store(tmp_path):
    """A store with such a sweep, whose scores are put there, not trained."""
    store = Store(str(tmp_path))
    trials = trials_of(store)
    for rate, steps in CHOSEN:
        score_rate(trials, rate, steps, 100 * rate)
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
        score_rate(trials, rate, steps, 1.0)
        store.plans.write("learning_rate", trials.record())
    assert len(store.plans.past("learning_rate")) == 1


def test_of_equal_scores_the_first_name_wins_in_whatever_order_trials_end(tmp_path):
    winners = set()
    for rates in ([0.02, 0.03], [0.03, 0.02]):
        trials = trials_of(Store(str(tmp_path)))
        for rate in rates:
            score_rate(trials, rate, 4, 1.0)
        winners.add(trials.found()["winners"]["lora"])
    assert winners == {"lora.learning_rate-0.02.steps-4"}


def test_the_best_wins_not_the_longest_where_the_length_is_searched(tmp_path):
    space = "space.baselines={lora: {train.steps: {grid: [2, 4, 8]}}}"
    trials = trials_of(Store(str(tmp_path)), space, "space.scheduler={}")
    for steps, value in {2: 30.0, 4: 90.0, 8: 12.0}.items():
        score(trials, {"train.steps": steps}, None, value)
    assert trials.found()["winners"] == {"lora": "lora.steps-4"}


def test_with_asha_only_what_came_furthest_can_win(store):
    trials = trials_of(store)
    for rate, steps in CHOSEN:
        score_rate(trials, rate, steps, 100 * rate)
    score_rate(trials, 0.03, 2, 50.0)
    assert trials.found()["winners"] == {"lora": "lora.learning_rate-0.02.steps-4"}


def test_a_choice_counts_once_however_often_it_was_trained(tmp_path):
    trials = trials_of(Store(str(tmp_path)))
    for rate, steps in [(0.01, 2), (0.02, 2), (0.01, 4), (0.02, 4)]:
        score_rate(trials, rate, steps, 1.0)
    assert trials.found()["budgets"]["lora"]["trials"] == 2
    score_rate(trials, 0.03, 2, 1.0)
    trials.ended = True
    assert trials.found()["budgets"]["lora"]["trials"] == 3


def test_draws_that_repeat_are_choices_all_the_same(tmp_path):
    """Else two methods with the same budget would count as searched differently."""
    drawn = "space.search={algorithm: random, trials: 5}"
    trials = trials_of(Store(str(tmp_path)), drawn)
    score_rate(trials, 0.01, 2, 1.0)
    trials.ended = True
    assert trials.found()["budgets"]["lora"]["trials"] == 5
