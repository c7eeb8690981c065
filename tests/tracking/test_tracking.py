"""MLflow over a real database, from a store written by hand: idempotent, live, honest about failure."""

import json

import pytest
import yaml

from ksl_bench.errors import TrackingError
from ksl_bench.store import Store, key_of
from ksl_bench.tracking import Tracker, tracking_uri
from tests.boards import COST, TICKET, Written
from tests.tracked import (
    STATE,
    finish_evaluation,
    finish_row,
    planned,
    runs_of,
    step_line,
    text_of,
)


@pytest.fixture
def store(tmp_path):
    return planned(tmp_path)


def test_a_row_about_which_nothing_is_known_has_no_run(store):
    assert Tracker(store).sync("mine") == 0
    assert runs_of(store)[1] == []


def test_a_run_is_live_then_finished_and_no_step_is_logged_twice(store):
    tracker = Tracker(store)
    store.write_lines("state", STATE, "metrics.jsonl", [step_line(1), step_line(2)])
    tracker.sync("mine")
    _, (run,) = runs_of(store)
    assert run.info.status == "RUNNING"
    store.append_lines("state", STATE, "metrics.jsonl", [step_line(3), step_line(4)])
    record = finish_row(store)
    for _ in range(3):
        tracker.sync("mine")
    client, (run,) = runs_of(store)
    assert run.info.status == "FINISHED"
    assert [one.step for one in client.get_metric_history(run.info.run_id, "loss")] == [1, 2, 3, 4]
    assert len(client.get_metric_history(run.info.run_id, "bleu/raw")) == 1
    wanted = record["scores"]["first_line"]["bleu"]
    assert run.data.metrics["bleu/first_line"] == wanted["value"]
    assert run.data.tags["signature.bleu"] == wanted["signature"]
    assert run.data.metrics["tokens_per_second"] == 180.0
    assert run.data.params["lora_rank"] == "8"
    assert {one.path for one in client.list_artifacts(run.info.run_id)} == {
        "result.json", "outputs.jsonl", "config.yaml", "samples.json",
    }  # fmt: skip


def test_a_failed_row_is_a_failed_run_with_its_reason_until_it_succeeds(store):
    tracker = Tracker(store)
    store.fail("state", STATE, "diverged", "the loss is nan")
    tracker.sync("mine")
    _, (run,) = runs_of(store)
    assert run.info.status == "FAILED"
    assert (run.data.tags["status"], run.data.tags["reason"]) == ("diverged", "the loss is nan")
    finish_row(store)
    tracker.sync("mine")
    _, (run,) = runs_of(store)
    assert run.info.status == "FINISHED"
    assert (run.data.tags["status"], run.data.tags["reason"]) == ("finished", "")


def test_another_configuration_is_another_run(store):
    finish_row(store)
    tracker = Tracker(store)
    tracker.sync("mine")
    plan = store.plans.read("mine")
    another = plan["rows"][0]["evaluation"] = key_of({"name": "another evaluation"})
    store.plans.write("mine", plan)
    finish_evaluation(store, another, quality=0.7)
    tracker.sync("mine")
    assert len(runs_of(store)[1]) == 2


def test_a_server_that_is_down_is_named_without_its_password(store):
    tracker = Tracker(store, uri="http://me:secret@127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1:9") as caught:
        tracker.sync("mine")
    assert "secret" not in str(caught.value)


def test_a_storage_that_is_no_folder_needs_an_address():
    with pytest.raises(TrackingError, match=r"tracking\.uri: must be given"):
        tracking_uri(Store("memory://somewhere"), None)


def test_the_sample_table_shows_the_same_sentences_in_every_run_and_is_never_longer(store):
    finish_row(store)
    for _ in range(2):
        Tracker(store).sync("mine")
    client, (run,) = runs_of(store)
    table = json.loads(text_of(client, run, "samples.json"))
    assert table["columns"] == ["source", "reference", "hypothesis", "output"]
    assert table["data"] == [[f"source {n}", "b", "c", "c\nd"] for n in range(20)]
    assert json.loads(run.data.tags["mlflow.loggedArtifacts"]) == [
        {"path": "samples.json", "type": "table"}
    ]


def test_every_run_has_the_same_tags_so_that_pages_sort_and_filter(tmp_path):
    board = Written(tmp_path)
    board.scored("base", [0.5], method="none")
    board.scored("ks_k18", [0.8, 0.9], ticket={"criterion": "ks", "k": 18})
    store = board.done()
    Tracker(store).sync("mine")
    _, runs = runs_of(store)
    assert len(runs) == 3
    names = [
        {name for name in run.data.tags if not name.startswith(("mlflow.", "ksl_bench."))}
        for run in runs
    ]
    assert names[0] == names[1] == names[2]
    assert names[0] >= {
        "kind", "suite", "baseline", "method", "seed", "k", "criterion", "template", "status",
    }  # fmt: skip
    assert {(run.data.tags["k"], run.data.tags["criterion"]) for run in runs} == {
        ("", ""), ("18", "ks"),
    }  # fmt: skip


def test_a_run_of_a_sequence_shows_what_ran_at_its_step(tmp_path):
    tasks = ["one", "two"]
    board = Written(tmp_path, conditions={task: {} for task in tasks}, sequence=tasks)
    conditions = ["one", "one+two"]
    for condition, task in zip(conditions, tasks, strict=True):
        board.scored("lota", [0.9], method="lota", condition=condition, scored_under=task)
    board.suite["conditions"] = {task: {"prompt": "explicit"} for task in tasks}
    whole = board.baselines["lota"]
    own = {"hyperparameters": {}, "train": whole["train"]}
    board.baselines["lota"]["by_step"] = [
        {**own, "ticket": {**TICKET, "criterion": "magnitude"}, "hyperparameters": {"part": 7}},
        {**own, "ticket": None, "train": {**whole["train"], "steps": 500}},
    ]
    Tracker(board.done()).sync("mine")
    _, runs = runs_of(board.store)
    shown = {
        run.data.tags["condition"]: (
            run.data.tags["criterion"],
            run.data.params.get("part"),
            run.data.params["steps"],
        )
        for run in runs
    }
    steps = str(whole["train"]["steps"])
    assert shown == {"one": ("magnitude", "7", steps), "one+two": ("", None, "500")}


def test_a_row_that_trains_nothing_shows_its_recipe_as_configuration(tmp_path):
    store = Written(tmp_path).scored("base", [0.5], method="none").done()
    Tracker(store).sync("mine")
    client, (run,) = runs_of(store)
    shown = yaml.safe_load(text_of(client, run, "config.yaml"))
    assert shown == store.plans.read("mine")["suite"]["baselines"][0]


def test_a_price_that_is_named_later_reaches_a_finished_run(tmp_path):
    board = Written(tmp_path).scored("full", [0.9])
    Tracker(board.done()).sync("mine")
    _, (run,) = runs_of(board.store)
    assert "money" not in run.data.metrics
    board.suite["resources"] = {"price_per_device_hour": 2.0}
    Tracker(board.done()).sync("mine")
    _, (run,) = runs_of(board.store)
    assert run.data.metrics["money"] == pytest.approx(2.0 * COST["device_hours"])
