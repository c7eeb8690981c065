"""Several executions over one pool: what two want is made once, and both hear of it."""

import threading
import time
from collections import deque

import pytest

from ksl_bench.benchmark import Execution
from ksl_bench.config import ModelSpec
from ksl_bench.errors import ClusterError
from ksl_bench.models import find_model
from ksl_bench.plan import make_plan
from ksl_bench.pool import Event
from ksl_bench.sharing import SharedPool
from ksl_bench.store import Store
from ksl_bench.suite import load_suite
from ksl_bench.worker.outcome import Outcome


class PaperPool:
    """Makes an empty record of what is submitted, one a call."""

    def __init__(self, store):
        self.store, self.queue, self.made = store, deque(), []

    def has_workers(self):
        return True

    def submit(self, work):
        self.queue.append(work)

    def events(self):
        time.sleep(0.005)
        if not self.queue:
            return []
        work = self.queue.popleft()
        self.made.append(work.key)
        self.store.finish(work.kind, work.key, {})
        return [Event("done", work.key, outcome=Outcome(work.key, "finished"))]

    def close(self):
        pass


def plan(*baselines):
    sizes = ["task.train_size=20", "task.devtest_size=5"]
    suite = load_suite("quickstart", [*sizes, f"baselines=[{', '.join(baselines)}]"])
    return make_plan(suite, find_model(ModelSpec(name_or_path="tiny-base")))


def test_two_executions_share_their_source_and_each_ends_complete(tmp_path):
    store = Store(str(tmp_path))
    pool = PaperPool(store)
    shared = SharedPool(pool)
    plans = [plan("embedding", "ks_partial_k4"), plan("embedding", "ks_partial_k18")]
    tallies = []

    def run(one):
        tallies.append(Execution(one, store).run(shared.client()))

    threads = [threading.Thread(target=run, args=(one,)) for one in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    shared.close()
    assert [one.complete for one in tallies] == [True, True]
    wanted = {key for one in plans for key in one.works}
    assert len(pool.made) == len(set(pool.made)) == len(wanted)


def test_a_pool_that_ends_is_told_to_every_client(tmp_path):
    class Broken(PaperPool):
        def events(self):
            raise ClusterError("no worker group is left")

    store = Store(str(tmp_path))
    shared = SharedPool(Broken(store))
    with pytest.raises(ClusterError, match="no worker group is left"):
        Execution(plan("embedding"), store).run(shared.client())
    shared.close()


def test_closing_ends_executions_that_wait_for_what_will_not_come(tmp_path):
    class Silent(PaperPool):
        def events(self):
            time.sleep(0.005)
            return []

    store = Store(str(tmp_path))
    shared, raised = SharedPool(Silent(store)), []

    def run():
        try:
            Execution(plan("embedding"), store).run(shared.client())
        except ClusterError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    shared.close()
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert str(raised[0]) == "the pool was closed"
