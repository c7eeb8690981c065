"""What a group does with what it is handed."""

from types import SimpleNamespace

import pytest

from ksl_bench.cluster import group
from ksl_bench.desk import Desk
from ksl_bench.store import Store, key_of
from ksl_bench.training.loop import Worker
from ksl_bench.worker.outcome import Outcome
from tests.test_cluster import Remote


@pytest.fixture(autouse=True)
def answers_at_once(monkeypatch):
    monkeypatch.setattr(group.ray, "get", lambda answer: answer)


def work(name):
    return SimpleNamespace(kind="state", key=key_of({"name": name}))


def outcomes(desk):
    return [event.outcome for event in desk.events() if event.outcome is not None]


def test_every_rank_tells_the_desk_of_its_worker_the_leader_first(monkeypatch):
    desk, met = Desk({}), []
    monkeypatch.setattr(group.dist, "barrier", lambda: met.append(desk.members()))
    for rank in (0, 1):
        actor = SimpleNamespace(current_actor=f"rank {rank}")
        monkeypatch.setattr(group.ray, "get_runtime_context", lambda actor=actor: actor)
        group._arrive(Remote(desk), 7, Worker(rank=rank, world_size=2))
    assert desk.members() == {7: ["rank 0", "rank 1"]}
    assert met[0] == {7: ["rank 0"]}  # others join once the leader has come to the barrier


def test_what_was_finished_before_its_worker_was_lost_is_not_made_again(tmp_path):
    store, desk = Store(str(tmp_path)), Desk({})
    written, begun = work("written, but not reported"), work("under way")
    desk.submit(written)
    desk.submit(begun)
    for number in (0, 1):
        desk.next(number)
    store.finish("state", written.key, {}, {"state.safetensors": b"x"})
    for number in (1, 0):
        desk.arrive(number)
    assert group._ask(Remote(desk), 0, store) is begun
    assert outcomes(desk) == [Outcome(written.key, "finished")]
    assert group._ask(Remote(desk), 1, store) == "wait"


def test_what_ended_otherwise_is_made_again(tmp_path):
    """As with --retry: its record is of an earlier attempt."""
    store, desk = Store(str(tmp_path)), Desk({})
    one = work("one")
    store.fail("state", one.key, "out_of_memory", "then")
    desk.submit(one)
    desk.next(0)
    desk.arrive(0)
    assert group._ask(Remote(desk), 0, store) is one
    assert outcomes(desk) == []


class Broken:
    """A builder of a group of one worker: every work ends by the same error."""

    worker = Worker()

    def __init__(self, error):
        self.error = error

    def build(self, work, report):
        raise self.error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError("CUDA error: device-side assert triggered"), "failed"),
        (RuntimeError("CUDA error: out of memory"), "out_of_memory"),
        (MemoryError("no room"), "out_of_memory"),
    ],
)
def test_a_process_that_an_error_leaves_of_no_use_tells_how_its_work_ended_and_ends(error, status):
    desk, one = Desk({}), work("one")
    desk.submit(one)
    with pytest.raises(type(error), match=str(error)):
        group._build(Broken(error), desk.next(0), Remote(desk), 0)
    assert [(told.key, told.status) for told in outcomes(desk)] == [(one.key, status)]


def test_a_process_goes_on_after_any_other_error():
    desk, one = Desk({}), work("one")
    desk.submit(one)
    group._build(Broken(RuntimeError("shapes differ")), desk.next(0), Remote(desk), 0)
    assert [told.status for told in outcomes(desk)] == ["failed"]
