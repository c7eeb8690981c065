"""Room on a cluster: counted by node, waited for, asked for, withdrawn."""

import pytest
from ray.exceptions import RpcError

from ksl_bench.cluster import capacity, growth
from ksl_bench.cluster.growth import Answer, Room
from ksl_bench.config import ResourcesSpec
from ksl_bench.errors import ClusterError


class Cluster:
    """Nodes of some CPUs and GPUs, and an autoscaler that brings more of them up to a maximum."""

    def __init__(self, monkeypatch, *nodes, most=0, seconds=30.0, answers=True):
        self.nodes, self.most, self.seconds, self.answers = list(nodes), most, seconds, answers
        self.now, self.version, self.due = 0.0, 0, []
        self.requests = []
        self.errors = []
        self.declared = {}
        monkeypatch.setattr(capacity.ray, "nodes", self._nodes)
        monkeypatch.setattr(capacity.ray, "cluster_resources", self._total)
        for module in (capacity, growth):
            monkeypatch.setattr(module, "declared_limit", lambda: self.declared)
        monkeypatch.setattr(growth.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(growth.time, "sleep", self._sleep)

    def _sleep(self, seconds):
        self.now += seconds
        self.nodes += [node for at, node in self.due if at <= self.now]
        self.due = [(at, node) for at, node in self.due if at > self.now]

    def _nodes(self):
        return [{"Alive": True, "Resources": one} for one in self.nodes] + [
            {"Alive": False, "Resources": {"CPU": 64.0}}
        ]

    def _total(self):
        return {
            name: sum(one.get(name, 0.0) for one in self.nodes) for name in ("CPU", "GPU", "memory")
        }

    # The autoscaler: a node of two CPUs for two workers of one, and a request whole or not at all.

    def ask(self, bundles):
        self._fail()
        self.version += 1
        self.requests.append(len(bundles))
        wanted = -(-len(bundles) // 2)
        if wanted <= self.most:
            missing = wanted - len(self.nodes) - len(self.due)
            self.due += [(self.now + self.seconds, {"CPU": 2.0})] * missing
        return self.version

    def _fail(self):
        if self.errors:
            raise self.errors.pop()

    def answer(self):
        self._fail()
        possible = -(-self.requests[-1] // 2) <= self.most
        return Answer(self.version if self.answers else 0, possible)


ONE = ResourcesSpec()


@pytest.mark.parametrize(
    ("nodes", "resources", "groups"),
    [
        ([2, 2], {}, 4),
        ([0, 4], {"workers_per_run": 2}, 2),
        ([3, 3], {"cpus_per_worker": 2}, 2),  # by node: a worker is not spread over two
        ([3, 3], {"workers_per_run": 2, "cpus_per_worker": 2, "placement": "PACK"}, 1),
        ([3, 5], {"workers_per_run": 4, "placement": "STRICT_PACK"}, 1),
        ([1, 1, 4], {"workers_per_run": 3, "placement": "STRICT_SPREAD"}, 1),
        ([2, 2, 2], {"workers_per_run": 3, "placement": "STRICT_SPREAD"}, 2),
        ([4, 1], {"workers_per_run": 3, "placement": "STRICT_SPREAD"}, 0),
    ],
)
def test_groups_are_counted_where_they_can_stand(monkeypatch, nodes, resources, groups):
    Cluster(monkeypatch, *({"CPU": float(one)} for one in nodes))
    assert capacity.groups_that_fit(ResourcesSpec(**resources)) == groups


def test_what_the_cluster_has_but_not_together_is_told_with_its_nodes(monkeypatch):
    Cluster(monkeypatch, {"CPU": 2.0}, {"CPU": 2.0})
    with pytest.raises(ClusterError, match="1 workers x 3 CPU, placed PACK, do not fit the nodes"):
        Room(ResourcesSpec(cpus_per_worker=3), wanted=1).first()


def test_no_more_groups_than_there_is_work_or_the_suite_allows(monkeypatch):
    Cluster(monkeypatch, {"CPU": 64.0})
    assert Room(ONE, wanted=5).first() == 5
    assert Room(ResourcesSpec(max_groups=3), wanted=5).first() == 3


def test_without_wait_nothing_is_asked_and_the_refusal_says_how_to(monkeypatch):
    cluster = Cluster(monkeypatch, {"CPU": 0.0}, most=4)
    with pytest.raises(ClusterError) as caught:
        Room(ResourcesSpec(workers_per_run=2), wanted=4, autoscaler=cluster).first()
    assert str(caught.value) == (
        "resources.workers_per_run: 2 workers x 1 CPU = 2 CPU, but the cluster has at most 0; --wait "
        "SECONDS lets one grow that can"
    )
    assert cluster.requests == []


def test_a_cluster_grows_from_nothing_to_what_can_be_used(monkeypatch):
    cluster = Cluster(monkeypatch, most=4)
    with Room(ONE, wanted=6, wait=120, autoscaler=cluster) as room:
        assert room.first() >= 1
        for _ in range(40):
            cluster._sleep(2)
            room.groups()
        assert room.groups() == 6
        assert cluster.requests == [1, 6]
    assert cluster.requests == [1, 6, 0]  # withdrawn


def test_what_an_autoscaler_can_bring_is_found_where_it_cannot_bring_all(monkeypatch):
    cluster = Cluster(monkeypatch, most=4)
    with Room(ONE, wanted=50, wait=120, autoscaler=cluster) as room:
        room.first()
        for _ in range(60):
            cluster._sleep(2)
            room.groups()
        assert room.groups() == 8  # four nodes of two
    assert len(cluster.requests) < 12
    assert cluster.requests[-1] == 0


def test_more_than_the_maximum_is_refused_within_seconds_with_what_was_asked(monkeypatch):
    cluster = Cluster(monkeypatch, most=0)
    with (
        pytest.raises(
            ClusterError, match="1 CPU, but the cluster has at most 0, and its autoscaler"
        ),
        Room(ONE, wanted=3, wait=900, autoscaler=cluster) as room,
    ):
        room.first()
    assert cluster.now < 10
    assert cluster.requests == [1, 0]


def test_a_cluster_that_does_not_grow_in_time_is_refused_and_asked_for_nothing_more(monkeypatch):
    cluster = Cluster(monkeypatch, most=4, seconds=1000.0)
    with (
        pytest.raises(ClusterError, match="has at most 0, after 60 seconds"),
        Room(ONE, wanted=3, wait=60, autoscaler=cluster) as room,
    ):
        room.first()
    assert cluster.requests[-1] == 0


def test_an_autoscaler_that_says_nothing_is_asked_for_all_at_once(monkeypatch):
    cluster = Cluster(monkeypatch, most=4, answers=False)
    with Room(ONE, wanted=6, wait=120, autoscaler=cluster) as room:
        assert room.first() == 6
    assert cluster.requests == [6, 0]


def test_groups_are_as_many_as_a_declared_maximum_holds(monkeypatch):
    """A cluster that says how far it grows needs no request: what waits for room is one."""
    cluster = Cluster(monkeypatch, {"CPU": 0.0})
    cluster.declared = {"CPU": 8.0}
    assert Room(ResourcesSpec(workers_per_run=2), wanted=9).first() == 4
    with pytest.raises(
        ClusterError, match="10 workers x 1 CPU = 10 CPU, but the cluster has at most 8"
    ):
        Room(ResourcesSpec(workers_per_run=10), wanted=9).first()


SLOW = RpcError("Deadline Exceeded", rpc_code=4)


def test_an_autoscaler_that_is_slow_has_not_answered_yet(monkeypatch):
    cluster = Cluster(monkeypatch, {"CPU": 2.0}, most=4)
    with Room(ONE, wanted=6, wait=120, autoscaler=cluster) as room:
        for _ in range(3):  # whether it heard the request is not known: it is asked again
            cluster.errors.append(SLOW)
            assert room.groups() == 2
        assert cluster.requests == []
        assert room.groups() == 2
        cluster.errors.append(SLOW)
        assert room.groups() == 2
        assert cluster.requests == [3]
        for _ in range(40):
            cluster._sleep(2)
            room.groups()
        assert room.groups() == 6
        assert cluster.requests == [3, 6]


@pytest.mark.parametrize(
    "error", [SLOW, RpcError("unavailable", rpc_code=14), ConnectionError("GCS is gone")]
)
def test_to_withdraw_from_a_cluster_that_is_gone_raises_nothing(monkeypatch, error):
    cluster = Cluster(monkeypatch, {"CPU": 2.0}, most=4)
    with Room(ONE, wanted=6, wait=120, autoscaler=cluster) as room:
        room.groups()
        assert cluster.requests == [3]
        cluster.errors.append(error)
    assert cluster.errors == []
