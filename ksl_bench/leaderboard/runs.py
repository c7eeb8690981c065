"""What the store has of every row that a suite planned: its result, or why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ksl_bench.errors import StorageError
from ksl_bench.evaluation.scoring import GROUPS_FILE, RESAMPLES_FILE, draw_of_group, read_arrays
from ksl_bench.significance.resampling import Draw, System
from ksl_bench.store import Store
from ksl_bench.store.bundles import Bundle, Rows
from ksl_bench.store.layout import CHAIN

Group = tuple[str, str, str, str]
"""Axis, group, rule and metric."""


class Run:
    """One baseline under one seed, as far as the store knows."""

    def __init__(self, store: Store, row: Mapping[str, Any]) -> None:
        """Read the result, or find the first artifact of its chain that is not finished."""
        self.seed: int = row["seed"]
        self.key: str = row["evaluation"]
        self.ticket: str | None = row["ticket"]
        self.status: str = "pending"
        self.reason: str | None = None
        self.resamples: Mapping[str, Any] = {}
        """By `<rule>/<metric>`, (B,) each; see `read_results`."""
        self.group_resamples: Mapping[str, Any] = {}
        """By `<axis>/<group>/<rule>/<metric>`, (B,) each; empty where there are no groups."""
        self.result = store.record("evaluation", self.key)
        if self.result is not None and self.result["status"] == "finished":
            self.status = "finished"
            return
        self._blame(store, row)

    @property
    def finished(self) -> bool:
        """Return whether there is a result."""
        return self.status == "finished"

    def _blame(self, store: Store, row: Mapping[str, Any]) -> None:
        for kind, key, what in row.get("earlier", ()):
            record = store.record(kind, key)
            if record is not None and record["status"] != "finished":
                self.status = "skipped"
                self.reason = f"{what} is {record['status']}: {record['reason']}"
                return
        for field, kind in CHAIN:
            record = store.record(kind, row[field]) if row[field] else None
            if record is None or record["status"] == "finished":
                continue
            self.status, self.reason = record["status"], record["reason"]
            if field == "source_state":  # the tuning that the ticket was to be found in
                self.status = "skipped"
                self.reason = f"the source of its ticket is {record['status']}: {record['reason']}"
            return


def read_runs(store: Store, rows: Iterable[Mapping[str, Any]]) -> list[Run]:
    """Read the runs of a plan's rows, in their order."""
    return list(store.files.side_by_side(partial(Run, store), rows))


def read_results(store: Store, rows: Rows, *, keep: bool = True) -> list[Run]:
    """Read the runs of a condition's rows, the finished ones with the scores of all resamples.

    Args:
        store: Where they are.
        rows: Of a plan.
        keep: Whether the next may read the same rows: then an object store keeps a bundle of them.
    """
    bundle = Bundle(store, rows)
    runs = _read_whole(bundle.store, rows)
    if all(run.finished for run in runs):
        if keep:
            bundle.keep()
    elif bundle.used:
        bundle.drop()
        return _read_whole(store, rows)
    return runs


def _read_whole(store: Store, rows: Rows) -> list[Run]:
    runs = read_runs(store, rows)
    _read_resamples(store, runs)
    return runs


def _read_resamples(store: Store, runs: Sequence[Run]) -> None:
    """Read the scores of all resamples of finished runs.

    What is broken is set aside by the store; its run is then pending, and says why.
    """

    def arrays(run: Run, name: str) -> Mapping[str, Any]:
        return read_arrays(store.read_bytes("evaluation", run.key, name, record=run.result))

    def read(run: Run) -> None:
        if not run.finished:
            return
        try:
            run.resamples = arrays(run, RESAMPLES_FILE)
            if run.result and run.result.get("by_group"):
                run.group_resamples = arrays(run, GROUPS_FILE)
        except StorageError as error:
            run.status, run.reason, run.result = "pending", str(error), None

    for _ in store.files.side_by_side(read, runs):
        pass


def systems_of(runs: Sequence[Run], *, fixed: bool) -> dict[tuple[str, str], System]:
    """Return a system for every rule and metric.

    Args:
        runs: The finished ones of a row, one a seed, with their resamples; at least one.
        fixed: Whether nothing in the row depends on a seed: then the first run stands for all.
    """
    runs = runs[:1] if fixed else runs
    results = [run.result for run in runs if run.result is not None]
    draw = Draw(**results[0]["draw"])
    return {
        (rule, metric): System(
            () if fixed else tuple(run.seed for run in runs),
            np.array([one["scores"][rule][metric]["value"] for one in results]),
            np.stack([run.resamples[f"{rule}/{metric}"] for run in runs]).T,
            draw,
        )
        for rule, metrics in results[0]["scores"].items()
        for metric in metrics
    }


def group_systems_of(runs: Sequence[Run], *, fixed: bool) -> dict[Group, System]:
    """Return a system for every group, rule and metric; arguments as `systems_of`."""
    runs = runs[:1] if fixed else runs
    results = [run.result for run in runs if run.result is not None]
    draw, seeds = Draw(**results[0]["draw"]), () if fixed else tuple(run.seed for run in runs)
    return {
        (axis, group, rule, metric): System(
            seeds,
            np.array([one["by_group"][axis][group][rule][metric]["value"] for one in results]),
            np.stack([run.group_resamples[f"{axis}/{group}/{rule}/{metric}"] for run in runs]).T,
            draw_of_group(draw, _units(entry, draw)),
        )
        for axis, groups in (results[0].get("by_group") or {}).items()
        for group, rules in groups.items()
        for rule, metrics in rules.items()
        for metric, entry in metrics.items()
    }


def _units(entry: Mapping[str, Any], draw: Draw) -> int:
    """Return how many sentences or documents a group has; earlier versions told only its examples."""
    return int(entry.get("units", min(entry["examples"], draw.groups)))
