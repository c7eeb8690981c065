"""The desk and packs: what goes out together, and alone when a pack broke."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from ksl_bench.cluster import group as worker_side
from ksl_bench.desk import Desk
from ksl_bench.models import find_model
from ksl_bench.pack import Pack, pack_group
from ksl_bench.plan import make_plan
from ksl_bench.store import Store
from ksl_bench.suite import load_suite
from ksl_bench.training.loop import Worker
from ksl_bench.worker.outcome import Outcome

SMALL = ["task.train_size=8", "task.devtest_size=2", "resources.pack=4"]


def planned(*changes):
    suite = load_suite("quickstart", [*SMALL, *changes])
    return make_plan(suite, find_model(suite.model))


@pytest.fixture(scope="module")
def plan():
    return planned("seeds=[0, 1]")


def states(plan, *names):
    return [w for w in plan.works.values() if w.kind == "state" and w.baseline.name in names]


def open_desk(plan, works, *, groups=1):
    desk = Desk({}, plan.setting)
    for group in range(groups):
        desk.arrive(group, f"worker {group}")
    for work in works:
        desk.submit(work)
    return desk


def test_tickets_go_together_and_nothing_else_does(plan):
    works = [
        *states(plan, "full"),
        *states(plan, "ks_partial_k18", "ks_partial_k4"),
        *states(plan, "lora"),
    ]
    desk = open_desk(plan, works)
    assert desk.next(0) in states(plan, "full")
    assert desk.next(0) in states(plan, "full")
    pack = desk.next(0)
    assert isinstance(pack, Pack)
    assert set(pack.keys) == {one.key for one in states(plan, "ks_partial_k18", "ks_partial_k4")}
    assert desk.next(0) in states(plan, "lora")


def test_groups_share_what_could_be_one_pack(plan):
    desk = open_desk(plan, states(plan, "ks_partial_k18", "ks_partial_k4"), groups=2)
    assert [len(desk.next(group).works) for group in (0, 1)] == [2, 2]


def test_a_pack_is_no_larger_than_asked_for():
    plan = planned("seeds=[0, 1, 2, 3, 4, 5]")
    desk = open_desk(plan, states(plan, "ks_partial_k18"))
    assert [len(desk.next(0).works), len(desk.next(0).works)] == [4, 2]


@pytest.mark.parametrize("how", ["lost", "killed for memory", "broke", "arrive"])
def test_what_was_in_a_broken_pack_goes_out_alone_and_counts_no_loss(plan, how):
    works = states(plan, "ks_partial_k18", "ks_partial_k4")
    desk = open_desk(plan, works)
    pack = desk.next(0)
    first, *rest = pack.works
    desk.done(0, Outcome(first.key, "finished"))
    {
        "lost": lambda: desk.lost(0, "worker 0"),
        "killed for memory": lambda: desk.lost(0, "worker 0", "OutOfMemoryError"),
        "broke": lambda: desk.broke(0),
        "arrive": lambda: desk.arrive(0, "worker 1"),
    }[how]()
    again = [desk.next(0) for _ in rest]
    assert [one.work.key for one in again] == [one.key for one in rest]
    assert desk.next(0) == "wait"
    outcomes = [event.outcome for event in desk.events() if event.outcome is not None]
    assert outcomes == [Outcome(first.key, "finished")]


def test_a_second_rank_that_tells_of_the_same_break_changes_nothing(plan):
    desk = open_desk(plan, states(plan, "ks_partial_k18"))
    desk.next(0)
    desk.broke(0)
    alone = desk.next(0)
    desk.broke(0)
    assert desk.next(0).work.key != alone.work.key
    assert desk.next(0) == "wait"


@pytest.mark.parametrize(
    "change",
    [
        "resources.zero_stage=1",
        "resources.pack=1",
        "baselines.ks_partial_k18.train.gradient_checkpointing=true",
        "baselines.ks_partial_k18.sides=both",
    ],
)
def test_what_cannot_be_packed_is_done_alone(change):
    plan = planned(change)
    (work,) = states(plan, "ks_partial_k18")
    assert pack_group(work, plan.setting) is None


def test_learning_rates_may_differ_and_lengths_may_not(plan):
    (work, *_) = states(plan, "ks_partial_k18")

    def changed(**fields):
        train = work.baseline.train.model_copy(update=fields)
        return replace(work, baseline=work.baseline.model_copy(update={"train": train}))

    group = pack_group(work, plan.setting)
    assert group is not None
    assert pack_group(changed(learning_rate=0.5, schedule="cosine"), plan.setting) == group
    assert pack_group(changed(steps=7), plan.setting) != group


def test_packing_is_no_part_of_what_a_state_is(plan):
    alone = planned("seeds=[0, 1]", "resources.pack=1")
    assert alone.works.keys() == plan.works.keys()


class Remote:
    """An actor's methods as Ray has them, done at once."""

    def __init__(self, actor):
        self._actor = actor

    def __getattr__(self, name):
        return SimpleNamespace(remote=getattr(self._actor, name))


class Builder:
    """Ends the first state of a pack, then does as told."""

    worker = Worker()

    def __init__(self, error):
        self.error = error

    def build_pack(self, pack, report_of, tell):
        tell(Outcome(pack.keys[0], "finished"))
        report_of(pack.keys[0])({"step": 1})
        if self.error is not None:
            raise self.error
        for key in pack.keys[1:]:
            tell(Outcome(key, "diverged", "the loss is nan at step 4"))

    def build(self, work, report):
        return Outcome(work.key, "finished")


@pytest.fixture
def worker_group(plan, monkeypatch, tmp_path):
    """Return a desk that holds four states, and what a group does with what it is handed."""
    monkeypatch.setattr(worker_side.ray, "get", lambda answer: answer)
    desk = open_desk(plan, states(plan, "ks_partial_k18", "ks_partial_k4"))
    remote, store = Remote(desk), Store(str(tmp_path / "store"))

    def work(error):
        worker_side._build(Builder(error), worker_side._ask(remote, 0, store), remote, 0)

    return desk, work


def outcomes_of(desk):
    return [event.outcome.status for event in desk.events() if event.outcome is not None]


def test_a_group_tells_how_each_state_of_a_pack_ended(worker_group):
    desk, work = worker_group
    work(None)
    assert outcomes_of(desk) == ["finished", "diverged", "diverged", "diverged"]
    assert desk.next(0) == "wait"


def test_a_group_goes_on_after_a_pack_that_failed(worker_group):
    desk, work = worker_group
    work(RuntimeError("broken"))
    assert outcomes_of(desk) == ["finished"]
    for _ in range(3):
        work(None)
    assert outcomes_of(desk) == ["finished"] * 3
    assert desk.next(0) == "wait"


@pytest.mark.parametrize(
    "error", [MemoryError("no room"), RuntimeError("CUDA error: device-side assert triggered")]
)
def test_a_group_that_a_pack_leaves_of_no_use_ends_and_the_states_are_replayed(worker_group, error):
    desk, work = worker_group
    with pytest.raises(type(error), match=str(error)):
        work(error)
    desk.arrive(0, "worker 1")
    assert outcomes_of(desk) == ["finished"]
    for _ in range(3):
        work(None)
    assert outcomes_of(desk) == ["finished"] * 3
