"""A whole suite over an object store: drivers and workers talk to a real S3 server on loopback."""

import io
import json
import os
import subprocess
import sys
import zipfile

import pytest

from ksl_bench.store import Store
from ksl_bench.store.layout import record_path

pytestmark = pytest.mark.slow

SETTINGS = [
    "task.train_size=64",
    "task.devtest_size=8",
    "train.steps=6",
    "train.checkpoint_every_steps=3",
    "evaluate.decoding.max_new_tokens=12",
    "evaluate.bootstrap_samples=100",
    "baselines=[base, embedding, ks_partial_k4]",
]


def ksl_bench(*words, tracking):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "ksl_bench.cli", *words],
        env={**os.environ, "MLFLOW_TRACKING_URI": tracking},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def test_a_suite_runs_resumes_and_is_read_over_s3(bucket, tmp_path):
    tracking = f"sqlite:///{tmp_path}/mlflow.db"
    changes = [word for one in SETTINGS for word in ("--set", one)]
    line = ["run", "quickstart", *changes, "--storage", f"{bucket}/suite", "--json"]
    first = ksl_bench(*line, tracking=tracking)
    assert first.returncode == 0, first.stderr[-2000:]
    rows = json.loads(first.stdout)
    assert [row["status"] for row in rows] == ["finished"] * 3
    again = ksl_bench(*line, tracking=tracking)
    assert "nothing to do" in again.stderr
    assert json.loads(again.stdout) == rows
    board = ksl_bench(
        "leaderboard", "quickstart", "--storage", f"{bucket}/suite", tracking=tracking
    )
    assert "ks_partial_k4" in board.stdout

    # A result that is made anew is not hidden by the copy that the board left behind.
    store = Store(f"{bucket}/suite")
    (bundle,) = store.files.names("bundles")
    path = record_path("evaluation", rows[1]["evaluations"][0])
    old = copies(store, bundle)
    assert old[path] == store.files.read(path)
    store.files.remove(path)
    third = ksl_bench(*line, tracking=tracking)
    assert third.returncode == 0, third.stderr[-2000:]
    assert "1 of" in third.stderr
    new = copies(store, bundle)
    assert new.keys() == old.keys()
    assert old[path] != new[path] == store.files.read(path)


def copies(store, bundle):
    archive = zipfile.ZipFile(io.BytesIO(store.files.read(f"bundles/{bundle}")))
    return {name: archive.read(name) for name in archive.namelist()}


def test_without_a_place_for_mlflow_a_run_over_s3_is_refused(bucket):
    environment = {
        name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"
    }
    done = subprocess.run(
        [sys.executable, "-m", "ksl_bench.cli", "run", "quickstart", "--storage", f"{bucket}/x"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "tracking.uri: must be given" in done.stderr
