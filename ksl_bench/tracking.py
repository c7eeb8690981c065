"""MLflow as a projection of the store: what the records say, brought up to date as often as one likes.

One experiment a suite, one flat run a row (baseline and seed). The same call serves while a suite runs and
long after: a run is found again by its tags, steps already logged are not logged twice.
"""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ksl_bench.errors import TrackingError
from ksl_bench.leaderboard import peak_bytes
from ksl_bench.store import Store

EVALUATION_TAG = "ksl_bench.evaluation"
LOGGED_TAG = "ksl_bench.logged_step"
BATCH = 900
"""Metrics a request; MLflow takes at most 1,000."""

_COSTS = ("selection_seconds", "train_seconds", "evaluate_seconds", "device_hours")


def tracking_uri(store: Store, uri: str | None) -> str:
    """Return where MLflow is: as asked for, else $MLFLOW_TRACKING_URI, else a database in the store.

    Raises:
        TrackingError: If the store is no folder and nothing was asked for.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI")
    if uri:
        return uri
    if "://" in store.root:
        raise TrackingError(
            f"tracking.uri: must be given with a storage that is no folder ({store.root})"
        )
    return f"sqlite:///{store.root}/mlflow.db"


def masked(uri: str) -> str:
    """Return a URI without its user and password."""
    return re.sub(r"//[^/@]*@", "//***@", uri)


class Tracker:
    """Writes one store's results to one MLflow."""

    def __init__(self, store: Store, *, uri: str | None = None) -> None:
        """Connect; a fresh database takes some seconds to be made.

        Raises:
            TrackingError: If MLflow cannot be reached.
        """
        self.store, self.uri = store, tracking_uri(store, uri)
        # A server that is down is noticed in seconds; results do not wait for it.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        from mlflow import MlflowClient

        # After the import, which sets levels of its own. What it would log, it raises, and we tell.
        for name in ("alembic", "mlflow"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        with self._reported():
            self._client = MlflowClient(tracking_uri=self.uri)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Turn whatever MLflow raises into one line that names the place."""
        try:
            yield
        except Exception as error:  # MLflow, SQLAlchemy and requests each raise their own kinds
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise TrackingError(f"{masked(self.uri)}: {masked(reason)}") from error

    def ping(self) -> None:
        """Ask MLflow for anything at all.

        Raises:
            TrackingError: If it does not answer.
        """
        with self._reported():
            self._client.search_experiments(max_results=1)

    def sync(self, suite: str) -> int:
        """Bring every row of a suite's last plan up to date.

        Returns:
            How many rows have a run.

        Raises:
            TrackingError: If MLflow refuses, or nothing is stored of the suite.
        """
        plan = self.store.read_plan(suite)
        if plan is None:
            raise TrackingError(f"nothing is stored of suite {suite!r} in {self.store.root}")
        with self._reported():
            experiment = self._experiment(plan["suite"]["tracking"]["experiment"] or suite)
            known = self._known_runs(experiment)
            recipes = {one["name"]: one for one in plan["suite"]["baselines"]}
            rows = [_Row(self.store, plan, row, recipes[row["baseline"]]) for row in plan["rows"]]
            begun = [row for row in rows if row.begun]
            for row in begun:
                self._sync_row(row, experiment, known.get(row.identity))
        return len(begun)

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        folder = None
        if self.uri.startswith("sqlite:") and "://" not in self.store.root:
            folder = (Path(self.store.root) / "mlartifacts" / name).as_uri()
        return str(self._client.create_experiment(name, artifact_location=folder))

    def _known_runs(self, experiment: str) -> dict[tuple[str, str], Any]:
        """Return the experiment's runs by evaluation key and baseline."""
        found: dict[tuple[str, str], Any] = {}
        token = None
        while True:
            page = self._client.search_runs([experiment], max_results=1000, page_token=token)
            for run in page:
                tags = run.data.tags
                found[
                    tags.get(EVALUATION_TAG, ""),
                    f"{tags.get('baseline')} {tags.get('seed')} {tags.get('condition')}",
                ] = run
            token = page.token
            if not token:
                return found

    def _sync_row(self, row: _Row, experiment: str, run: Any) -> None:
        if run is not None and run.info.status == row.run_status == "FINISHED":
            return
        if run is None:
            run = self._client.create_run(experiment, run_name=row.name, tags=row.tags())
            self._log_params(run.info.run_id, row.parameters())
        run_id = run.info.run_id
        self._log_steps(run_id, row, int(run.data.tags.get(LOGGED_TAG, "0")))
        for name, value in row.tags().items():
            self._client.set_tag(run_id, name, value)
        if row.result is not None:
            self._log_result(run_id, row)
        if row.run_status == "RUNNING":
            self._client.update_run(run_id, status="RUNNING")
        else:
            self._client.set_terminated(run_id, status=row.run_status)

    def _log_params(self, run_id: str, parameters: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        self._client.log_batch(run_id, params=[Param(k, v) for k, v in parameters.items()])

    def _log_steps(self, run_id: str, row: _Row, logged: int) -> None:
        from mlflow.entities import Metric

        lines = [line for line in row.step_lines() if line["step"] > logged]
        metrics = [
            Metric(name, value, 0, line["step"])
            for line in lines
            for name, value in (
                ("loss", line["loss"]),
                ("learning_rate", line["learning_rate"]),
                ("tokens_per_second", line["tokens"] / line["seconds"]),
            )
        ]
        for start in range(0, len(metrics), BATCH):
            self._client.log_batch(run_id, metrics=metrics[start : start + BATCH])
        if lines:
            self._client.set_tag(run_id, LOGGED_TAG, str(lines[-1]["step"]))

    def _log_result(self, run_id: str, row: _Row) -> None:
        from mlflow.entities import Metric, RunTag

        metrics = [Metric(name, value, 0, 0) for name, value in row.metrics().items()]
        tags = [RunTag(name, value) for name, value in row.signatures().items()]
        self._client.log_batch(run_id, metrics=metrics, tags=tags)
        with tempfile.TemporaryDirectory() as folder:
            for name, content in row.artifacts().items():
                path = Path(folder) / name
                path.write_bytes(content)
                self._client.log_artifact(run_id, str(path))


class _Row:
    """One baseline under one seed, as the store has it."""

    def __init__(
        self,
        store: Store,
        plan: Mapping[str, Any],
        row: Mapping[str, Any],
        recipe: Mapping[str, Any],
    ) -> None:
        self._store, self._plan, self._row, self._recipe = store, plan, row, recipe
        self.baseline, self.seed = str(row["baseline"]), int(row["seed"])
        self.identity = (
            str(row["evaluation"]),
            f"{self.baseline} {self.seed} {row['condition']}",
        )
        evaluation = store.record("evaluation", row["evaluation"])
        finished = evaluation is not None and evaluation["status"] == "finished"
        self.result = evaluation if finished else None
        self.status, self.reason = ("finished", "") if finished else self._unfinished()

    def _unfinished(self) -> tuple[str, str]:
        """Return status and reason of the first artifact of the row that did not come about."""
        chain = (("state", "source_state"), ("ticket", "ticket"), ("state", "state"))
        for kind, field in (*chain, ("evaluation", "evaluation")):
            record = self._store.record(kind, self._row[field]) if self._row[field] else None
            if record is not None and record["status"] != "finished":
                if field == "source_state":
                    return "skipped", f"the source of its ticket is {record['status']}"
                return str(record["status"]), str(record["reason"] or "")
        return "running", ""

    @property
    def name(self) -> str:
        """Return what the run is called in MLflow."""
        condition, scored_under = self._row["condition"], self._row["scored_under"]
        named = self._plan["suite"]["conditions"]
        where = f" {condition}" if named else ""
        where += f" under {scored_under}" if scored_under != condition else ""
        return f"{self.baseline}{where} seed {self.seed}"

    @property
    def begun(self) -> bool:
        """Whether there is anything to show."""
        return self.status != "running" or bool(self.step_lines())

    @property
    def run_status(self) -> str:
        return {"finished": "FINISHED", "running": "RUNNING"}.get(self.status, "FAILED")

    def step_lines(self) -> list[dict[str, Any]]:
        key = self._row["state"]
        lines = self._store.read_lines("state", key, "metrics.jsonl") if key else []
        return [json.loads(line) for line in lines]

    def tags(self) -> dict[str, str]:
        """Return the same tags for every run, so that sorting and filtering work."""
        ticket = self._recipe.get("ticket") or {}
        suite = self._plan["suite"]
        scored_under = self._row["scored_under"]
        task = (suite["conditions"] or {}).get(scored_under, suite["task"])
        return {
            "suite": suite["name"],
            "baseline": self.baseline,
            "method": self._recipe["method"],
            "seed": str(self.seed),
            "k": str(ticket.get("k") or ""),
            "criterion": str(ticket.get("criterion") or ""),
            "condition": str(self._row["condition"]),
            "scored_under": str(scored_under),
            "prompt": str(task["prompt"])[:200],
            "status": self.status,
            "reason": self.reason,
            EVALUATION_TAG: str(self._row["evaluation"]),
        }

    def parameters(self) -> dict[str, str]:
        """Return the hyperparameters, each as short text."""
        train = {name: value for name, value in self._recipe["train"].items() if value is not None}
        return {
            name: str(value)[:500]
            for name, value in {
                "model": self._plan["model"]["name"],
                "revision": self._plan["model"]["revision"],
                **self._recipe["hyperparameters"],
                **train,
            }.items()
        }

    def metrics(self) -> dict[str, float]:
        """Return the final numbers, by names that hold for all suites."""
        assert self.result is not None
        scores = {
            f"{metric}/{rule}": score["value"]
            for rule, metrics in self.result["scores"].items()
            for metric, score in metrics.items()
        }
        cost = self.result["cost"]
        return {
            **scores,
            "eos_rate": self.result["diagnostics"]["eos_rate"],
            "trainable_parameters": self.result["parameters"]["trainable"],
            **{name: cost[name] for name in _COSTS},
            "peak_memory_bytes": peak_bytes(cost),
        }

    def signatures(self) -> dict[str, str]:
        """Return the signature of every metric."""
        assert self.result is not None
        by_metric = self.result["scores"]["raw"]
        return {f"signature.{name}": score["signature"] for name, score in by_metric.items()}

    def artifacts(self) -> dict[str, bytes]:
        """Return the files that go with the run."""
        key = str(self._row["evaluation"])
        files = {
            "result.json": json.dumps(self.result, indent=2).encode(),
            "outputs.jsonl": self._store.read_bytes("evaluation", key, "outputs.jsonl"),
        }
        state = self._row["state"]
        if state and self._store.is_finished("state", state):
            files["config.yaml"] = self._store.read_bytes("state", state, "config.yaml")
        return files
