"""Leases: one holder at a time, and no dead one for long."""

import logging
import subprocess
import sys
import threading
import time
from dataclasses import replace

import fsspec.implementations.memory
import pytest

from ksl_bench.errors import StorageError
from ksl_bench.store import Store
from ksl_bench.store.lease import new_lease
from ksl_bench.store.leases import MISSED_BEATS, Leases
from tests.store.behind import names, overwrite

KEY = "0123456789abcdef0123"
QUICK = 0.05
"""Seconds between heartbeats of holders that are dead, or about to be."""


@pytest.fixture
def leases():
    """Makes the leases of another driver over the same storage; none is kept alive after the test."""
    drivers = []

    def of_a_driver(store, *, heartbeat_seconds=10.0):
        drivers.append(Leases(Store(store.root).files, heartbeat_seconds=heartbeat_seconds))
        return drivers[-1]

    yield of_a_driver
    for one in drivers:
        one.give_back(KEY)


def of_another_machine(store, **changes):
    """Leave the lease of a driver on another machine, which shows no sign of life."""
    lease = replace(new_lease(KEY, heartbeat_seconds=QUICK), host="node-7", pid=12, machine="else")
    overwrite(store, f"leases/{KEY}.json", replace(lease, **changes).render())


def at_once(waiters):
    """Let all ask for the lease at the same time; return those that took it."""
    took, barrier = [], threading.Barrier(len(waiters))

    def ask(one):
        barrier.wait()
        if one.take(KEY) is None:
            took.append(one)

    threads = [threading.Thread(target=ask, args=(one,)) for one in waiters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    return took


def wait_until_dead():
    time.sleep(QUICK * (MISSED_BEATS + 2))


def test_one_holds_and_the_other_learns_who(leases, store):
    one, other = leases(store), leases(store)
    assert one.take(KEY) is None
    held = other.take(KEY)
    assert held is not None
    assert held.holder == new_lease(KEY, heartbeat_seconds=1).holder
    assert one.take(KEY) == held
    assert (one.holds(KEY), other.holds(KEY)) == (True, False)
    other.give_back(KEY)  # not its own
    assert other.take(KEY) == held
    one.give_back(KEY)
    assert names(store) == []
    assert other.take(KEY) is None


def test_of_many_at_once_one_takes_it(leases, store):
    assert len(at_once([leases(store) for _ in range(6)])) == 1


def test_a_holder_that_does_not_move_is_dead_and_one_waiter_succeeds_it(leases, store, caplog):
    of_another_machine(store)
    waiters = [leases(store) for _ in range(4)]
    assert {one.take(KEY).holder for one in waiters} == {"node-7, pid 12"}
    wait_until_dead()
    with caplog.at_level(logging.WARNING):
        (winner,) = at_once(waiters)
    assert "taken over from node-7, pid 12" in caplog.text
    assert len(names(store, "leases")) == 2
    winner.give_back(KEY)
    assert names(store) == []


def test_a_successor_can_die_too(leases, store):
    of_another_machine(store)
    second = leases(store, heartbeat_seconds=QUICK)
    second.take(KEY)
    wait_until_dead()
    second._beat = lambda: None  # never shows that it lives
    assert second.take(KEY) is None
    third = leases(store)
    assert third.take(KEY) is not None
    wait_until_dead()
    assert third.take(KEY) is None
    assert len(names(store, "leases")) == 3
    third.give_back(KEY)
    assert names(store) == []


def test_a_heartbeat_that_moves_keeps_the_lease(leases, store):
    one, other = leases(store, heartbeat_seconds=0.4), leases(store)
    one.take(KEY)
    first = other.take(KEY)
    end = time.monotonic() + 0.4 * (MISSED_BEATS + 2)
    while time.monotonic() < end:
        last = other.take(KEY)
        assert last is not None
        time.sleep(0.05)
    assert last.beat > first.beat
    one.give_back(KEY)


def test_the_clock_of_another_machine_does_not_matter(leases, store):
    of_another_machine(store, since="1970-01-01T00:00:00Z", heartbeat_seconds=600.0)
    one = leases(store)
    assert one.take(KEY) is not None
    wait_until_dead()
    assert one.take(KEY) is not None


def test_a_process_killed_on_this_machine_is_succeeded_at_once(leases, local):
    code = (
        "import os, signal, sys\nfrom ksl_bench.store import Store\n"
        f"assert Store(sys.argv[1]).leases.take({KEY!r}) is None\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    with subprocess.Popen([sys.executable, "-c", code, local.root]) as dead:
        while dead.poll() is None and not names(local, "leases"):
            time.sleep(0.02)
        # Killed, but not yet waited for: a zombie does not count as alive.
        assert wait_for_none(leases(local))
    assert dead.returncode == -9


def wait_for_none(one):
    end = time.monotonic() + 5  # well below the expiry, 60 seconds
    while time.monotonic() < end:
        if one.take(KEY) is None:
            return True
        time.sleep(0.05)
    return False


def test_a_suspended_holder_learns_of_its_loss_and_leaves_its_successor_alone(
    leases, store, monkeypatch, caplog
):
    slept, other = leases(store, heartbeat_seconds=QUICK), leases(store)
    names_there = slept._files.names

    def unreachable(folder):
        raise StorageError("the storage is away")

    monkeypatch.setattr(slept._files, "names", unreachable)
    slept.take(KEY)
    other.take(KEY)
    wait_until_dead()
    assert other.take(KEY) is None
    with caplog.at_level(logging.WARNING):
        monkeypatch.setattr(slept._files, "names", names_there)
        end = time.monotonic() + 20
        while "another process took it over" not in caplog.text:
            assert time.monotonic() < end
            time.sleep(QUICK)
    slept.give_back(KEY)
    assert not slept.holds(KEY)
    assert len(names(store, "leases")) == 2
    assert slept.take(KEY) is not None
    other.give_back(KEY)
    assert names(store) == []


def test_a_lease_that_cannot_be_read_expires_like_any_other(leases, store, monkeypatch):
    monkeypatch.setattr("ksl_bench.store.lease.HEARTBEAT_SECONDS", QUICK)
    overwrite(store, f"leases/{KEY}.json", b'{"token": "../../../etc/passwd"')
    one = leases(store)
    assert one.take(KEY).holder == "an unreadable lease, pid 0"
    wait_until_dead()
    assert one.take(KEY) is None
    one.give_back(KEY)
    assert names(store) == []


def test_no_token_leaves_the_folder(leases, local, monkeypatch):
    monkeypatch.setattr("ksl_bench.store.lease.HEARTBEAT_SECONDS", QUICK)
    of_another_machine(local, token="../../escaped")
    one = leases(local)
    assert "unreadable" in one.take(KEY).host
    wait_until_dead()
    assert one.take(KEY) is None
    assert all(name.startswith("leases/") for name in names(local))


def test_who_succeeds_a_chain_that_is_gone_does_not_count(leases, store, monkeypatch):
    of_another_machine(store)
    late = leases(store)
    late.take(KEY)
    wait_until_dead()
    create, new = late._files.create, leases(store)

    def create_late(path, content):
        """Meanwhile somebody else takes over, works, gives back; and yet another begins anew."""
        if path.startswith(f"leases/{KEY}") and path.count(".") == 2:  # a successor
            store.files.remove(f"leases/{KEY}.json")
            assert new.take(KEY) is None
        return create(path, content)

    monkeypatch.setattr(late._files, "create", create_late)
    assert late.take(KEY) == new.take(KEY)
    assert not late.holds(KEY)
    new.give_back(KEY)
    assert names(store) == []


def test_a_put_that_the_client_repeats_is_still_ours(leases, local, monkeypatch):
    one = leases(local)
    create = one._files.create
    monkeypatch.setattr(one._files, "create", lambda path, content: create(path, content) and False)
    assert one.take(KEY) is None


def test_storage_without_conditional_writes_is_found_out_and_the_last_writer_holds(
    leases, monkeypatch
):
    def heedless(self, path, value, mode="overwrite", **options):
        self.open(path, mode="wb", data=value)

    memory = fsspec.implementations.memory.MemoryFileSystem
    monkeypatch.setattr(memory, "pipe_file", heedless)
    store = Store("memory://heedless/results")
    assert not store.files.creates_atomically()
    assert len(at_once([leases(store) for _ in range(4)])) == 1
    assert names(store) == [f"leases/{KEY}.json"]


def test_every_kind_of_storage_here_creates_atomically(store):
    assert store.files.creates_atomically()
    assert names(store) == []


@pytest.mark.parametrize("key", ["", "..", "../x", "a/b", KEY + ".json", KEY.upper()])
def test_no_key_leaves_the_root(store, key):
    with pytest.raises(StorageError, match="not a key"):
        store.leases.take(key)
