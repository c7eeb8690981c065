"""From a suite to a plan: the artifacts that its rows need, each known by its key.

A key hashes what an artifact is made from, never the name of a suite or a baseline. So rows, suites and
sweeps share what they have in common, and finished work is found again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import sacrebleu

from ksl_bench.config import Baseline, EvaluateSpec, Split, Suite, TaskSpec
from ksl_bench.errors import ConfigError
from ksl_bench.evaluation import scoring
from ksl_bench.leaks import Segments, find_leaks
from ksl_bench.lottery.entries import criterion_needs
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
    evaluate: EvaluateSpec
    workers_per_run: int
    zero_stage: int
    device_price_per_hour: float | None = None
    pack: int = 1


@dataclass(frozen=True, slots=True)
class Work:
    """One artifact to be made."""

    kind: Kind
    key: str
    condition: str
    """Name of the first condition that needs it."""
    task: TaskSpec
    """The task under that condition: what is tuned on, or scored under."""
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
    """One baseline under one seed and condition: the chain that leads to its score."""

    baseline: str
    seed: int
    condition: str
    """What it was tuned under."""
    scored_under: str
    """The condition it is scored under: the same, unless it is a transfer."""
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
    data: Mapping[str, Mapping[str, Any]]
    """By condition and split: digest, origin, examples used and available."""

    def record(self) -> dict[str, Any]:
        """Return what the store keeps, so that a leaderboard needs neither data nor model."""
        return {
            "schema": 1,
            "suite": self.suite.model_dump(mode="json", by_alias=True),
            "model": {"name": self.setting.model.name, "revision": self.setting.model.revision},
            "data": {name: dict(splits) for name, splits in self.data.items()},
            "rows": [
                {
                    "baseline": row.baseline,
                    "seed": row.seed,
                    "condition": row.condition,
                    "scored_under": row.scored_under,
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

    def __init__(self, suite: Suite, model: ModelReference, texts: Texts) -> None:
        self.suite, self.model = suite, model
        self.works: dict[str, Work] = {}
        self.texts: dict[tuple[str, Split], Text] = {}
        for name, spec in suite.tasks.items():
            for split in ("train", suite.evaluate.split):
                if (spec, split) not in texts:
                    texts[spec, split] = Text.read(spec, split)
                self.texts[name, split] = texts[spec, split]
            scored = self.texts[name, suite.evaluate.split].data["examples"]
            if scored < 2:
                raise ConfigError(
                    f"task.{suite.evaluate.split}_files: {scored} segment, "
                    "at least 2 are needed to tell a difference from chance"
                )
        self._refuse_leaks()

    def _refuse_leaks(self) -> None:
        split = self.suite.evaluate.split
        tuned, scored = (
            {name: self.texts[name, one].segments for name in self.suite.tasks}
            for one in ("train", split)
        )
        leaks = list(find_leaks(tuned, scored, field=f"task.{split}_files"))
        if leaks and any(spec.leaks == "refused" for spec in self.suite.tasks.values()):
            raise ConfigError(leaks)

    def data(self) -> dict[str, dict[str, Any]]:
        data: dict[str, dict[str, Any]] = {}
        for (condition, split), text in self.texts.items():
            data.setdefault(condition, {})[split] = text.data
        return data

    def row(self, baseline: Baseline, seed: int, condition: str, scored_under: str) -> Row:
        source_key, ticket_key = self._ticket(baseline, seed, condition)
        state_key = None
        if METHODS[baseline.method].trains:
            state_key = self._state(baseline, seed, condition, ticket_key)
        return Row(
            baseline=baseline.name,
            seed=seed,
            condition=condition,
            scored_under=scored_under,
            evaluation_key=self._evaluation(baseline, seed, scored_under, state_key, ticket_key),
            state_key=state_key,
            ticket_key=ticket_key,
            source_state_key=source_key,
        )

    def _add(self, kind: Kind, condition: str, inputs: dict[str, Any], **fields: Any) -> str:
        key = key_of({"kind": kind, "numerics": NUMERICS, **inputs})
        if key not in self.works:
            task = self.suite.tasks[condition]
            work = Work(kind=kind, key=key, condition=condition, task=task, inputs=inputs, **fields)
            self.works[key] = work
        return key

    def _state(self, baseline: Baseline, seed: int, condition: str, ticket_key: str | None) -> str:
        # How often a run is saved does not change what it becomes; what came later stands in a key only where
        # it is used, so that what was made before it is found.
        later = {"data_share"} if baseline.train.data_share == 1 else set()
        train = baseline.train.model_dump(mode="json", exclude={"checkpoint_every_steps", *later})
        inputs = {
            "base": self.model.digest,
            "train": train,
            "text": self.texts[condition, "train"].inputs,
            "method": _method(baseline),
            "seed": seed,
            "ticket": ticket_key,
            "workers": self.suite.resources.workers_per_run,
            "zero_stage": self.suite.resources.zero_stage,
        }
        return self._add(
            "state", condition, inputs, baseline=baseline, seed=seed, ticket_key=ticket_key
        )

    def _ticket(
        self, baseline: Baseline, seed: int, condition: str
    ) -> tuple[str | None, str | None]:
        spec = baseline.ticket
        if spec is None:
            return None, None
        source = self.suite.baseline(spec.source) if spec.source else None
        source_key = self._state(source, seed, condition, None) if source else None
        inputs: dict[str, Any] = {
            "base": self.model.digest,
            "criterion": spec.criterion,
            "scope": spec.scope,
            "k": spec.k,
            "alpha": spec.alpha,
            "state": source_key,
            "precision": baseline.train.precision,
            "text": self.texts[condition, "train"].inputs,
            "max_seq_length": baseline.train.max_seq_length,
        }
        if spec.sparsity is not None:
            inputs["sparsity"] = spec.sparsity
        if "seed" in criterion_needs(spec.criterion):
            inputs["seed"] = seed
        key = self._add(
            "ticket",
            condition,
            inputs,
            baseline=baseline,
            seed=seed,
            state_key=source_key,
            state_baseline=source,
        )
        return source_key, key

    def _evaluation(
        self,
        baseline: Baseline,
        seed: int,
        condition: str,
        state_key: str | None,
        ticket_key: str | None,
    ) -> str:
        evaluate, probe = self.suite.evaluate, baseline.probe
        inputs = {
            "base": self.model.digest,
            "method": _method(baseline),
            "state": state_key,
            "ticket": ticket_key,
            "text": self.texts[condition, evaluate.split].inputs,
            "evaluate": evaluate.model_dump(mode="json"),
            "sacrebleu": sacrebleu.__version__,
            "scoring": scoring.VERSION,
        }
        if (documents := self.texts[condition, evaluate.split].documents) is not None:
            inputs["documents"] = documents
        if probe is not None:
            inputs["probe"] = {**probe.model_dump(mode="json", exclude={"of"}), "seed": seed}
        return self._add(
            "evaluation",
            condition,
            inputs,
            baseline=baseline,
            seed=seed,
            state_key=state_key,
            ticket_key=ticket_key,
        )


@dataclass(frozen=True, slots=True)
class Text:
    """One split of one condition: what of it enters keys, and what is told of it."""

    inputs: dict[str, Any]
    data: dict[str, Any]
    segments: Segments
    """All that a model may have learned by heart, or be scored on."""
    documents: str | None
    """Which document each segment stands in, as a key; None where the corpus does not tell."""

    @classmethod
    def read(cls, spec: TaskSpec, split: Split) -> Text:
        """Read a split for what identifies it."""
        task = build_task(spec)
        examples = task.read(split)
        documents = [one.document for one in examples.items]
        return cls(
            inputs={"task": spec.name, "digest": examples.digest, "prompt": dict(task.identity)},
            data={
                "digest": examples.digest,
                "origin": examples.origin,
                "examples": len(examples.items),
                "available": examples.available,
            },
            segments=Segments.of(text for one in examples.items for text in task.segments(one)),
            documents=None if None in documents else key_of({"documents": documents}),
        )


Texts = dict[tuple[TaskSpec, Split], Text]
"""What was read already, for one plan after another over the same text."""


def _method(baseline: Baseline) -> dict[str, Any]:
    method = build_method(baseline.method, baseline.hyperparameters)
    return {
        "name": baseline.method,
        **hyperparameters(method),
        "precision": baseline.train.precision,
    }


def make_plan(suite: Suite, model: ModelReference, *, texts: Texts | None = None) -> Plan:
    """Read the data's digests and plan every row of a suite.

    Args:
        suite: Validated.
        model: The base model that was found for it.
        texts: What was read already, and takes what is read now; read anew where none is given.

    Raises:
        ConfigError: If there are not two segments to score.
        DataError: If a split cannot be read.
    """
    planner = _Planner(suite, model, {} if texts is None else texts)
    rows = tuple(
        planner.row(baseline, seed, condition, scored_under)
        for condition in suite.tasks
        for seed in suite.seeds
        for baseline in suite.baselines
        for scored_under in suite.tasks
        if scored_under == condition or baseline.name in suite.transfer
    )
    setting = Setting(
        suite=suite.name,
        model=model,
        evaluate=suite.evaluate,
        workers_per_run=suite.resources.workers_per_run,
        zero_stage=suite.resources.zero_stage,
        device_price_per_hour=suite.resources.price_per_device_hour,
        pack=suite.resources.pack,
    )
    return Plan(suite, setting, rows, planner.works, planner.data())
