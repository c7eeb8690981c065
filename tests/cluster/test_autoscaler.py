"""Ray's own autoscaler, for real: nodes that are processes of this machine, from none to two."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import yaml

from tests.faults.harness import free_port

pytestmark = pytest.mark.slow

PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
HEAD = "f" * 51 + "00000"
"""The id by which Ray's provider for tests knows the head."""

CONFIG = {
    "cluster_name": "grows",
    "max_workers": 2,
    "idle_timeout_minutes": 5,
    "provider": {
        "type": "external", "module": PROVIDER, "head_node_id": HEAD, "launch_multiple": True,
        "disable_node_updaters": True,
    },
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "worker": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
    },
    "head_node_type": "ray.head.default",
    "upscaling_speed": 1.0,
    "auth": {}, "docker": {}, "file_mounts": {}, "cluster_synced_files": [], "rsync_exclude": [],
    "rsync_filter": [], "file_mounts_sync_continuously": False,
    **{
        name: []
        for name in (
            "initialization_commands", "setup_commands", "head_setup_commands",
            "worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands",
        )
    },
}  # fmt: skip

ASKING = """
import sys, time
from ksl_bench.cluster.connection import connect
from ksl_bench.cluster.growth import Room
from ksl_bench.config import ResourcesSpec
from ksl_bench.errors import ClusterError

connect(sys.argv[1])
begun = time.monotonic()
try:
    with Room(ResourcesSpec(workers_per_run=3), wanted=1, wait=200) as room:
        room.first()
except ClusterError as error:
    print(f"refused after {time.monotonic() - begun:.0f} s: {error}", flush=True)
with Room(ResourcesSpec(), wanted=5, wait=200) as room:
    groups = room.first()
    while groups < 2 and time.monotonic() - begun < 240:
        time.sleep(1)
        groups = room.groups()
    print(f"grown to {groups}, first asked for {room.most}", flush=True)
import ray
from ray._raylet import GcsClient
from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply
client = GcsClient(ray.get_runtime_context().gcs_address)
standing, until = -1, time.monotonic() + 20
while standing and time.monotonic() < until:
    status = GetClusterStatusReply()
    status.ParseFromString(client.get_cluster_status(timeout_s=10))
    asked = status.cluster_resource_state.cluster_resource_constraints
    standing = sum(one.count for request in asked for one in request.resource_requests)
print("stands", standing, flush=True)
"""


@pytest.fixture
def head():
    """A head without CPUs, whose autoscaler may start two nodes; all of it ends with the test."""
    folder, port = Path(tempfile.mkdtemp(prefix="ksla", dir="/tmp")), free_port()
    place = f"127.0.0.1:{port}"
    provider = {**CONFIG["provider"], "gcs_address": place}
    (folder / "autoscaler.yaml").write_text(yaml.safe_dump({**CONFIG, "provider": provider}))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": f"token-of-{folder.name}",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_TMPDIR": str(folder),
    }
    autoscaling = {
        "RAY_FAKE_CLUSTER": "1",
        "RAY_enable_autoscaler_v2": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_CLOUD_INSTANCE_ID": HEAD,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD,
    }
    process = subprocess.Popen(
        [
            *(str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"),
            *("--port", str(port), "--num-cpus", "0", "--include-dashboard", "false"),
            *("--temp-dir", str(folder), "--disable-usage-stats"),
            *("--autoscaling-config", str(folder / "autoscaler.yaml")),
        ],
        env={**environment, **autoscaling},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield place, environment
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if one.environ().get("RAY_AUTH_TOKEN") == environment["RAY_AUTH_TOKEN"]:
                one.kill()
    process.wait(60)
    shutil.rmtree(folder, ignore_errors=True)


def test_rays_autoscaler_refuses_at_once_what_it_cannot_bring_and_brings_what_it_can(head):
    place, environment = head
    line = [sys.executable, "-W", "ignore", "-c", ASKING, place]
    for _ in range(5):  # the head comes up
        done = subprocess.run(
            line, env=environment, capture_output=True, text=True, timeout=400, check=False
        )
        if done.returncode == 0:
            break
        time.sleep(3)
    assert done.returncode == 0, done.stderr[-3000:]
    refused, grown, stands = done.stdout.splitlines()[-3:]
    assert "3 workers x 1 CPU = 3 CPU, but the cluster has at most 0, and its autoscaler" in refused
    assert int(refused.split()[2]) < 150  # long before its 200 seconds are over
    assert grown == "grown to 2, first asked for 5"
    assert stands == "stands 0"
