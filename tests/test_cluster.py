"""What a cluster must have, and what of the environment goes to its workers."""

from types import SimpleNamespace

import pytest
import ray

from ksl_bench.auth import UNSEALED
from ksl_bench.cluster import connection, watch
from ksl_bench.cluster.capacity import check_this_machine, shortage
from ksl_bench.cluster.connection import connect, passed_on
from ksl_bench.config import ResourcesSpec
from ksl_bench.desk import Desk
from ksl_bench.errors import ClusterError
from ksl_bench.jobs.sealing import SEALED, seal, unseal_environment
from tests.faults.harness import free_port


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


def test_what_a_submission_sealed_reaches_the_workers_whatever_its_name(monkeypatch):
    """The names of a secret and of a plain one that no list of prefixes holds, and one whose value is one."""
    sealed = {
        "MY_STORE_PASSWORD": "p",
        "AZURE_STORAGE_CONNECTION_STRING": "c",
        "AWS_ENDPOINT_URL": "https://me:pass@store",
    }
    monkeypatch.setenv("RAY_AUTH_TOKEN", "token")
    monkeypatch.setenv(SEALED, seal(sealed, "token"))
    monkeypatch.setenv(UNSEALED, "")  # what is set below ends with the test
    for name in sealed:
        monkeypatch.setenv(name, "")
    unseal_environment()
    assert sealed.items() <= passed_on(secret=True).items()
    assert not sealed.keys() & passed_on(secret=False).keys()


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("AZURE_STORAGE_ACCOUNT_NAME", "mine", False),
        ("AZURE_STORAGE_SAS_TOKEN", "x", True),
        ("AZURE_STORAGE_CONNECTION_STRING", "AccountName=a;AccountKey=b", True),
        ("GOOGLE_CLOUD_PROJECT", "mine", False),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/shared/key.json", True),
        ("AWS_ENDPOINT_URL", "https://me:pass@store", True),
        ("AWS_ENDPOINT_URL", "https://store", False),
    ],
)
def test_the_keys_of_every_object_store_reach_the_workers(monkeypatch, name, value, secret):
    monkeypatch.delenv(UNSEALED, raising=False)
    monkeypatch.setenv(name, value)
    assert passed_on(secret=secret)[name] == value
    assert name not in passed_on(secret=not secret)


@pytest.mark.parametrize(("address", "joined"), [(None, "local"), ("head:6379", "head:6379")])
def test_only_an_address_that_is_given_is_followed(monkeypatch, address, joined):
    asked = {}
    monkeypatch.setattr(connection.ray, "init", lambda **options: asked.update(options))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # what it sets ends with the test
    monkeypatch.setattr(connection.ray_constants, "ENABLE_RAY_CLUSTER", False)
    monkeypatch.setattr(
        connection.socket, "create_connection", lambda *_, **__: SimpleNamespace(close=list)
    )
    connect(address)
    assert asked["address"] == joined  # without one Ray would go by its environment and its files


def test_where_nothing_listens_nothing_is_waited_for(monkeypatch):
    monkeypatch.setattr(connection.ray, "init", lambda **_: pytest.fail("asked for minutes"))
    place = f"127.0.0.1:{free_port()}"
    with pytest.raises(
        ClusterError, match=f"--address {place}: cannot reach Ray: Connection refused"
    ):
        connect(place)


class Remote:
    """A stub of an actor: its methods answer at once."""

    def __init__(self, actor):
        self.actor = actor

    def __getattr__(self, name):
        return SimpleNamespace(remote=getattr(self.actor, name))


@pytest.fixture
def now(monkeypatch):
    """A clock that stands, and answers that are there at once."""
    now = [0.0]
    monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])

    def get(answer):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(watch.ray, "get", get)
    monkeypatch.setattr(watch.ray, "wait", lambda answers, timeout: (answers, []))
    return now


MEMORY = ray.exceptions.OutOfMemoryError("the node was running low on memory")
GONE = ray.exceptions.RayActorError()


@pytest.mark.parametrize(
    ("deaths", "status"),
    [
        ([MEMORY], "out_of_memory"),
        ([GONE], None),
        (["lives", MEMORY], "out_of_memory"),
        ([GONE, MEMORY], "out_of_memory"),  # with rank 1 Ray Train ended the leader
        (["lives", GONE], None),
    ],
)
def test_a_worker_that_was_killed_for_memory_is_told_apart_from_one_that_is_lost(
    monkeypatch, now, deaths, status
):
    monkeypatch.setattr(watch, "shortage_now", lambda *_: None)
    desk = Desk({})
    leader, *others = [
        SimpleNamespace(__ray_ready__=SimpleNamespace(remote=lambda one=one: one)) for one in deaths
    ]
    desk.arrive(0, leader)
    for one in others:
        desk.join(0, one)
    desk.submit(SimpleNamespace(key="a"))
    desk.next(0)
    watching = watch.Watch(Remote(desk), ResourcesSpec())
    for now[0] in (0.0, 10.0):
        watching.look()
    ended = [event.outcome.status for event in desk.events() if event.outcome is not None]
    assert ended == ([status] if status else [])
    assert desk.next(1) == "wait" if status else desk.next(1).work.key == "a"


def test_a_cluster_that_lost_the_room_for_a_group_ends_the_run_after_a_while(monkeypatch, now):
    short = ["resources: 1 CPU, but the cluster has at most 0"]
    monkeypatch.setattr(watch, "shortage_now", lambda *_: short[0])
    watching = watch.Watch(Remote(Desk({})), ResourcesSpec())

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
