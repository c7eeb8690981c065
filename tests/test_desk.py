"""The desk: what is handed out, handed out again, and given up."""

from ksl_bench.desk import ATTEMPTS, Desk
from ksl_bench.worker.outcome import Outcome


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
    assert desk.next(1).work.key == "a"
    assert outcomes(desk) == []


def test_work_that_loses_its_worker_too_often_has_failed():
    desk = Desk({})
    desk.submit(Work("a"))
    desk.next(0)
    for _ in range(1, ATTEMPTS):
        desk.arrive(0)
        assert desk.next(0).work.key == "a"
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


def test_what_a_dead_worker_held_is_handed_out_again_without_its_group():
    desk = Desk({})
    desk.arrive(0, "worker 1")
    desk.submit(Work("a"))
    desk.next(0)
    assert desk.members() == {0: ["worker 1"]}
    desk.lost(0, "worker 1")
    assert desk.members() == {}
    assert desk.next(1).work.key == "a"


def test_the_death_of_a_worker_that_was_replaced_meanwhile_changes_nothing():
    desk = Desk({})
    desk.arrive(0, "worker 1")
    desk.arrive(0, "worker 2")
    desk.submit(Work("a"))
    desk.next(0)
    desk.lost(0, "worker 1")
    assert desk.next(1) == "wait"
    assert desk.members() == {0: ["worker 2"]}


def test_a_group_is_lost_with_any_of_its_workers():
    desk = Desk({})
    desk.arrive(0, "leader")
    desk.join(0, "rank 1")
    desk.submit(Work("a"))
    desk.next(0)
    assert desk.members() == {0: ["leader", "rank 1"]}
    desk.lost(0, "rank 1")
    desk.lost(0, "leader")
    assert desk.next(1).work.key == "a"
    assert desk.next(1) == "wait"
    desk.arrive(0, "leader again")
    assert desk.members() == {0: ["leader again"]}


def test_what_a_worker_held_that_was_killed_for_memory_is_not_handed_out_again():
    desk = Desk({})
    desk.arrive(0, "worker 1")
    desk.submit(Work("a"))
    desk.next(0)
    desk.lost(0, "worker 1", "OutOfMemoryError: the node was running low on memory")
    (outcome,) = outcomes(desk)
    assert (outcome.key, outcome.status) == ("a", "out_of_memory")
    assert "low on memory" in outcome.reason
    desk.arrive(0, "worker 2")
    assert desk.next(0) == "wait"
