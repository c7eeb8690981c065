"""The scheduler, with a pool that makes nothing: order, failures, what is retried and what is kept."""

from collections import deque
from pathlib import Path

import pytest

from ksl_bench.benchmark import Event, Execution
from ksl_bench.config import ModelSpec
from ksl_bench.models import find_model
from ksl_bench.plan import make_plan
from ksl_bench.store import Store
from ksl_bench.store.layout import record_path
from ksl_bench.suite import load_suite
from ksl_bench.worker import Outcome


class PaperPool:
    """Writes an empty record for each piece of work, or fails where it is told to."""

    def __init__(self, store, fail=None):
        self.store, self.fail, self.queue, self.made = store, fail or {}, deque(), []

    def submit(self, work):
        self.queue.append(work)

    def events(self):
        work = self.queue.popleft()
        for kind, key in work.needs:
            assert self.store.is_finished(kind, key), "handed out before its source"
        self.made.append(work.key)
        status = self.fail.get((work.kind, work.baseline.name))
        if status is None:
            self.store.finish(work.kind, work.key, {})
            yield Event("done", work.key, outcome=Outcome(work.key, "finished"))
        else:
            yield Event("done", work.key, outcome=Outcome(work.key, status, "as told"))

    def close(self):
        pass


@pytest.fixture(scope="module")
def plan():
    sizes = ["task.train_size=40", "task.devtest_size=10"]
    suite = load_suite("quickstart", sizes)
    return make_plan(suite, find_model(ModelSpec(name_or_path="tiny-base")))


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


def run(plan, store, *, fail=None, retry=False):
    pool = PaperPool(store, fail)
    tally = Execution(plan, store, retry=retry).run(pool)
    return tally, pool.made


def test_everything_is_made_once_sources_first(plan, store):
    tally, made = run(plan, store)
    assert sorted(made) == sorted(plan.works)
    assert tally.complete
    assert tally.made == len(plan.works)


def test_a_second_run_makes_nothing(plan, store):
    run(plan, store)
    tally, made = run(plan, store)
    assert made == []
    assert tally.complete


def test_what_many_wait_for_goes_first(plan, store):
    _, made = run(plan, store)
    assert plan.works[made[0]].baseline.name == "embedding"


def test_a_failed_source_blocks_what_hangs_on_it_and_nothing_else(plan, store):
    tally, made = run(plan, store, fail={("state", "embedding"): "failed"})
    assert not tally.complete
    (failed,) = tally.failed
    assert plan.works[failed].baseline.name == "embedding"
    blocked = {plan.works[key].baseline.name for key in tally.blocked}
    assert blocked == {
        "embedding", "ks_partial_k4", "ks_partial_k18", "ks_partial_k64", "ks_transfer_k18",
        "ks_transfer_k64",
    }  # fmt: skip
    assert len(made) + len(tally.blocked) == len(plan.works)
    assert store.record("state", failed)["reason"] == "as told"


@pytest.mark.parametrize(
    ("status", "retry", "again"),
    [
        ("failed", False, True),
        ("out_of_memory", False, False),
        ("diverged", False, False),
        ("skipped", False, False),
        ("out_of_memory", True, True),
        ("diverged", True, True),
    ],
)
def test_what_would_end_the_same_way_is_made_anew_only_on_request(
    plan, store, status, retry, again
):
    run(plan, store, fail={("state", "lora"): status})
    tally, made = run(plan, store, retry=retry)
    names = [(plan.works[key].kind, plan.works[key].baseline.name) for key in made]
    assert names == ([("state", "lora"), ("evaluation", "lora")] if again else [])
    assert tally.complete is again


def test_a_state_that_was_cleaned_away_is_not_made_again_for_finished_rows(plan, store, tmp_path):
    run(plan, store)
    for key, work in plan.works.items():
        if work.kind == "state":
            (tmp_path / "store" / "states" / key / "state.json").unlink()
    _, made = run(plan, store)
    assert made == []


def read_by(work):
    """What an evaluation reads; other things that it needs only stand on its bill."""
    return ("state", work.state_key), ("ticket", work.ticket_key)


def test_a_source_that_only_stands_on_the_bill_is_made_again_where_it_is_gone(plan, store):
    """Finding a ticket costs the tuning that it was found in, which nobody knows without its record."""
    run(plan, store)
    row = next(one for one in plan.rows if one.baseline == "ks_partial_k18")
    for kind, key in (("state", row.source_state_key), ("evaluation", row.evaluation_key)):
        (Path(store.root) / record_path(kind, key)).unlink()
    assert run(plan, store)[1] == [row.source_state_key, row.evaluation_key]


class BreakingPool(PaperPool):
    """Finds a source broken whenever the evaluation of one baseline reads it, so many times."""

    def __init__(self, store, baseline, times):
        super().__init__(store)
        self.baseline, self.times = baseline, times

    def events(self):
        work = self.queue[0]
        if (work.kind, work.baseline.name) != ("evaluation", self.baseline) or not self.times:
            yield from super().events()
            return
        self.times -= 1
        self.made.append(self.queue.popleft().key)
        for kind, key in read_by(work):
            (Path(self.store.root) / record_path(kind, key)).unlink()
        yield Event("done", work.key, outcome=Outcome(work.key, "failed", "was set aside"))


def run_breaking(plan, store, times):
    pool, told = BreakingPool(store, "ks_partial_k18", times), []
    return Execution(plan, store).run(pool, told.append), pool.made, told


def test_a_source_that_is_found_broken_is_made_again_and_then_what_wanted_it(plan, store):
    tally, made, told = run_breaking(plan, store, times=1)
    twice = {key: plan.works[key] for key in made if made.count(key) == 2}
    (evaluation,) = [key for key, work in twice.items() if work.kind == "evaluation"]
    needs = {key for _, key in read_by(plan.works[evaluation])}
    assert twice.keys() == {evaluation, *needs}
    assert tally.complete
    assert tally.made == len(plan.works) + len(needs)
    assert {event.key for event in told if event.kind == "reopened"} == needs
    assert [event.outcome.status for event in told if event.key == evaluation] == ["finished"]


def test_a_finished_source_of_an_earlier_run_is_made_again_with_its_own_sources(plan, store):
    run(plan, store)
    (key,) = [
        key for key, work in plan.works.items()
        if (work.kind, work.baseline.name) == ("evaluation", "ks_partial_k18")
    ]  # fmt: skip
    (Path(store.root) / record_path("evaluation", key)).unlink()
    tally, made, _ = run_breaking(plan, store, times=1)
    assert tally.complete
    needs = [need for _, need in read_by(plan.works[key])]
    assert sorted(made) == sorted([key, *needs, key])


def test_a_source_that_breaks_twice_under_the_same_work_fails_it(plan, store):
    tally, made, _ = run_breaking(plan, store, times=2)
    ((key, outcome),) = tally.failed.items()
    assert (made.count(key), outcome.reason) == (2, "was set aside")
    assert store.record("evaluation", key)["status"] == "failed"
