"""A leaderboard, read from the store alone: the plan that the last run left there, and its results."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ksl_bench.config import VerdictSpec
from ksl_bench.errors import StorageError
from ksl_bench.leaderboard.audits import audits_of
from ksl_bench.leaderboard.bill import add_cost_over_full, add_score_against_full
from ksl_bench.leaderboard.comparable import Terms
from ksl_bench.leaderboard.directions import add_directions
from ksl_bench.leaderboard.gains import Systems, add_gains, add_recovery
from ksl_bench.leaderboard.keeping import judge_sequences
from ksl_bench.leaderboard.places import Place, place_of
from ksl_bench.leaderboard.questions import judge
from ksl_bench.leaderboard.ranking import Ranked, rank_rows, terms_of
from ksl_bench.leaderboard.rows import Row, add_groups, add_scores, is_fixed, make_row
from ksl_bench.leaderboard.runs import (
    Group,
    Run,
    group_systems_of,
    read_results,
    systems_of,
)
from ksl_bench.leaderboard.sequence import (
    add_measures,
    kept_systems,
    recipes_of,
    sequence_places,
)
from ksl_bench.leaderboard.uneven import judge_directions
from ksl_bench.leaderboard.verdicts import Compared, Verdict
from ksl_bench.registry import unknown
from ksl_bench.significance.resampling import System
from ksl_bench.store import Store
from ksl_bench.store.audits import Audits
from ksl_bench.store.bundles import read_together

_COLLECT_AFTER = 50_000
"""New objects; 700 is usual."""


@dataclass(frozen=True, slots=True)
class Board:
    """A leaderboard."""

    suite: str
    plan: Mapping[str, Any]
    """Of the suite's last run, as the store has it."""
    rows: list[Row]
    """In the suite's order; their keys are the contract of `--format json`."""
    rankings: dict[str, list[Ranked]]
    """By condition: the rows that were ranked together, the largest group first. Places are those among the
    rows scored under that condition."""
    verdicts: list[Verdict]

    @property
    def spec(self) -> VerdictSpec:
        """Return what the verdicts were bound to beforehand."""
        return VerdictSpec(**self.plan["suite"].get("verdicts", {}))

    def scored_under(self, condition: str) -> list[Row]:
        """Return the rows scored under a condition, in the order of its ranking's places."""
        return [row for row in self.rows if row["scored_under"] == condition]


@dataclass(frozen=True, slots=True)
class Scored:
    """The rows that were scored under one condition."""

    condition: str
    places: tuple[Place, ...]
    rows: list[Row]
    systems: list[Systems | None]
    """Of each row; None where it has no score."""
    terms: list[Terms | None]
    groups: list[Mapping[Group, System]]
    """Of each row, by axis, group, rule and metric; empty where it has none."""


def plan_of(store: Store, suite: str, at: str | None = None) -> dict[str, Any]:
    """Return the plan of a suite, or an earlier one.

    Raises:
        StorageError: If the suite was never run over this store.
    """
    plan = store.plans.read(suite, at)
    if plan is None:
        raise StorageError(f"nothing is stored of {unknown('suite', suite, store.plans.names())}")
    return plan


def task_of(plan: Mapping[str, Any], condition: str) -> str:
    """Return the name of a condition's task, as a plan has it."""
    return str(task_spec_of(plan, condition).get("name", "translation"))


def task_spec_of(plan: Mapping[str, Any], condition: str) -> Mapping[str, Any]:
    """Return the fields of a condition's task, as a plan has them."""
    suite = plan["suite"]
    return (suite.get("conditions") or {}).get(condition) or suite.get("task") or {}


def price_of(plan: Mapping[str, Any]) -> float | None:
    """Return the price of a device-hour that a suite's last run named."""
    price: float | None = (plan["suite"].get("resources") or {}).get("price_per_device_hour")
    return price


def read_conditions(store: Store, plan: Mapping[str, Any]) -> Iterator[Scored]:
    """Read a plan's results, one condition after another: all at once would fill the memory."""
    recipes, steps = recipes_of(plan), sequence_places(plan)
    audits = Audits(store)
    # The rows of a sweep that goes on are others each time.
    keep = plan.get("sweep", {}).get("ended", True)
    for condition, rows in read_together(plan["rows"]).items():
        runs = read_results(store, rows, keep=keep)
        here: dict[Place, list[Run]] = {}
        for row, run in zip(rows, runs, strict=True):
            here.setdefault(place_of(row), []).append(run)
        yield _scored(
            audits,
            condition,
            here,
            recipes,
            steps,
            task=task_of(plan, condition),
            price=price_of(plan),
        )


def _scored(
    audits: Audits,
    condition: str,
    here: Mapping[Place, Sequence[Run]],
    recipes: Mapping[Place, Mapping[str, Any]],
    steps: Mapping[Place, Row],
    *,
    task: str,
    price: float | None,
) -> Scored:
    scored = Scored(condition, tuple(here), [], [], [], [])
    results: list[list[Mapping[str, Any]]] = []
    for place, runs in here.items():
        row = make_row(recipes[place], place, runs, task=task, price=price)
        done = [run for run in runs if run.finished]
        row["audits"] = audits_of(audits, recipes[place], place, done)
        row["sequence"] = dict(steps[place]) if place in steps else None
        fixed = is_fixed(recipes[place], runs)
        scored.rows.append(row)
        scored.systems.append(systems_of(done, fixed=fixed) if done else None)
        scored.groups.append(group_systems_of(done, fixed=fixed) if done else {})
        results.append([run.result for run in done if run.result is not None])
    add_scores(scored.rows, results, scored.systems)
    add_groups(scored.rows, results, scored.groups)
    scored.terms.extend(
        terms_of(row, recipes[place], own[0]) if own else None
        for place, row, own in zip(here, scored.rows, results, strict=True)
    )
    return scored


@contextlib.contextmanager
def _collecting_seldom() -> Iterator[None]:
    """Keep the collector of cycles from walking all that a large board holds, over and over.

    Not for good: what talks to an object store leaves cycles behind with every request.
    """
    before = gc.get_threshold()
    gc.set_threshold(_COLLECT_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@_collecting_seldom()
def read_board(store: Store, suite: str) -> Board:
    """Join a suite's results, and say what they show.

    Raises:
        StorageError: If the suite was never run over this store.
    """
    plan = plan_of(store, suite)
    spec = VerdictSpec(**plan["suite"].get("verdicts", {}))
    made: dict[Place, Row] = {}
    rankings: dict[str, list[Ranked]] = {}
    verdicts: list[Verdict] = []
    cells: dict[Place, Systems] = {}
    terms: dict[Place, Terms] = {}
    in_sequence = bool(sequence_places(plan))
    for one in read_conditions(store, plan):
        add_gains(one.rows, one.systems, one.terms, margin=spec.margin)
        rankings[one.condition] = rank_rows(one.rows, one.terms, one.systems, rule=spec.rule)
        add_directions(one.rows, one.groups, one.condition, partial(task_spec_of, plan))
        add_score_against_full(one.rows, rankings[one.condition])
        said = judge(one.condition, one.rows, one.systems, one.terms, spec)
        compared = Compared(one.condition, one.rows, one.systems, one.terms, spec)
        said += judge_directions(compared, one.groups)
        for place, row in zip(one.places, one.rows, strict=True):
            home = row["condition"] == row["scored_under"]
            mine = [verdict for verdict in said if verdict.baseline == row["baseline"] and home]
            row["verdicts"] = [verdict.as_dict() for verdict in mine]
            made[place] = row
        if in_sequence:
            cells |= _cells(one)
            terms |= {place: own for place, own in zip(one.places, one.terms, strict=True) if own}
        verdicts += said
    rows = [made[place] for place in dict.fromkeys(place_of(row) for row in plan["rows"])]
    add_recovery(rows, margin=spec.margin)
    add_cost_over_full(rows)
    judged = judge_sequences(rows, terms, add_measures(rows, cells), spec)
    for row in rows:
        row["verdicts"] += [verdict.as_dict() for verdict in judged if _speaks_of(verdict, row)]
    verdicts += judged
    return Board(suite, plan, rows, rankings, verdicts)


def _cells(scored: Scored) -> Iterator[tuple[Place, Systems]]:
    """Yield what a sequence is measured by, of the rows that have it."""
    for place, row, systems in zip(scored.places, scored.rows, scored.systems, strict=True):
        kept = kept_systems(row, systems)
        if kept is not None:
            yield place, kept


def _speaks_of(verdict: Verdict, row: Row) -> bool:
    """Tell whether a verdict on a sequence stands with a row: that of its last task, after its last step."""
    last = row["sequence"] is not None and row["scored_under"] == row["sequence"]["tasks"][-1]
    return last and (row["baseline"], row["condition"]) == (verdict.baseline, verdict.condition)


def read_leaderboard(store: Store, suite: str) -> list[Row]:
    """Return the rows of a suite's leaderboard; see `read_board`."""
    return read_board(store, suite).rows
