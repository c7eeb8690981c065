"""What a cluster must have, and what of the environment goes to its workers."""

import pytest

from ksl_bench.cluster import check_this_machine, passed_on, shortage, watch
from ksl_bench.config import ResourcesSpec
from ksl_bench.errors import ClusterError


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


class Desk:
    """Knows no workers."""

    class members:
        @staticmethod
        def remote():
            return {}


def test_a_cluster_that_lost_the_room_for_a_group_ends_the_run_after_a_while(monkeypatch):
    now, short = [0.0], ["resources: 1 CPU, but the cluster has at most 0"]
    monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(watch.ray, "get", lambda answer: answer)
    monkeypatch.setattr(watch, "shortage_now", lambda *_: short[0])
    watching = watch.Watch(Desk, ResourcesSpec())

    def look(at):
        now[0] = at
        watching.look()

    look(200.0)  # a node may come back
    short[0] = None
    look(290.0)
    short[0] = "resources: 1 CPU, but the cluster has at most 0"
    look(500.0)
    with pytest.raises(ClusterError, match="at most 0, for 300 seconds: nodes were lost"):
        look(600.0)
