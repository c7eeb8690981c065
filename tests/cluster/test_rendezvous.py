"""Workers of one node talk over loopback."""

import os

import pytest

from ksl_bench.cluster import rendezvous
from ksl_bench.errors import ClusterError


@pytest.fixture
def machine(monkeypatch):
    """Return how to make this a machine with some interfaces, and nothing chosen in the environment."""

    def make(*interfaces):
        monkeypatch.setattr(rendezvous.socket, "if_nameindex", lambda: list(enumerate(interfaces)))

    environment = {name: value for name, value in os.environ.items() if "SOCKET_IFNAME" not in name}
    monkeypatch.setattr(os, "environ", environment)
    return make


def chosen():
    return os.environ.get("GLOO_SOCKET_IFNAME"), os.environ.get("NCCL_SOCKET_IFNAME")


@pytest.mark.parametrize(
    ("interfaces", "wanted"),
    [(["lo", "eth0"], "lo"), (["en0", "lo0"], "lo0"), (["lo0", "eth0", "lo"], "lo")],
)
def test_the_libraries_listen_on_loopback(machine, interfaces, wanted):
    machine(*interfaces)
    rendezvous._listen_on_loopback()
    assert chosen() == (wanted, wanted)


def test_what_the_environment_chose_stays(machine):
    machine("lo", "eth0")
    os.environ["GLOO_SOCKET_IFNAME"] = "eth0"
    rendezvous._listen_on_loopback()
    assert chosen() == ("eth0", "lo")


def test_without_loopback_nothing_listens_elsewhere_unless_it_was_chosen(machine):
    machine("eth0")
    os.environ["NCCL_SOCKET_IFNAME"] = "eth0"
    with pytest.raises(ClusterError, match=r"^GLOO_SOCKET_IFNAME: no loopback .* among eth0; set"):
        rendezvous._listen_on_loopback()
    os.environ["GLOO_SOCKET_IFNAME"] = "eth0"
    rendezvous._listen_on_loopback()
    assert chosen() == ("eth0", "eth0")
