"""Trials of a sweep: what one choice scores on dev, and what the sweep as a whole found.

Nothing here knows Ray Tune: `sweep.py` proposes choices, this makes and reads what they need.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from ksl_bench.benchmark import Execution
from ksl_bench.config import Suite
from ksl_bench.models import ModelReference
from ksl_bench.plan import Plan, Row, Texts, make_plan
from ksl_bench.pool import Event, Pool
from ksl_bench.space import Space
from ksl_bench.store import Store

WORST = -1.0
"""What a choice scores that could not be trained: below every score there is."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One choice for one baseline, trained for so many steps."""

    baseline: str
    choice: Mapping[str, Any]
    steps: int | None = None
    """None for the baseline's own length."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What a trial scored."""

    name: str
    """Of the row that it is on the leaderboard."""
    score: float
    """Mean over the seeds, on dev; `WORST` unless all of them are finished."""
    status: str
    reason: str | None
    steps: int


class Trials:
    """Makes what trials need, side by side, and keeps them all as one plan."""

    def __init__(self, space: Space, model: ModelReference, store: Store, *, retry: bool) -> None:
        """Take what is searched; nothing is made yet."""
        self.space, self.model, self.store, self.retry = space, model, store, retry
        self._texts: Texts = {}
        self._lock = threading.Lock()
        self._plans: dict[str, Plan] = {}
        self._trials: dict[str, Trial] = {}
        self.scored: dict[str, Scored] = {}
        self.ended = False
        """Whether the search came to its end: nothing further is proposed."""

    def plan(self, trial: Trial) -> Plan:
        """Plan a trial.

        Raises:
            ConfigError: If a value is not allowed where it stands.
        """
        suite = self.space.trial(trial.baseline, trial.choice, steps=trial.steps)
        with self._lock:
            return make_plan(suite, self.model, texts=self._texts)

    def is_there(self, trial: Trial) -> bool:
        """Tell whether nothing has to be made for a trial."""
        return not Execution(self.plan(trial), self.store, retry=self.retry).pending

    def run(
        self, trial: Trial, pool: Pool, on_event: Callable[[Event], None] = lambda event: None
    ) -> Scored:
        """Make what is missing of a trial, and read its score."""
        plan = self.plan(trial)
        Execution(plan, self.store, retry=self.retry).run(pool, on_event)
        scored = self._score(plan)
        with self._lock:
            self._plans[scored.name], self._trials[scored.name] = plan, trial
            self.scored[scored.name] = scored
        return scored

    def stored(self, plan: Mapping[str, Any] | None) -> list[Trial]:
        """Return the trials of an earlier sweep over the same space that came to its end, as stored.

        What a search that learns from scores proposes depends on the order in which they come; so a
        second call takes what the first one proposed. Whether it is all there still, their keys tell.
        """
        before = (plan or {}).get("sweep", {})
        if not before.get("ended") or before["space"] != self.space.spec.model_dump(mode="json"):
            return []
        return [Trial(one["baseline"], one["choice"], one["rung"]) for one in before["trials"]]

    def _score(self, plan: Plan) -> Scored:
        chosen = plan.suite.baselines[-1]
        rows = [row for row in plan.rows if row.baseline == chosen.name]
        results = [self.store.record("evaluation", row.evaluation_key) for row in rows]
        done = [one for one in results if one is not None and one["status"] == "finished"]
        steps = chosen.train.total_steps(
            examples=min(data["train"]["examples"] for data in plan.data.values())
        )
        if len(done) == len(rows):
            wanted = self.space.spec.objective
            values = [one["scores"][wanted.rule][wanted.metric]["value"] for one in done]
            return Scored(chosen.name, mean(values), "finished", None, steps)
        status, reason = next(found for row in rows if (found := self._blame(row)) is not None)
        return Scored(chosen.name, WORST, status, reason, steps)

    def _blame(self, row: Row) -> tuple[str, str | None] | None:
        for kind, key in row.chain():
            record = self.store.record(kind, key)
            if record is not None and record["status"] != "finished":
                return str(record["status"]), record["reason"]
        return None

    def record(self) -> dict[str, Any]:
        """Return all trials as the plan of one suite, with what the sweep found beside it."""
        with self._lock:
            plans = list(self._plans.values())
        baselines = {one.name: one for plan in plans for one in plan.suite.baselines}
        suite: Suite = self.space.suite.model_copy(update={"baselines": tuple(baselines.values())})
        first = plans[0]
        rows = {(row.condition, row.baseline, row.seed): row for plan in plans for row in plan.rows}
        whole = Plan(suite, first.setting, tuple(rows.values()), {}, first.data)
        return {**whole.record(), "sweep": self.found()}

    def found(self) -> dict[str, Any]:
        """Return every trial's score and each baseline's best, with how much was spent on it."""
        with self._lock:
            trials, everything = dict(self._trials), dict(self.scored)
        by_baseline: dict[str, list[Scored]] = {}
        for name, scored in everything.items():
            owner = next(one for one in self.space.spec.baselines if _is_of(name, one))
            by_baseline.setdefault(owner, []).append(scored)
        for (
            scores
        ) in by_baseline.values():  # trials end in any order; of equal scores the first name wins
            scores.sort(key=lambda one: (one.name, one.steps))
        return {
            "space": self.space.spec.model_dump(mode="json"),
            "ended": self.ended,
            "trials": [
                {
                    "baseline": owner,
                    "trial": one.name,
                    "score": one.score if one.status == "finished" else None,
                    "steps": one.steps,
                    "status": one.status,
                    "reason": one.reason,
                    "choice": dict(trials[one.name].choice),
                    "rung": trials[one.name].steps,
                }
                for owner in self.space.spec.baselines
                for one in by_baseline.get(owner, [])
            ],
            "budgets": {owner: self._spent(owner, scores) for owner, scores in by_baseline.items()},
            "winners": {
                owner: best.name
                for owner, scores in by_baseline.items()
                if (best := self._best(scores)).status == "finished"
            },
        }

    def _best(self, scores: Sequence[Scored]) -> Scored:
        """Return what scored best; with ASHA, of those that came to the most steps.

        Steps that a choice itself asks for count for nothing: longer is not better.
        """
        return max(scores, key=lambda one: (self._trials[one.name].steps or 0, one.score))

    def _spent(self, owner: str, scores: Sequence[Scored]) -> dict[str, Any]:
        """Return what the choices for one baseline took, what they shared counted once."""
        # ASHA trains a choice several times, each time longer, and draws may repeat.
        made = {json.dumps(self._trials[one.name].choice, sort_keys=True) for one in scores}
        plans = [self._plans[one.name] for one in scores]
        works = {key: work for plan in plans for key, work in plan.works.items()}
        records = {key: self.store.record(work.kind, key) for key, work in works.items()}
        done = [one for one in records.values() if one is not None and one["status"] == "finished"]
        seconds = sum(own_seconds(one) for one in done)
        return {
            "trials": self.space.budget(owner) if self.ended else len(made),
            "steps": sum(one["steps"] for one in done if one["kind"] == "state"),
            "device_hours": plans[0].setting.workers_per_run * seconds / 3600,
        }


def own_seconds(record: Mapping[str, Any]) -> float:
    """Return the seconds that an artifact itself took, without what it was made from."""
    field = {"state": "train", "ticket": "selection", "evaluation": "evaluate"}[record["kind"]]
    return float(record["cost"][f"{field}_seconds"])


def _is_of(trial: str, baseline: str) -> bool:
    return trial == baseline or trial.startswith(baseline + ".")
