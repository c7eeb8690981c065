"""A sweep as a user starts it: real Ray Tune, real worker groups; called again it makes nothing."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from tests.faults.harness import kill_tree, records, wait_for

SPACE = {
    "name": "small",
    "suite": "quickstart",
    "set": [
        "task.train_size=32", "task.dev_size=4", "evaluate.decoding.max_new_tokens=4",
        "evaluate.bootstrap_samples=100", "train.steps=4",
    ],
    "seeds": [0, 1],
}  # fmt: skip
GRID = {
    "ks_partial_k18": {
        "ticket.criterion": {"grid": ["ks", "frequency"]},
        "ticket.k": {"grid": [2, 1400]},
    }
}


OFTEN = (
    "import ksl_bench.cli, ksl_bench.tracking.thread as thread; thread.SYNC_SECONDS = 0.5; "
    "ksl_bench.cli.main()"
)
"""The command line, which writes down how far a sweep is more often than every 15 seconds."""


def command(tmp_path, content, program=("-m", "ksl_bench.cli")):
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump({**SPACE, **content}))
    line = [sys.executable, "-W", "ignore", *program, "sweep", str(file), "--json"]
    return {
        "args": [*line, "--storage", str(tmp_path / "store")],
        "env": {**os.environ, "OMP_NUM_THREADS": "1"},
    }


def run(tmp_path, content):
    done = subprocess.run(
        **command(tmp_path, content), capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode in (0, 1), done.stderr[-3000:]
    assert "WARNING" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def made(tmp_path):
    """Return when each finished artifact was written."""
    return records(tmp_path / "store")


def stored(tmp_path):
    """Return what the store says of the sweep."""
    return json.loads((tmp_path / "store/suites/small.json").read_text())["sweep"]


def check_again(tmp_path, content, found):
    """Check that a second call makes nothing, and says the same without starting Ray."""
    before = made(tmp_path)
    done = subprocess.run(
        **command(tmp_path, content), capture_output=True, text=True, timeout=500, check=False
    )
    assert json.loads(done.stdout) == found
    assert "worker groups" not in done.stderr
    assert made(tmp_path) == before


@pytest.mark.slow
def test_a_grid_is_scored_on_dev_failed_trials_stay_and_a_second_call_makes_nothing(tmp_path):
    code, found = run(tmp_path, {"baselines": GRID})
    trials = {one["trial"]: one for one in found["trials"]}
    assert len(trials) == 4
    assert code == 1  # 1,400 rows did not move: that trial is told with its reason
    lost = trials["ks_partial_k18.criterion-ks.k-1400"]
    assert lost["status"] == "skipped"
    assert "k=1400, but only" in lost["reason"]
    scores = {name: one["score"] for name, one in trials.items() if one["status"] == "finished"}
    assert found["winners"] == {"ks_partial_k18": max(scores, key=scores.get)}
    store = tmp_path / "store"
    results = [json.loads(path.read_text()) for path in store.glob("evaluations/*/result.json")]
    assert {one["split"] for one in results} == {"dev"}
    embeddings = [
        path for path in store.glob("states/*/state.json")
        if json.loads(path.read_text())["baseline"] == "embedding"
    ]  # fmt: skip
    assert len(embeddings) == 2  # one a seed, shared by all trials
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*.json")}
    code, again = run(tmp_path, {"baselines": GRID})
    assert again["trials"] == found["trials"]
    # The plan, and the leaderboard's run in MLflow, are brought up to date in place.
    artifacts = [path for path in before if not {"suites", "mlartifacts"} & set(path.parts)]
    assert all(path.stat().st_mtime_ns == before[path] for path in artifacts)


@pytest.mark.slow
@pytest.mark.nightly
def test_a_killed_sweep_left_its_plan_and_goes_on_where_it_was(tmp_path):
    # Trials side by side are trained before any is scored: more than run side by side, so that some are
    # scored while others are still to come, and long enough to be killed in.
    ranks = list(range(1, 9))
    content = {"seeds": [0], "baselines": {"lora": {"lora_rank": {"grid": ranks}}}}
    content["set"] = [*SPACE["set"][:-1], "train.steps=20"]
    process = subprocess.Popen(
        **command(tmp_path, content, ("-c", OFTEN)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        plan = tmp_path / "store/suites/small.json"
        wait_for(lambda: plan.exists() and len(stored(tmp_path)["trials"]) >= 1, seconds=300)
        assert process.poll() is None, "it ended before it could be killed"
    finally:
        kill_tree(process.pid)
        process.wait()
    before, cut_off = made(tmp_path), stored(tmp_path)
    assert not cut_off["ended"]
    code, found = run(tmp_path, content)
    assert (code, len(found["trials"])) == (0, len(ranks))
    assert before.items() <= made(tmp_path).items()  # nothing is made twice
    assert stored(tmp_path)["ended"]
    assert not list(
        (tmp_path / "store/suites").glob("small@*")
    )  # what is under way is no past plan


@pytest.mark.slow
@pytest.mark.nightly
def test_asha_gives_the_worse_choices_up_early(tmp_path):
    content = {
        "seeds": [0],
        "search": {"algorithm": "random", "trials": 4, "seed": 0},
        "scheduler": {"name": "asha", "first_steps": 2, "factor": 2},
        "baselines": {"prefix": {"train.learning_rate": {"loguniform": [0.01, 1.0]}}},
    }
    code, found = run(tmp_path, content)
    assert code == 0
    steps = [one["steps"] for one in found["trials"]]
    assert steps.count(2) == 4  # every choice begins
    assert 1 <= steps.count(4) <= 4
    assert found["winners"]["prefix"].endswith("steps-4")
    check_again(tmp_path, content, found)


@pytest.mark.slow
@pytest.mark.nightly
def test_optuna_proposes_as_many_choices_as_it_may(tmp_path):
    content = {
        "seeds": [0],
        "search": {"algorithm": "optuna", "trials": 3, "seed": 0},
        "baselines": {"lora": {"train.learning_rate": {"loguniform": [0.001, 0.1]}}},
    }
    code, found = run(tmp_path, content)
    assert code == 0
    assert len(found["trials"]) == 3
    rates = {one["trial"] for one in found["trials"]}
    assert len(rates) == 3
    check_again(tmp_path, content, found)
