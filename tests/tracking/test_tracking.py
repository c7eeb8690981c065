"""MLflow over a real database, from a store written by hand: idempotent, live, honest about failure."""

import json

import pytest
from mlflow import MlflowClient

from ksl_bench.errors import TrackingError
from ksl_bench.store import Store, key_of
from ksl_bench.tracking import Tracker, masked, tracking_uri
from tests.test_leaderboard import result


def key(name):
    return key_of({"name": name})


def line(step):
    return json.dumps(
        {"step": step, "loss": 5.0 / step, "learning_rate": 0.1, "tokens": 90, "seconds": 0.5}
    )


@pytest.fixture
def store(tmp_path):
    store = Store(str(tmp_path))
    train = {"learning_rate": 0.1, "steps": 4, "epochs": None}
    recipe = {"name": "lora", "method": "lora", "hyperparameters": {"lora_rank": 8}, "train": train}
    store.write_plan(
        "mine",
        {
            "suite": {
                "name": "mine",
                "task": {"prompt": "explicit"},
                "conditions": {},
                "tracking": {"experiment": None},
                "baselines": [{**recipe, "ticket": None}],
            },
            "model": {"name": "tiny-base", "revision": None},
            "rows": [
                {
                    "baseline": "lora",
                    "seed": 0,
                    "condition": "default",
                    "scored_under": "default",
                    "evaluation": key("evaluation"),
                    "state": key("state"),
                    "ticket": None,
                    "source_state": None,
                }
            ],
        },
    )
    return store


def runs(store):
    client = MlflowClient(tracking_uri=tracking_uri(store, None))
    experiment = client.get_experiment_by_name("mine")
    return client, client.search_runs([experiment.experiment_id])


def finish(store):
    store.finish("state", key("state"), {}, {"config.yaml": b"method: lora\n"})
    store.finish("evaluation", key("evaluation"), result(0, 80.0, 90.0), {"outputs.jsonl": b"{}\n"})


def test_a_row_about_which_nothing_is_known_has_no_run(store):
    assert Tracker(store).sync("mine") == 0
    assert runs(store)[1] == []


def test_a_run_is_live_then_finished_and_no_step_is_logged_twice(store):
    tracker = Tracker(store)
    store.write_lines("state", key("state"), "metrics.jsonl", [line(1), line(2)])
    tracker.sync("mine")
    _, (run,) = runs(store)
    assert run.info.status == "RUNNING"
    store.append_lines("state", key("state"), "metrics.jsonl", [line(3), line(4)])
    finish(store)
    for _ in range(3):
        tracker.sync("mine")
    client, (run,) = runs(store)
    assert run.info.status == "FINISHED"
    assert [one.step for one in client.get_metric_history(run.info.run_id, "loss")] == [1, 2, 3, 4]
    assert len(client.get_metric_history(run.info.run_id, "bleu/raw")) == 1
    assert run.data.metrics["bleu/first_line"] == 90.0
    assert run.data.metrics["tokens_per_second"] == 180.0
    assert run.data.tags["signature.bleu"] == "nrefs:1"
    assert run.data.params["lora_rank"] == "8"
    assert {one.path for one in client.list_artifacts(run.info.run_id)} == {
        "result.json", "outputs.jsonl", "config.yaml",
    }  # fmt: skip


def test_a_failed_row_is_a_failed_run_with_its_reason_until_it_succeeds(store):
    tracker = Tracker(store)
    store.fail("state", key("state"), "diverged", "the loss is nan")
    tracker.sync("mine")
    _, (run,) = runs(store)
    assert run.info.status == "FAILED"
    assert (run.data.tags["status"], run.data.tags["reason"]) == ("diverged", "the loss is nan")
    finish(store)
    tracker.sync("mine")
    _, (run,) = runs(store)
    assert run.info.status == "FINISHED"
    assert (run.data.tags["status"], run.data.tags["reason"]) == ("finished", "")


def test_another_configuration_is_another_run(store):
    finish(store)
    tracker = Tracker(store)
    tracker.sync("mine")
    plan = store.read_plan("mine")
    plan["rows"][0]["evaluation"] = key("another evaluation")
    store.write_plan("mine", plan)
    store.finish(
        "evaluation", key("another evaluation"), result(0, 70.0, 70.0), {"outputs.jsonl": b""}
    )
    tracker.sync("mine")
    assert len(runs(store)[1]) == 2


def test_a_server_that_is_down_is_named_without_its_password(store):
    tracker = Tracker(store, uri="http://me:secret@127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1:9") as caught:
        tracker.sync("mine")
    assert "secret" not in str(caught.value)
    assert masked("postgresql://u:p@host/db") == "postgresql://***@host/db"


def test_a_storage_that_is_no_folder_needs_an_address():
    with pytest.raises(TrackingError, match=r"tracking\.uri: must be given"):
        tracking_uri(Store("memory://somewhere"), None)
