"""The way to MLflow: where it is, what is asked of it, and its troubles as one line."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ksl_bench.auth import masked
from ksl_bench.errors import TrackingError
from ksl_bench.store import Store

BATCH = 900
"""Metrics a request; MLflow takes at most 1,000."""

Point = tuple[str, float, int]
"""A metric's name, value and step."""


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


@contextmanager
def blamed_on(place: str) -> Iterator[None]:
    """Turn whatever is raised into one line that names the place; what has a place already keeps it."""
    try:
        yield
    except TrackingError:
        raise
    except Exception as error:  # MLflow, SQLAlchemy and requests each raise their own kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TrackingError(f"{masked(place)}: {masked(reason)}") from error


class Connection:
    """One MLflow; its methods raise what MLflow raises, see `blamed_on`."""

    def __init__(self, uri: str) -> None:
        """Connect; a fresh database takes some seconds to be made."""
        self.uri = uri
        # A server that is down is noticed in seconds; results do not wait for it.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        from mlflow import MlflowClient

        # After the import, which sets levels of its own. What it would log, it raises, and we tell.
        for name in ("alembic", "mlflow"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._client = MlflowClient(tracking_uri=uri)

    def ping(self) -> None:
        """Ask for anything at all."""
        self._client.search_experiments(max_results=1)

    def experiment(self, name: str, root: str) -> str:
        """Return the id of an experiment, which is made where there is none.

        Args:
            name: Of the experiment.
            root: Of the store; beside a database in a folder, artifacts go there, too.
        """
        found = self._client.get_experiment_by_name(name)
        if found is None:
            folder = None
            if self.uri.startswith("sqlite:") and "://" not in root:
                folder = (Path(root) / "mlartifacts" / name).as_uri()
            made = self._client.create_experiment(name, artifact_location=folder)
            return str(made)
        return str(found.experiment_id)

    def runs(self, experiment: str) -> Iterator[Any]:
        """Yield all runs of an experiment but those that someone deleted."""
        token = None
        while True:
            page = self._client.search_runs([experiment], max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def create(
        self, experiment: str, name: str, tags: Mapping[str, str], start_ms: int | None = None
    ) -> Any:
        """Make a run."""
        return self._client.create_run(
            experiment, run_name=name, tags=dict(tags), start_time=start_ms
        )

    def log(
        self,
        run_id: str,
        *,
        points: Sequence[Point] = (),
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        at_ms: int | None = None,
    ) -> None:
        """Write metrics, tags and parameters, in as few requests as MLflow takes.

        Args:
            run_id: Of the run.
            points: Metrics; of a name and step, the latest counts.
            tags: At most 100.
            params: At most 100; never to be changed.
            at_ms: The metrics' time, now where none is given.
        """
        from mlflow.entities import Metric, Param, RunTag

        at_ms = _now_ms() if at_ms is None else at_ms
        metrics = [Metric(name, value, at_ms, step) for name, value, step in points]
        for start in range(0, len(metrics), BATCH):
            self._client.log_batch(run_id, metrics=metrics[start : start + BATCH])
        pairs = [RunTag(name, value) for name, value in (tags or {}).items()]
        fixed = [Param(name, value) for name, value in (params or {}).items()]
        if pairs or fixed:
            self._client.log_batch(run_id, tags=pairs, params=fixed)

    def upload(self, run_id: str, files: Mapping[str, bytes]) -> None:
        """Write artifacts by their paths, over those of the same path."""
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            self._client.log_artifacts(run_id, folder)

    def set_status(self, run_id: str, status: str, end_ms: int | None = None) -> None:
        """Say how a run stands; any status but RUNNING ends it, now where no time is given."""
        if status == "RUNNING":
            self._client.update_run(run_id, status=status)
        else:
            self._client.set_terminated(run_id, status=status, end_time=end_ms)


def _now_ms() -> int:
    return int(1000 * time.time())
