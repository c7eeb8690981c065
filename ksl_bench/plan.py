"""From a suite to a plan: the artifacts that its rows need, each known by its key.

A key hashes what an artifact is made from, never the name of a suite or a baseline. So rows, suites and
sweeps share what they have in common, and finished work is found again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import sacrebleu

from ksl_bench.config import Baseline, EvaluateSpec, Suite, TaskSpec
from ksl_bench.lottery.criteria import CRITERIA
from ksl_bench.methods import METHODS, build_method
from ksl_bench.methods.base import hyperparameters
from ksl_bench.models import ModelReference
from ksl_bench.store import key_of
from ksl_bench.tasks import build_task

NUMERICS = 1
"""Raised when the same inputs would give other numbers: then nothing old counts as finished."""

Kind = Literal["state", "ticket", "evaluation"]


@dataclass(frozen=True, slots=True)
class Setting:
    """What all work of one suite shares; sent to every worker."""

    suite: str
    model: ModelReference
    task: TaskSpec
    evaluate: EvaluateSpec
    workers_per_run: int
    zero_stage: int
    device_price_per_hour: float | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """One artifact to be made."""

    kind: Kind
    key: str
    baseline: Baseline
    """The first row that needs it: of rows that share it, all agree in what the key hashes."""
    seed: int
    inputs: Mapping[str, Any] = field(repr=False)
    """What the key hashes."""
    state_key: str | None = None
    """For a ticket: the tuned state it compares; for an evaluation: the state it scores."""
    state_baseline: Baseline | None = None
    """For a ticket: how that state was trained."""
    ticket_key: str | None = None

    @property
    def needs(self) -> tuple[tuple[Kind, str], ...]:
        """Return the artifacts that must be finished first."""
        needed: list[tuple[Kind, str]] = []
        if self.state_key is not None:
            needed.append(("state", self.state_key))
        if self.ticket_key is not None:
            needed.append(("ticket", self.ticket_key))
        return tuple(needed)


@dataclass(frozen=True, slots=True)
class Row:
    """One baseline under one seed: the chain that leads to its score."""

    baseline: str
    seed: int
    evaluation_key: str
    state_key: str | None
    ticket_key: str | None
    source_state_key: str | None
    """The tuned state that the ticket was found in."""

    def chain(self) -> Iterator[tuple[Kind, str]]:
        """Yield the row's artifacts, sources first."""
        if self.source_state_key is not None:
            yield "state", self.source_state_key
        if self.ticket_key is not None:
            yield "ticket", self.ticket_key
        if self.state_key is not None:
            yield "state", self.state_key
        yield "evaluation", self.evaluation_key


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a suite needs, sources before what is made from them."""

    suite: Suite
    setting: Setting
    rows: tuple[Row, ...]
    works: Mapping[str, Work]
    data: Mapping[str, Any]
    """By split: digest, origin, examples used and available."""

    def record(self) -> dict[str, Any]:
        """Return what the store keeps, so that a leaderboard needs neither data nor model."""
        return {
            "schema": 1,
            "suite": self.suite.model_dump(mode="json", by_alias=True),
            "model": {"name": self.setting.model.name, "revision": self.setting.model.revision},
            "data": dict(self.data),
            "rows": [
                {
                    "baseline": row.baseline,
                    "seed": row.seed,
                    "evaluation": row.evaluation_key,
                    "state": row.state_key,
                    "ticket": row.ticket_key,
                    "source_state": row.source_state_key,
                }
                for row in self.rows
            ],
        }


class _Planner:
    """Collects works by key while rows are planned."""

    def __init__(self, suite: Suite, model: ModelReference, data: Mapping[str, Any]) -> None:
        self.suite, self.model, self.data = suite, model, data
        self.works: dict[str, Work] = {}
        task = build_task(suite.task)
        self.prompt = {
            "text": task.template.text,
            "source_language": suite.task.source_language,
            "target_language": suite.task.target_language,
        }

    def _add(self, kind: Kind, inputs: dict[str, Any], **fields: Any) -> str:
        key = key_of({"kind": kind, "numerics": NUMERICS, **inputs})
        self.works.setdefault(key, Work(kind=kind, key=key, inputs=inputs, **fields))
        return key

    def _text(self, split: str) -> dict[str, Any]:
        return {
            "task": self.suite.task.name,
            "digest": self.data[split]["digest"],
            "prompt": self.prompt,
        }

    def row(self, baseline: Baseline, seed: int) -> Row:
        source_key, ticket_key = self._ticket(baseline, seed)
        method = METHODS[baseline.method]
        state_key = self._state(baseline, seed, ticket_key) if method.trains else None
        return Row(
            baseline=baseline.name,
            seed=seed,
            evaluation_key=self._evaluation(baseline, seed, state_key, ticket_key),
            state_key=state_key,
            ticket_key=ticket_key,
            source_state_key=source_key,
        )

    def _method(self, baseline: Baseline) -> dict[str, Any]:
        method = build_method(baseline.method, baseline.hyperparameters)
        return {
            "name": baseline.method,
            **hyperparameters(method),
            "precision": baseline.train.precision,
        }

    def _state(self, baseline: Baseline, seed: int, ticket_key: str | None) -> str:
        # How often a run is saved does not change what it becomes.
        train = baseline.train.model_dump(mode="json", exclude={"checkpoint_every_steps"})
        inputs = {
            "base": self.model.digest,
            "train": train,
            "text": self._text("train"),
            "method": self._method(baseline),
            "seed": seed,
            "ticket": ticket_key,
            "workers": self.suite.resources.workers_per_run,
            "zero_stage": self.suite.resources.zero_stage,
        }
        return self._add("state", inputs, baseline=baseline, seed=seed, ticket_key=ticket_key)

    def _ticket(self, baseline: Baseline, seed: int) -> tuple[str | None, str | None]:
        spec = baseline.ticket
        if spec is None:
            return None, None
        criterion = CRITERIA[spec.criterion]
        source = self.suite.baseline(spec.source) if spec.source else None
        source_key = self._state(source, seed, None) if source else None
        inputs: dict[str, Any] = {
            "base": self.model.digest,
            "criterion": spec.criterion,
            "k": spec.k,
            "alpha": spec.alpha,
            "state": source_key,
            "precision": baseline.train.precision,
        }
        if criterion.needs_counts:
            inputs["text"] = self._text("train")
            inputs["max_seq_length"] = baseline.train.max_seq_length
        if criterion.needs_seed:
            inputs["seed"] = seed
        key = self._add(
            "ticket",
            inputs,
            baseline=baseline,
            seed=seed,
            state_key=source_key,
            state_baseline=source,
        )
        return source_key, key

    def _evaluation(
        self, baseline: Baseline, seed: int, state_key: str | None, ticket_key: str | None
    ) -> str:
        evaluate = self.suite.evaluate
        inputs = {
            "base": self.model.digest,
            "method": self._method(baseline),
            "state": state_key,
            "ticket": ticket_key,
            "text": self._text(evaluate.split),
            "evaluate": evaluate.model_dump(mode="json"),
            "sacrebleu": sacrebleu.__version__,
        }
        return self._add(
            "evaluation",
            inputs,
            baseline=baseline,
            seed=seed,
            state_key=state_key,
            ticket_key=ticket_key,
        )


def make_plan(suite: Suite, model: ModelReference) -> Plan:
    """Read the data's digests and plan every row of a suite.

    Args:
        suite: Validated.
        model: The base model that was found for it.

    Raises:
        DataError: If a split cannot be read.
    """
    task = build_task(suite.task)
    data = {}
    for split in ("train", suite.evaluate.split):
        examples = task.read(split)
        data[split] = {
            "digest": examples.digest,
            "origin": examples.origin,
            "examples": len(examples.items),
            "available": examples.available,
        }
    planner = _Planner(suite, model, data)
    rows = tuple(
        planner.row(baseline, seed) for seed in suite.seeds for baseline in suite.baselines
    )
    setting = Setting(
        suite=suite.name,
        model=model,
        task=suite.task,
        evaluate=suite.evaluate,
        workers_per_run=suite.resources.workers_per_run,
        zero_stage=suite.resources.zero_stage,
        device_price_per_hour=suite.resources.price_per_device_hour,
    )
    return Plan(suite, setting, rows, planner.works, data)
