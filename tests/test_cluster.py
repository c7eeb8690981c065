"""The desk and the limits, without Ray: what is handed out, handed out again, and refused."""

import pytest

from ksl_bench.cluster import ATTEMPTS, Desk, check_this_machine, passed_on, shortage
from ksl_bench.config import ResourcesSpec
from ksl_bench.errors import ClusterError
from ksl_bench.worker import Outcome


class Work:
    def __init__(self, key):
        self.key = key


def outcomes(desk):
    return [event.outcome for event in desk.events() if event.outcome is not None]


def test_work_goes_out_in_order_and_a_group_waits_when_there_is_none():
    desk = Desk({})
    desk.arrive(0)
    assert desk.next(0) == "wait"
    desk.submit(Work("a"))
    desk.submit(Work("b"))
    assert desk.next(0).key == "a"
    assert desk.next(1).key == "b"
    desk.done(0, Outcome("a", "finished"))
    assert outcomes(desk) == [Outcome("a", "finished")]
    assert desk.next(0) == "wait"
    desk.close()
    assert desk.next(0) == "leave"


def test_what_a_lost_group_held_is_handed_out_again_first():
    desk = Desk({})
    desk.submit(Work("a"))
    desk.submit(Work("b"))
    desk.next(0)
    desk.arrive(0)
    assert desk.next(1).key == "a"
    assert outcomes(desk) == []


def test_work_that_loses_its_worker_too_often_has_failed():
    desk = Desk({})
    desk.submit(Work("a"))
    for _ in range(ATTEMPTS):
        assert desk.next(0).key == "a"
        desk.arrive(0)
    assert desk.next(0) == "wait"
    (outcome,) = outcomes(desk)
    assert (outcome.status, outcome.reason) == ("failed", "its worker was lost 3 times")


def test_only_the_first_word_of_a_group_counts():
    desk = Desk({})
    desk.submit(Work("a"))
    desk.next(0)
    desk.done(0, Outcome("a", "out_of_memory", "rank 1"))
    desk.done(0, Outcome("a", "failed", "rank 0, which waited for it"))
    desk.arrive(0)
    assert [one.status for one in outcomes(desk)] == ["out_of_memory"]
    assert desk.next(0) == "wait"


def test_more_than_the_machine_has_is_refused_with_what_was_asked_and_what_there_is():
    with pytest.raises(ClusterError, match=r"500 workers x 2 CPU = 1000 CPU, but the cluster has"):
        check_this_machine(ResourcesSpec(workers_per_run=500, cpus_per_worker=2))
    assert "2 workers x 1 GPU = 2 GPU, but the cluster has at most 0" in shortage(
        ResourcesSpec(workers_per_run=2, gpus_per_worker=1), "GPU", 2, 0
    )


def test_secrets_are_told_apart_from_what_may_be_seen(monkeypatch):
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "HF_HOME", "NCCL_DEBUG", "SOME_PASSWORD"):
        monkeypatch.setenv(name, "x")
    assert {"HF_TOKEN", "AWS_SECRET_ACCESS_KEY"} <= passed_on(secret=True).keys()
    assert {"HF_HOME", "NCCL_DEBUG"} <= passed_on(secret=False).keys()
    assert not passed_on(secret=True).keys() & passed_on(secret=False).keys()
    assert "SOME_PASSWORD" not in passed_on(secret=True)  # not one that workers need
