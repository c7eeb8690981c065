"""Bring MLflow up to date with a store: write what is new, leave the rest alone."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ksl_bench.errors import TrackingError
from ksl_bench.leaderboard.places import place_of
from ksl_bench.leaderboard.runs import read_runs
from ksl_bench.leaderboard.sequence import recipes_of
from ksl_bench.store import Store
from ksl_bench.tracking.board import BOARD_KIND, at_rest, board_digest, show_board
from ksl_bench.tracking.client import Connection, blamed_on, tracking_uri
from ksl_bench.tracking.rows import Row, identity_of

LOGGED_TAG = "ksl_bench.logged_step"
SHOWN_TAG = "ksl_bench.shown"
"""A digest of what a run shows, written last: a run that bears the right one is whole."""
PATIENCE = 20
"""While a suite runs, its leaderboard is not made again before so many times the seconds that it took."""


class Tracker:
    """Writes one store's results to one MLflow."""

    def __init__(self, store: Store, *, uri: str | None = None) -> None:
        """Connect; a fresh database takes some seconds to be made.

        Raises:
            TrackingError: If MLflow cannot be reached.
        """
        self.store, self.uri = store, tracking_uri(store, uri)
        self._board_due = 0.0
        with blamed_on(self.uri):
            self._mlflow = Connection(self.uri)

    def ping(self) -> None:
        """Ask MLflow for anything at all.

        Raises:
            TrackingError: If it does not answer.
        """
        with blamed_on(self.uri):
            self._mlflow.ping()

    def sync(self, suite: str) -> int:
        """Bring every row of a suite's last plan up to date, then its leaderboard.

        Returns:
            How many rows have a run.

        Raises:
            TrackingError: If MLflow refuses, or nothing is stored of the suite.
        """
        with blamed_on(self.store.root):
            plan = self.store.plans.read(suite)
            if plan is None:
                raise TrackingError(f"nothing is stored of suite {suite!r} in {self.store.root}")
            runs = read_runs(self.store, plan["rows"])
            recipes = recipes_of(plan)
            rows = [
                Row(self.store, suite, plan, row, run, recipes[place_of(row)])
                for row, run in zip(plan["rows"], runs, strict=True)
            ]
        begun = [row for row in rows if row.begun]
        with blamed_on(self.uri):
            experiment = self._mlflow.experiment(
                plan["suite"]["tracking"]["experiment"] or suite, self.store.root
            )
            mine = [
                run for run in self._mlflow.runs(experiment) if run.data.tags.get("suite") == suite
            ]
            known = {identity_of(run.data.tags): run for run in mine}
            for row in begun:
                self._sync_row(row, experiment, known.get(identity_of(row.tags())))
            boards = (run for run in mine if run.data.tags.get("kind") == BOARD_KIND)
            self._sync_board(suite, plan, rows, experiment, next(boards, None))
        return len(begun)

    def _sync_row(self, row: Row, experiment: str, run: Any) -> None:
        if run is None:
            run = self._mlflow.create(experiment, row.name, row.tags(), row.start_ms)
        run_id, tags, fresh = run.info.run_id, run.data.tags, run.info.status == row.run_status
        whole = fresh and tags.get(SHOWN_TAG) == row.shown
        if whole and row.status != "running":
            return
        logged = int(tags.get(LOGGED_TAG, "0"))
        with blamed_on(self.store.root):
            last, points = row.steps(logged)
        if points:
            # No time of their own: a step that is logged again after a broken sync is the same point.
            self._mlflow.log(run_id, points=points, at_ms=0)
            self._mlflow.log(run_id, tags={LOGGED_TAG: str(last)})
        if whole:
            return
        self._show(row, run)

    def _show(self, row: Row, run: Any) -> None:
        """Write all that a run shows beside its steps."""
        run_id, known = run.info.run_id, run.data
        with blamed_on(self.store.root):
            files = row.artifacts()
        if files:
            self._mlflow.upload(run_id, files)
        points = [
            (name, value, 0)
            for name, value in row.metrics().items()
            if known.metrics.get(name) != value
        ]
        missing = {name: text for name, text in row.params().items() if name not in known.params}
        self._mlflow.log(run_id, points=points, params=missing, tags=row.tags(), at_ms=row.end_ms)
        self._mlflow.set_status(run_id, row.run_status, row.end_ms)
        self._mlflow.log(run_id, tags={SHOWN_TAG: row.shown})

    def _sync_board(
        self, suite: str, plan: Mapping[str, Any], rows: Sequence[Row], experiment: str, run: Any
    ) -> None:
        if all(row.status in ("pending", "running") for row in rows):
            return  # nothing to compare yet
        rests, digest = at_rest(rows), board_digest(plan, rows)
        if run is not None and run.data.tags.get(SHOWN_TAG) == digest:
            return
        begun = time.monotonic()
        if begun < self._board_due and not rests:
            return
        with blamed_on(f"leaderboard of {suite}"):
            shown = show_board(self.store, suite, report=rests)
        tags = {"kind": BOARD_KIND, "suite": suite, "status": "finished" if rests else "running"}
        if run is None:
            run = self._mlflow.create(experiment, BOARD_KIND, tags)
        run_id = run.info.run_id
        self._mlflow.upload(run_id, shown.files)
        self._mlflow.log(
            run_id,
            points=[(name, value, 0) for name, value in shown.metrics.items()],
            tags={**tags, "mlflow.note.content": shown.description},
        )
        self._mlflow.set_status(run_id, "FINISHED" if rests else "RUNNING")
        self._mlflow.log(run_id, tags={SHOWN_TAG: digest})
        self._board_due = time.monotonic() + PATIENCE * (time.monotonic() - begun)
