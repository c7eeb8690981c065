"""A suite of one row, written by hand, and what MLflow then shows of it."""

import json
from pathlib import Path

from mlflow import MlflowClient

from ksl_bench.store import key_of
from ksl_bench.tracking import tracking_uri
from tests.boards import Written, result, written

STATE = key_of({"name": "state"})
EVALUATION = key_of({"name": "evaluation"})


def step_line(step):
    return json.dumps(
        {"step": step, "loss": 5.0 / step, "learning_rate": 0.1, "tokens": 90, "seconds": 0.5}
    )


def finish_evaluation(store, key=EVALUATION, quality=0.9, **fields):
    record, files = result(written(quality, 0), **fields)
    lines = [
        {"source": f"source {index}", "reference": "b", "first_line": "c", "output": "c\nd"}
        for index in range(30)
    ]
    files["outputs.jsonl"] = "".join(json.dumps(line) + "\n" for line in lines).encode()
    store.finish("evaluation", key, record, files)
    return record


def finish_row(store):
    store.finish("state", STATE, {}, {"config.yaml": b"method: lora\n"})
    return finish_evaluation(store)


def runs_of(store, *, kind="run", uri=None):
    client = MlflowClient(tracking_uri=tracking_uri(store, uri))
    experiment = client.get_experiment_by_name("mine")
    return client, client.search_runs([experiment.experiment_id], f"tags.kind = '{kind}'")


def planned(folder):
    """Return a store whose suite `mine` has one row, of which nothing is made yet."""
    board = Written(folder)
    board.recipe("lora", "lora", train={"steps": 4})
    board.baselines["lora"]["hyperparameters"] = {"lora_rank": 8}
    board.row("lora", 0, EVALUATION, state=STATE)
    return board.done()


def text_of(client, run, path):
    """Return an artifact of a run as text."""
    return Path(client.download_artifacts(run.info.run_id, path)).read_text(encoding="utf-8")
