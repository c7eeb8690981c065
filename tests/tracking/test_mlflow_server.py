"""A real MLflow server over a real PostgreSQL, on loopback: synced, stopped, synced again."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest
from mlflow import MlflowClient

from ksl_bench.errors import TrackingError
from ksl_bench.tracking import Tracker
from tests.boards import Written
from tests.faults.harness import free_port
from tests.machine import lacking, mlflow_server, running, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """Yield the URI of an empty database whose server is nobody else's."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    path = os.pathsep.join([*map(str, reversed(programs)), os.environ["PATH"]])
    tools = [shutil.which(name, path=path) for name in ("initdb", "postgres", "createdb")]
    if None in tools:
        lacking("PostgreSQL (initdb, postgres, createdb) is not installed")
    initdb, server, createdb = tools
    folder, port, whose = tmp_path_factory.mktemp("postgres"), free_port(), {}
    if os.geteuid() == 0:  # PostgreSQL does not run as root
        owner = pwd.getpwnam("postgres")
        whose = {"user": owner.pw_uid, "group": owner.pw_gid, "cwd": "/"}
        for one in (folder, *list(folder.parents)[:2]):
            one.chmod(0o755)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    data = folder / "data"
    (folder / "password").write_text("secret")
    (folder / "password").chmod(0o644)
    subprocess.run(
        [initdb, "-D", data, "-U", "bench", "-A", "scram-sha-256", f"--pwfile={folder}/password"],
        check=True, capture_output=True, **whose,
    )  # fmt: skip
    command = [
        server, "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1",
        "-c", f"unix_socket_directories={folder}",
    ]  # fmt: skip
    with (folder.parent / "postgres.log").open("wb") as log, running(command, stderr=log, **whose):
        made = [createdb, "-h", "127.0.0.1", "-p", str(port), "-U", "bench", "mlflow"]
        words = {**os.environ, "PGPASSWORD": "secret"}
        wait_for(lambda: subprocess.run(made, env=words).returncode == 0)
        yield f"postgresql+psycopg://bench:secret@127.0.0.1:{port}/mlflow"


def board_of(folder):
    board = Written(folder)
    board.scored("base", [0.5], method="none", stops=False)
    board.scored("full", [0.9, 0.95], seeds=[0, 1])
    board.scored("ks_k18", [0.8, 0.85], seeds=[0, 1], ticket={"criterion": "ks", "k": 18})
    return board


def shown(address):
    client = MlflowClient(address)
    experiment = client.get_experiment_by_name("mine").experiment_id
    runs = client.search_runs([experiment], order_by=["metrics.`bleu/first_line` DESC"])
    return [(run.info.run_id, run.data.tags, run.data.metrics, run.data.params) for run in runs]


def test_a_server_over_postgresql_shows_all_and_is_brought_up_to_date_after_it_was_down(
    postgres, tmp_path
):
    store, port = board_of(tmp_path / "store").done(), free_port()
    address = f"http://127.0.0.1:{port}"
    with mlflow_server(postgres, tmp_path, port):
        assert Tracker(store, uri=address).sync("mine") == 5
        first = shown(address)
        assert len(first) == 6
        ranked = [tags["baseline"] for _, tags, _, _ in first if tags["kind"] == "run"]
        assert ranked == ["full", "full", "ks_k18", "ks_k18", "base"]
        client, board = MlflowClient(address), first[-1]
        assert board[1]["kind"] == "leaderboard"
        names = {one.path for one in client.list_artifacts(board[0])}
        assert {"report.html", "leaderboard.json", "figures"} <= names
        Tracker(store, uri=address).sync("mine")
        assert shown(address) == first

    more = board_of(tmp_path / "store").scored("lora", [0.9], method="lora").done()
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1"):
        Tracker(more, uri=address).sync("mine")

    with mlflow_server(postgres, tmp_path, port):
        Tracker(more, uri=address).sync("mine")
        now = {run_id: rest for run_id, *rest in shown(address)}
        assert len(now) == 7
        untouched = {run_id: rest for run_id, *rest in first if rest[0]["kind"] == "run"}
        assert {run_id: now[run_id] for run_id in untouched} == untouched
