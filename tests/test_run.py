"""The main job, small, through the command line: Ray, DeepSpeed, store, MLflow, leaderboard."""

import json
import os
import subprocess
import sys

import pytest
from mlflow import MlflowClient

SETTINGS = [
    "task.train_size=64",
    "task.devtest_size=8",
    "train.steps=8",
    "train.checkpoint_every_steps=4",
    "evaluate.decoding.max_new_tokens=12",
    "evaluate.bootstrap_samples=100",
    "baselines=[base, embedding, prefix, ks_partial_k4, ks_transfer_k18, random_k18]",
]


def run(storage, *extra):
    line = [sys.executable, "-W", "ignore", "-m", "ksl_bench.cli", "run", "quickstart"]
    for one in SETTINGS:
        line += ["--set", one]
    line += ["--storage", str(storage), *extra]
    done = subprocess.run(line, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def rows(storage):
    return {row["baseline"]: row for row in json.loads(run(storage, "--json"))}


def test_every_row_is_finished_and_carries_its_evidence(rows):
    assert list(rows) == [
        "base", "embedding", "prefix", "ks_partial_k4", "ks_transfer_k18", "random_k18",
    ]  # fmt: skip
    for row in rows.values():
        assert row["status"] == "finished"
        assert row["seeds"] == [0]
        assert row["sentences"] == 8
        assert 0 <= row["eos_rate"] <= 1
        for rule in ("raw", "first_line", "prompt_restart"):
            for metric in ("bleu", "chrf"):
                score = row["scores"][rule][metric]
                assert score["low"] <= score["value"] <= score["high"]
                assert "version:" in score["signature"]
        assert row["cost"]["evaluate_seconds"] > 0
        assert row["cost"]["peak_memory_bytes"] > 2**27
    assert rows["embedding"]["trainable_parameters"] == 1500 * 128
    assert rows["ks_partial_k4"]["trainable_parameters"] == 4 * 128
    assert rows["base"]["cost"]["train_seconds"] == 0
    # what the ticket was found in is on the bill of the ticket, too
    assert (
        rows["ks_partial_k4"]["cost"]["selection_seconds"]
        > rows["embedding"]["cost"]["train_seconds"]
    )


def test_a_second_run_makes_nothing_and_says_so(rows, storage):
    before = {path: path.stat().st_mtime_ns for path in storage.glob("*/*/*.json")}
    pools = set((storage / "ray").iterdir())  # what the first run's worker groups left
    said = run(storage)
    assert "nothing to do" in said
    assert "base" in said
    assert pools
    assert set((storage / "ray").iterdir()) == pools
    assert {path: path.stat().st_mtime_ns for path in storage.glob("*/*/*.json")} == before


def test_results_say_how_they_came_about(rows, storage):
    (key,) = rows["ks_partial_k4"]["evaluations"]
    result = json.loads((storage / "evaluations" / key / "result.json").read_text())
    assert result["provenance"]["versions"]["deepspeed"]
    assert result["data"]["digest"]
    assert result["model"]["digest"]
    assert result["tied_embeddings"] is False
    lines = (storage / "evaluations" / key / "outputs.jsonl").read_text().splitlines()
    assert len(lines) == 8
    assert {"source", "reference", "output", "raw", "first_line"} <= json.loads(lines[0]).keys()


def test_no_checkpoint_is_left_of_what_is_finished(rows, storage):
    assert not list(storage.glob("states/*/checkpoints/*"))


def test_mlflow_has_a_run_a_row_with_curves_and_final_numbers(rows, storage):
    client = MlflowClient(tracking_uri=f"sqlite:///{storage}/mlflow.db")
    experiment = client.get_experiment_by_name("quickstart")
    found = client.search_runs([experiment.experiment_id], "tags.kind = 'run'")
    runs = {run.data.tags["baseline"]: run for run in found}
    assert runs.keys() == rows.keys()
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    for name, row in rows.items():
        found = runs[name].data.metrics["bleu/first_line"]
        assert found == pytest.approx(row["scores"]["first_line"]["bleu"]["value"])
    losses = client.get_metric_history(runs["prefix"].info.run_id, "loss")
    assert [one.step for one in losses] == list(range(1, 9))
    files = {one.path for one in client.list_artifacts(runs["prefix"].info.run_id)}
    assert files == {"result.json", "outputs.jsonl", "config.yaml", "samples.json"}


@pytest.mark.parametrize("format_", ["json", "csv", "markdown", "table"])
def test_the_leaderboard_has_every_row_in_every_format(rows, storage, format_):
    command = [sys.executable, "-W", "ignore", "-m", "ksl_bench.cli", "leaderboard", "quickstart"]
    done = subprocess.run(
        [*command, "--storage", str(storage), "--format", format_],
        capture_output=True, text=True, timeout=120, check=True,
        env={**os.environ, "COLUMNS": "120"},  # in a narrow terminal a long name takes two lines
    )  # fmt: skip
    assert all(name in done.stdout for name in rows)
    if format_ == "json":
        assert json.loads(done.stdout) == list(rows.values())


@pytest.mark.slow
def test_two_workers_under_zero_2_share_every_run_and_give_the_losses_of_one(
    rows, storage, tmp_path
):
    settings = ["resources.workers_per_run=2", "resources.zero_stage=2", "train.micro_batch_size=4"]
    extra = [part for one in settings for part in ("--set", one)]
    found = {row["baseline"]: row for row in json.loads(run(tmp_path, "--json", *extra))}
    assert {row["status"] for row in found.values()} == {"finished"}
    for name in ("embedding", "prefix"):
        one, two = state_of(storage, rows[name]), state_of(tmp_path, found[name])
        assert two["losses"] == pytest.approx(one["losses"], abs=1e-4)
        assert (one["cost"]["workers"], two["cost"]["workers"]) == (1, 2)
        assert len(two["cost"]["peak_memory"]) == 2


def state_of(storage, row):
    (key,) = row["evaluations"]
    result = json.loads((storage / "evaluations" / key / "result.json").read_text())
    return json.loads((storage / "states" / result["inputs"]["state"] / "state.json").read_text())
