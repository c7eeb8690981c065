"""The scheduler, with a pool that makes nothing: order, failures, what is retried and what is kept."""

import uuid
from collections import deque
from pathlib import Path

import pytest

from ksl_bench.benchmark import Execution
from ksl_bench.config import ModelSpec
from ksl_bench.models import find_model
from ksl_bench.plan import make_plan
from ksl_bench.pool import Event
from ksl_bench.store import Store
from ksl_bench.store.layout import record_path
from ksl_bench.suite import load_suite
from ksl_bench.worker.outcome import Outcome


class PaperPool:
    """Writes an empty record for each piece of work, or fails where it is told to."""

    def __init__(self, store, fail=None):
        self.store, self.fail, self.queue, self.made = store, fail or {}, deque(), []

    def has_workers(self):
        return True

    def submit(self, work):
        for kind, key in work.needs:
            assert self.store.is_finished(kind, key), "handed out before its source"
        self.queue.append(work)

    def events(self):
        work = self.queue.popleft()
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


def test_what_an_object_store_has_is_found(plan):
    store = Store(f"memory://{uuid.uuid4().hex}")
    evaluations = {row.evaluation_key for row in plan.rows}
    for key in evaluations:
        store.finish("evaluation", key, {})
    execution = Execution(plan, store)
    assert not execution.pending
    assert execution.tally.reused == len(evaluations)


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


@pytest.mark.parametrize("status", ["failed", "out_of_memory"])
def test_what_is_finished_stays_so_whatever_became_of_its_worker(plan, store, status):
    class Killed(PaperPool):
        """Its workers are killed between the record and their report."""

        def events(self):
            work = self.queue.popleft()
            self.store.finish(work.kind, work.key, {"made": 1})
            yield Event("done", work.key, outcome=Outcome(work.key, status, "its worker was lost"))

    tally = Execution(plan, store).run(Killed(store))
    assert (tally.complete, tally.made) == (True, len(plan.works))
    assert all(store.record(one.kind, key)["made"] == 1 for key, one in plan.works.items())


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


class LatePool(PaperPool):
    """Has no worker before another driver over the same store has made everything."""

    def __init__(self, store, plan):
        super().__init__(store)
        self.plan, self.up = plan, False

    def has_workers(self):
        return self.up

    def events(self):
        assert not list(Path(self.store.root).glob("leases/*")), "holds work that it cannot do"
        run(self.plan, Store(self.store.root))
        self.up = True
        return []


def test_a_pool_without_workers_keeps_no_work_from_another_driver(plan, store):
    pool = LatePool(store, plan)
    tally = Execution(plan, store).run(pool)
    assert tally.complete
    assert (tally.made, tally.reused, pool.made) == (0, len(plan.works), [])


class BreakingPool(PaperPool):
    """Finds sources broken when the evaluation of a baseline reads them; two works are under way at once."""

    def __init__(self, store, baseline, broken, fail=None):
        super().__init__(store, fail)
        self.baseline, self.broken = baseline, broken

    def events(self):
        """Do the newest of the two oldest works, so that the oldest is under way meanwhile."""
        if len(self.queue) > 1:
            self.queue[0], self.queue[1] = self.queue[1], self.queue[0]
        work = self.queue[0]
        if (work.kind, work.baseline.name) != ("evaluation", self.baseline) or not self.broken:
            yield from super().events()
            return
        self.made.append(self.queue.popleft().key)
        for kind, key in read_by(work):
            if kind == self.broken[0] and key:
                (Path(self.store.root) / record_path(kind, key)).unlink(missing_ok=True)
        self.broken = self.broken[1:]
        yield Event("done", work.key, outcome=Outcome(work.key, "failed", "was set aside"))


def run_breaking(plan, store, baseline, broken, fail=None):
    pool, told = BreakingPool(store, baseline, broken, fail), []
    return Execution(plan, store).run(pool, told.append), pool.made, told


def evaluation_of(plan, baseline):
    return next(
        key for key, work in plan.works.items()
        if (work.kind, work.baseline.name) == ("evaluation", baseline)
    )  # fmt: skip


@pytest.mark.parametrize("broken", [["state"], ["ticket"], ["state", "ticket"]])
def test_a_source_that_is_found_broken_is_made_again_and_then_what_wanted_it(plan, store, broken):
    tally, made, told = run_breaking(plan, store, "ks_partial_k18", broken)
    evaluation = evaluation_of(plan, "ks_partial_k18")
    again = {key for kind, key in read_by(plan.works[evaluation]) if kind in broken}
    assert made.count(evaluation) == 1 + len(broken)
    assert {key for key in made if made.count(key) == 2} - {evaluation} == again
    assert tally.complete
    assert tally.made == len(plan.works) + len(again)
    assert {event.key for event in told if event.kind == "reopened"} == again
    ends = [event.outcome.status for event in told if event.key == evaluation and event.outcome]
    assert ends == ["finished"]


def test_a_finished_source_of_an_earlier_run_is_made_again_with_what_it_wants(plan, store):
    run(plan, store)
    key = evaluation_of(plan, "ks_partial_k18")
    (Path(store.root) / record_path("evaluation", key)).unlink()
    tally, made, _ = run_breaking(plan, store, "ks_partial_k18", ["ticket"])
    assert tally.complete
    assert sorted(made) == sorted([key, plan.works[key].ticket_key, key])


def test_a_source_that_breaks_twice_under_the_same_work_fails_it(plan, store):
    tally, made, _ = run_breaking(plan, store, "ks_partial_k18", ["ticket", "ticket"])
    ((key, outcome),) = tally.failed.items()
    assert (made.count(key), outcome.reason) == (2, "was set aside")
    assert store.record("evaluation", key)["status"] == "failed"


class LosingPool(PaperPool):
    """Finds the embedding's state broken under one ticket, cannot make it again, and is at another ticket all
    the while."""

    def events(self):
        under_way = [work for work in self.queue if self.name(work) == ("ticket", "ks_partial_k18")]
        others = [work for work in self.queue if work not in under_way]
        self.queue = deque([*others, *under_way])
        if self.name(self.queue[0]) != ("ticket", "ks_partial_k4"):
            yield from super().events()
            return
        work = self.queue.popleft()
        ((kind, key),) = work.needs
        (Path(self.store.root) / record_path(kind, key)).unlink()
        self.fail = {(kind, "embedding"): "diverged"}
        yield Event("done", work.key, outcome=Outcome(work.key, "failed", "was set aside"))

    @staticmethod
    def name(work):
        return work.kind, work.baseline.name


def test_what_is_under_way_ends_though_its_source_is_lost_for_good(plan, store):
    pool = LosingPool(store)
    tally = Execution(plan, store).run(pool)
    assert [plan.works[key].baseline.name for key in tally.failed] == ["embedding"]
    made = {pool.name(plan.works[key]) for key in pool.made}
    assert {("ticket", "ks_partial_k18"), ("state", "ks_partial_k18")} <= made
    blocked = {pool.name(plan.works[key]) for key in tally.blocked}
    assert {("ticket", "ks_partial_k4"), ("evaluation", "ks_partial_k4")} <= blocked
    assert not list(Path(store.root).glob("leases/*"))


@pytest.fixture(scope="module")
def sequence_plan():
    suite = load_suite("sequence", ["seeds=[0]", "task.train_size=40", "task.devtest_size=10"])
    return make_plan(suite, find_model(suite.model))


@pytest.mark.parametrize("baseline", ["lora", "ks_disjoint_k18", "merge_ks_disjoint"])
def test_whatever_a_work_of_a_sequence_reads_is_made_again(sequence_plan, store, baseline):
    """Models that earlier steps left are made from all their states and tickets."""
    evaluations = [
        work for work in sequence_plan.works.values()
        if (work.kind, work.baseline.name) == ("evaluation", baseline)
    ]  # fmt: skip
    work = max(evaluations, key=lambda one: len(one.parents) + len(one.merged))
    read = {step.state_key for step in (*work.parents, *work.merged)}
    read |= {step.ticket.key for step in (*work.parents, *work.merged) if step.ticket.key}
    assert len(read) > 1
    assert read <= {key for _, key in work.needs}
