"""A storage that every node sees, also one that joins later."""

import os
import shutil
from types import SimpleNamespace

import pytest

from ksl_bench.cluster import group, pool, shared
from ksl_bench.desk import Desk
from ksl_bench.errors import ClusterError
from ksl_bench.store import Store
from tests.test_cluster import Remote


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


def test_a_probe_is_there_while_it_is_open(store):
    probe = shared.Probe(store)
    assert shared.sees(probe.path)
    assert probe.path.startswith(store.location("ray"))
    probe.close()
    assert not shared.sees(probe.path)


def test_a_probe_stays_young_and_there_while_a_pool_lives(monkeypatch, store):
    now = [0.0]
    monkeypatch.setattr(shared.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(pool.ray, "get", lambda answer: answer)
    running = pool.RayPool.__new__(pool.RayPool)
    running._desk, running._room = Remote(Desk({})), None
    running._probe = probe = shared.Probe(store)
    os.utime(probe.path, (0, 0))
    running._look_around()
    assert os.path.getmtime(probe.path) == 0  # seldom
    now[0] += 3600
    running._look_around()
    assert os.path.getmtime(probe.path) > 0
    shutil.rmtree(store.location("ray"))
    now[0] += 3600
    running._look_around()
    assert shared.sees(probe.path)


def test_a_probe_that_is_gone_ends_no_run(store):
    probe = shared.Probe(store)
    shutil.rmtree(store.location("ray"))
    probe.close()


def test_an_object_store_needs_no_probe():
    probe = shared.Probe(SimpleNamespace(root="s3://bucket/results"))
    assert probe.path is None
    assert shared.sees(None)


@pytest.mark.parametrize("blind", [None, "b"])
def test_every_node_that_is_there_is_asked(monkeypatch, store, blind):
    nodes = [
        {"NodeID": one, "NodeManagerAddress": f"10.0.0.{one}", "Alive": one != "c"} for one in "abc"
    ]
    monkeypatch.setattr(shared.ray, "nodes", lambda: nodes)
    monkeypatch.setattr(
        shared, "_node_sees", lambda node, path: node != blind and os.path.exists(path)
    )
    if blind is None:
        shared.check_shared(store)
    else:
        with pytest.raises(ClusterError, match=r"is not shared: node 10\.0\.0\.b does not see"):
            shared.check_shared(store)
    assert os.listdir(store.location("ray")) == []  # nothing is left


def test_a_worker_on_a_node_that_joined_later_works_on_nothing_there(monkeypatch, store):
    desk = Desk({})
    monkeypatch.setattr(group.ray, "get", lambda answer: answer)
    monkeypatch.setattr(group.ray.util, "get_node_ip_address", lambda: "10.0.0.9")
    order = group.Order(Remote(desk), 0, None, store.root, "/no/such/probe", None)
    group.serve(order)
    assert desk.blind() == "10.0.0.9"
    assert desk.members() == {}


def test_and_the_run_ends_with_its_address(monkeypatch, store):
    desk = Desk({})
    desk.cannot_see("10.0.0.9")
    monkeypatch.setattr(pool.ray, "get", lambda answer: answer)
    running = pool.RayPool.__new__(pool.RayPool)
    running._desk, running._store, running._room = Remote(desk), store, None
    running._probe = shared.Probe(store)
    running._watch = SimpleNamespace(look=lambda: True)
    with pytest.raises(ClusterError, match=r"not shared: node 10\.0\.0\.9"):
        running.events()


def test_groups_are_added_as_nodes_join(monkeypatch, store):
    started = []
    monkeypatch.setattr(pool.ray, "get", lambda answer: answer)
    monkeypatch.setattr(pool.RayPool, "_fit", lambda self, number: started.append(number))
    running = pool.RayPool.__new__(pool.RayPool)
    running._desk, running._store, running._threads = Remote(Desk({})), store, []
    running._probe = shared.Probe(store)
    fits = iter([1, 3, 2, 3])
    running._room = SimpleNamespace(groups=lambda: next(fits))
    for _ in range(4):
        running._look_around()
    for thread in running._threads:
        thread.join()
    assert sorted(started) == [0, 1, 2]
