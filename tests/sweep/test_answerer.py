"""The driver's side of a sweep's counter, where calls of it fail."""

import threading
from types import SimpleNamespace

import pytest
import ray
from ray.exceptions import ActorUnavailableError

from ksl_bench.errors import ClusterError
from ksl_bench.sweep import answerer
from ksl_bench.sweep.answerer import Answerer
from ksl_bench.sweep.asker import Counter

PATIENCE = 60


class Remote:
    """The counter as an actor of which some calls fail after they ran, as where a reply is lost."""

    def __init__(self):
        self.counter = Counter()
        self.asked = SimpleNamespace(remote=lambda *given: (self.counter.asked, given))
        self.answer = SimpleNamespace(remote=lambda *given: (self.counter.answer, given))
        self.lost = 0
        """Calls that fail from now on."""
        self.calls = 0

    def get(self, call):
        method, given = call
        found = method(*given)
        self.calls += 1
        if self.lost:
            self.lost -= 1
            raise ActorUnavailableError("the connection broke", None)
        return found


@pytest.fixture
def remote(monkeypatch):
    one = Remote()
    monkeypatch.setattr(ray, "get", one.get)
    monkeypatch.setattr(answerer, "RETRY_SECONDS", 0.01)
    return one


def started(remote, score):
    return Answerer(remote, score, 2)


def closed(one):
    one.ended.set()
    one.join(PATIENCE)
    return not one._thread.is_alive()


def test_every_question_is_answered_once(remote):
    scored = []
    one = started(remote, lambda trial: scored.append(trial) or {"score": trial["n"]})
    answers = {}
    for n in range(3):
        remote.counter.ask(f"trial.{n}", {"n": n})
        while (found := remote.counter.fetch(f"trial.{n}")) is None:
            assert not one.ended.wait(0.01)
        answers[n] = found["score"]
    assert answers == {0: 0, 1: 1, 2: 2}
    assert closed(one)
    assert [trial["n"] for trial in scored] == [0, 1, 2]
    assert one.failure is None


def test_a_reply_that_is_lost_loses_no_question(remote):
    remote.lost = 2
    remote.counter.ask("trial.0", {"n": 7})
    one = started(remote, lambda trial: {"score": trial["n"]})
    while (found := remote.counter.fetch("trial.0")) is None:
        assert not one.ended.wait(0.01)
    assert found == {"score": 7}
    assert closed(one)
    assert one.failure is None


def test_a_counter_that_is_lost_ends_the_sweep_as_a_trouble_of_the_cluster(remote):
    remote.lost = 1000
    one = started(remote, lambda trial: {})
    assert one.ended.wait(PATIENCE)
    one.join(PATIENCE)
    assert isinstance(one.failure, ClusterError)
    assert "the sweep's counter does not answer: " in str(one.failure)
    assert remote.calls == answerer.TRIES


def test_a_score_that_cannot_be_made_ends_the_sweep_with_its_error(remote):
    lost = ClusterError("no worker group is left")

    def score(trial):
        raise lost

    remote.counter.ask("trial.0", {})
    one = started(remote, score)
    assert one.ended.wait(PATIENCE)
    one.join(PATIENCE)
    assert one.failure is lost


def test_what_is_lost_after_the_end_is_no_failure(remote):
    begun, released = threading.Event(), threading.Event()

    def score(trial):
        begun.set()
        released.wait(PATIENCE)
        remote.lost = 1000
        return {}

    remote.counter.ask("trial.0", {})
    one = started(remote, score)
    assert begun.wait(PATIENCE)
    one.ended.set()
    released.set()
    one.join(PATIENCE)
    assert not one._thread.is_alive()
    assert one.failure is None
