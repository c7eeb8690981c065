"""What must not leave this machine, and what must not be let in."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ksl_bench.config import ModelSpec
from ksl_bench.errors import ConfigError, StorageError
from ksl_bench.models import TINY_BASE, find_model
from ksl_bench.store import Store
from ksl_bench.suite import load_suite

DEAD = "127.0.0.1:1"

LISTENING = """
import contextlib, json, os, sys, time
from ksl_bench.auth import require_token
require_token()
from ksl_bench.cluster.connection import connect, disconnect
from ksl_bench.cluster.pool import RayPool
from ksl_bench.models import find_model
from ksl_bench.plan import make_plan
from ksl_bench.store import Store
from ksl_bench.suite import load_suite
from ksl_bench.worker.outcome import Outcome

class Builder:
    def __init__(self, setting, store, worker):
        self.worker = worker

    def build(self, work, report):
        import torch.distributed as dist
        dist.barrier()  # the workers have met, and talk
        return Outcome(work.key, "finished")

def group(workers):
    changes = ["baselines=[base]", "task.train_size=8", "task.devtest_size=2"]
    suite = load_suite("quickstart", [*changes, f"resources.workers_per_run={workers}"])
    plan = make_plan(suite, find_model(suite.model))
    pool = RayPool(plan, Store(sys.argv[1]), groups=1, make_builder=Builder)
    pool.submit(next(iter(plan.works.values())))
    while not any(event.outcome for event in pool.events()):
        pass
    return pool

workers = int(sys.argv[2])
connect(None)
import psutil, ray
ray.get(ray.remote(lambda: 1).remote())
pool = group(workers) if workers else None
family = [psutil.Process(), *psutil.Process().children(recursive=True)]
mine = {}
for one in family:
    with contextlib.suppress(psutil.Error):  # it has ended meanwhile
        mine[one.pid] = " ".join(one.cmdline())
listening = [one for one in psutil.net_connections("inet") if one.status == psutil.CONN_LISTEN]
places = sorted({(one.laddr.ip, mine[one.pid]) for one in listening if one.pid in mine})
from ray._private.authentication.authentication_utils import is_token_auth_enabled
print(json.dumps({"places": places, "token": is_token_auth_enabled()}))
if pool is not None:
    pool.close()
disconnect()
"""


@pytest.fixture
def temporary():
    """A folder for Ray itself: the path of a socket in it is at most 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="ksls", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize(
    "workers",
    [
        0,
        pytest.param(1, marks=[pytest.mark.slow, pytest.mark.nightly]),
        pytest.param(2, marks=pytest.mark.slow),
    ],
)
def test_what_a_run_starts_listens_on_loopback_only_and_asks_for_a_token(
    tmp_path, temporary, workers
):
    """Also while a group of workers is at work; and a dead address in the environment, or a dead cluster
    that Ray has noted, is not followed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    (temporary / "ray").mkdir()
    (temporary / "ray/ray_current_cluster").write_text(DEAD)
    ray = {"RAY_ADDRESS": DEAD, "RAY_TMPDIR": str(temporary)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LISTENING, str(tmp_path / "store"), str(workers)],
        capture_output=True, text=True, timeout=300 + 200 * workers, check=False,
        env={**environment, **ray, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["places"]
    loopback = {"127.0.0.1", "::1"}
    assert [one for one in found["places"] if one[0].removeprefix("::ffff:") not in loopback] == []
    assert found["token"] is True
    token = (tmp_path / ".ray/auth_token").read_text().strip()
    assert token not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "change",
    [
        "name=../../escaped",
        "name=/etc/cron.d/x",
        "name=a/b",
        "conditions={../x: {prompt: explicit}}",
    ],
)
def test_no_name_in_a_suite_leads_out_of_the_storage(change):
    with pytest.raises(ConfigError):
        load_suite("quickstart", [change])


@pytest.mark.parametrize("name", ["../escaped", "/etc/passwd", "a/b", ".", "..", ""])
def test_no_plan_is_read_or_written_outside_the_storage(tmp_path, name):
    store = Store(str(tmp_path / "store"))
    with pytest.raises(StorageError):
        store.plans.write(name, {})
    with pytest.raises(StorageError):
        store.plans.read(name)


def test_set_calls_nothing(tmp_path):
    """YAML's tags make objects; the safe loader refuses them."""
    target = tmp_path / "made"
    with pytest.raises(ConfigError):
        load_suite("quickstart", [f"name=!!python/object/apply:os.mkdir ['{target}']"])
    assert not target.exists()


def test_a_ticket_is_never_unpickled(ksl, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    torch.save({"rows": Evil()}, tmp_path / "ticket.safetensors")
    done = ksl("ticket", "show", str(tmp_path / "ticket.safetensors"))
    assert done.returncode == 2
    assert not (tmp_path / "made").exists()


def test_a_model_folder_without_safetensors_is_refused(ksl, tmp_path):
    base = Path(find_model(ModelSpec(name_or_path=TINY_BASE)).location)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((base / name).read_bytes())
    torch.save({"x": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    done = ksl(
        "run",
        "quickstart",
        "--set",
        f"model.name_or_path={tmp_path}",
        "--storage",
        str(tmp_path / "s"),
    )
    assert done.returncode == 2
    assert "safetensors" in done.stderr
    assert not (tmp_path / "s/states").exists()


def test_a_ticket_that_claims_another_file_in_its_header_reads_nothing(ksl, tmp_path):
    header = {"ksl_bench.ticket": json.dumps({"schema": 1, "base_model": "../../etc/passwd"})}
    save_file({"values": torch.zeros(1, 1)}, tmp_path / "t.safetensors", metadata=header)
    done = ksl("ticket", "show", str(tmp_path / "t.safetensors"))
    assert done.returncode == 2
