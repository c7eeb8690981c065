"""A leaderboard, read from the store alone: the plan that the last run left there, and its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ksl_bench.config import VerdictSpec
from ksl_bench.errors import StorageError
from ksl_bench.leaderboard.bill import add_cost_over_full
from ksl_bench.leaderboard.gains import Systems, add_gains, add_recovery
from ksl_bench.leaderboard.questions import judge
from ksl_bench.leaderboard.ranking import Ranked, Terms, rank_rows, terms_of
from ksl_bench.leaderboard.rows import Place, Row, add_scores, is_fixed, make_row
from ksl_bench.leaderboard.runs import Run, read_resamples, read_runs, systems_of
from ksl_bench.leaderboard.verdicts import Verdict
from ksl_bench.registry import unknown
from ksl_bench.store import Store


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


def read_board(store: Store, suite: str) -> Board:
    """Join a suite's results, and say what they show.

    Raises:
        StorageError: If the suite was never run over this store.
    """
    plan = store.read_plan(suite)
    if plan is None:
        raise StorageError(f"nothing is stored of {unknown('suite', suite, store.plans())}")
    recipes = {one["name"]: one for one in plan["suite"]["baselines"]}
    spec = VerdictSpec(**plan["suite"].get("verdicts", {}))
    placed: dict[str, dict[Place, list[Run]]] = {}
    for row, run in zip(plan["rows"], read_runs(store, plan["rows"]), strict=True):
        place = row["condition"], row["baseline"], row["scored_under"]
        placed.setdefault(place[2], {}).setdefault(place, []).append(run)
    made: dict[Place, Row] = {}
    rankings: dict[str, list[Ranked]] = {}
    verdicts: list[Verdict] = []
    for condition, here in placed.items():
        read_resamples(store, [run for runs in here.values() for run in runs])
        rows, rankings[condition], said = _scored_under(condition, here, recipes, spec)
        made.update(zip(here, rows, strict=True))
        verdicts += said
        for runs in here.values():
            for run in runs:
                run.resamples = {}  # a large suite's would not fit in memory all at once
    order = dict.fromkeys(
        (row["condition"], row["baseline"], row["scored_under"]) for row in plan["rows"]
    )
    rows = [made[place] for place in order]
    add_recovery(rows)
    add_cost_over_full(rows)
    return Board(suite, plan, rows, rankings, verdicts)


def _scored_under(
    condition: str,
    here: Mapping[Place, Sequence[Run]],
    recipes: Mapping[str, Mapping[str, Any]],
    spec: VerdictSpec,
) -> tuple[list[Row], list[Ranked], list[Verdict]]:
    """Return the rows that were scored under one condition, their ranks and the verdicts on them."""
    rows: list[Row] = []
    systems: list[Systems | None] = []
    terms: list[Terms | None] = []
    for place, runs in here.items():
        recipe = recipes[place[1]]
        row, done = make_row(recipe, place, runs), [run for run in runs if run.finished]
        rows.append(row)
        if not done or done[0].result is None:
            systems.append(None)
            terms.append(None)
            continue
        systems.append(systems_of(done, fixed=is_fixed(recipe, runs)))
        add_scores(row, done, systems[-1] or {})
        terms.append(terms_of(row, recipe, done[0].result))
    add_gains(rows, systems)
    ranked = rank_rows(rows, terms, systems, rule=spec.rule)
    said = judge(condition, rows, systems, spec)
    for row in rows:
        row["verdicts"] = [
            one.as_dict()
            for one in said
            if one.baseline == row["baseline"] and row["condition"] == row["scored_under"]
        ]
    return rows, ranked, said


def read_leaderboard(store: Store, suite: str) -> list[Row]:
    """Return the rows of a suite's leaderboard; see `read_board`."""
    return read_board(store, suite).rows
