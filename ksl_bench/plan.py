"""From a suite to a plan: the artifacts that its rows need, each known by its key.

A key hashes what an artifact is made from, never the name of a suite or a baseline. So rows, suites and
sweeps share what they have in common, and finished work is found again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import sacrebleu

from ksl_bench.config import (
    Baseline,
    EvaluateSpec,
    ModelSpec,
    Split,
    Suite,
    TaskSpec,
    TicketSpec,
    step_name,
    step_names,
)
from ksl_bench.errors import ConfigError
from ksl_bench.evaluation import scoring
from ksl_bench.leaks import Segments, find_leaks
from ksl_bench.lottery.entries import REST, criterion_needs
from ksl_bench.methods import METHODS, build_method
from ksl_bench.methods.base import hyperparameters
from ksl_bench.models import ModelReference, find_model
from ksl_bench.store import key_of
from ksl_bench.tasks import build_task
from ksl_bench.tasks.readings import READINGS

NUMERICS = 1
"""Raised when the same inputs would give other numbers: then nothing old counts as finished."""

LATER = frozenset({"layer_part", "quantize"})
"""Fields of methods that stand in a key only where they are given: what was made before them is found."""

Kind = Literal["state", "ticket", "evaluation"]
Source = tuple[Kind, str, str]
"""Kind and key of an artifact that a row rests on, and what it is to the row."""


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
class Step:
    """A trained state that a model is built with: what was attached, and what it became."""

    baseline: Baseline
    """As it was tuned at this step."""
    condition: str
    """That it was tuned on."""
    seed: int
    state_key: str
    ticket: Selected

    def chain(self) -> Iterator[Source]:
        """Yield the step's artifacts, sources first, each with its name in a reason."""
        yield from self.ticket.chain(f" of step {self.condition}")
        yield "state", self.state_key, f"step {self.condition}"


@dataclass(frozen=True, slots=True)
class Selected:
    """The ticket of a row at one step, if it has one."""

    key: str | None = None
    source_state_key: str | None = None
    """The tuned state that it was found in."""
    after: int = 0
    """Steps that the model had behind it in which the ticket was found."""
    others: tuple[Source, ...] = ()
    """What else it rests on: the ticket that it is the rest of."""

    def chain(self, of: str = "") -> Iterator[Source]:
        """Yield its artifacts, sources first."""
        yield from self.others
        if self.source_state_key is not None:
            yield "state", self.source_state_key, f"the source of its ticket{of}"
        if self.key is not None:
            yield "ticket", self.key, f"its ticket{of}"


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
    ticket_after: int = 0
    """Of `parents`, how many the model had behind it in which that ticket was found."""
    parents: tuple[Step, ...] = ()
    """Earlier steps of a sequence, the first one first: it starts from the model that they leave."""
    excluded: tuple[str, ...] = ()
    """For a ticket: keys of tickets with which it has nothing in common."""
    merged: tuple[Step, ...] = ()
    """For an evaluation: the states that are merged, each tuned from the base."""
    performer: Step | ModelReference | None = None
    """Of a statistic that compares two models: the second one, a state of the suite or another base model."""
    voters: tuple[str, ...] = ()
    """Of a vote: keys of the evaluations that have a voice."""

    @property
    def needs(self) -> tuple[tuple[Kind, str], ...]:
        """Return the artifacts that must be finished first."""
        needed: list[tuple[Kind, str]] = []
        if self.state_key is not None:
            needed.append(("state", self.state_key))
        if self.ticket_key is not None:
            needed.append(("ticket", self.ticket_key))
        needed += [("ticket", key) for key in self.excluded]
        steps = (*self.parents[-1:], *self.merged)
        if isinstance(self.performer, Step):
            steps = (*steps, self.performer)
        needed += [("state", step.state_key) for step in steps]
        needed += [("evaluation", key) for key in self.voters]
        return tuple(dict.fromkeys(needed))


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
    earlier: tuple[Source, ...] = ()
    """What else it rests on, sources first: earlier steps of a sequence, the states that are merged, a
    statistic's second model, the voters of a vote."""

    def chain(self) -> Iterator[tuple[Kind, str]]:
        """Yield the row's artifacts, sources first."""
        for kind, key, _ in self.earlier:
            yield kind, key
        if self.source_state_key is not None:
            yield "state", self.source_state_key
        if self.ticket_key is not None:
            yield "ticket", self.ticket_key
        if self.state_key is not None:
            yield "state", self.state_key
        yield "evaluation", self.evaluation_key

    def as_voter(self) -> Iterator[Source]:
        """Yield the row's artifacts as what a vote rests on, sources first."""
        yield from self.earlier
        names = {"evaluation": "its voter", "state": "the tuning of its voter"}
        for kind, key in self.chain():
            if (kind, key) not in {(one, other) for one, other, _ in self.earlier}:
                yield kind, key, f"{names.get(kind, 'the ticket of its voter')} {self.baseline}"


@dataclass(frozen=True, slots=True)
class Detector:
    """What a statistic or a vote needs of other rows."""

    performer: Step | ModelReference | None = None
    voters: tuple[str, ...] = ()
    """Keys of evaluations."""
    sources: tuple[Source, ...] = ()

    @property
    def inputs(self) -> dict[str, Any]:
        """Return what of it enters keys."""
        if self.voters:
            return {"voters": list(self.voters)}
        if isinstance(self.performer, ModelReference):
            return {"performer": self.performer.digest}
        return {} if self.performer is None else {"performer": self.performer.state_key}


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
                    **({"earlier": [list(one) for one in row.earlier]} if row.earlier else {}),
                }
                for row in self.rows
            ],
        }


def splits_of(suite: Suite) -> tuple[Split, ...]:
    """Return the splits that a suite reads: for tuning, perhaps for thresholds, for scores."""
    calibrating: tuple[Split, ...] = ("dev",) if READINGS[suite.task.name].calibrates else ()
    return ("train", *calibrating, suite.evaluate.split)


class _Planner:
    """Collects works by key while rows are planned."""

    def __init__(self, suite: Suite, model: ModelReference, texts: Texts) -> None:
        self.suite, self.model = suite, model
        self.works: dict[str, Work] = {}
        self.texts: dict[tuple[str, Split], Text] = {}
        self._models: dict[ModelSpec, ModelReference] = {}
        for name, spec in suite.tasks.items():
            for split in splits_of(suite):
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

    def rows(self, baseline: Baseline, seed: int) -> Iterator[Row]:
        """Plan a baseline under one seed: alone under every condition, in sequence, or merged."""
        suite = self.suite
        if baseline.merge is not None:
            yield from self._merged(baseline, suite.baseline(baseline.merge.of), seed)
            return
        for condition in suite.tasks:
            others = suite.tasks if baseline.name in suite.transfer else (condition,)
            yield from self._tuned(baseline.at_step(0), seed, condition, (), others)[1]
        if suite.sequence and baseline.probe is None and METHODS[baseline.method].trains:
            steps: tuple[Step, ...] = ()
            for place, condition in enumerate(suite.sequence):
                tuned = baseline.at_step(place)
                steps, rows = self._tuned(tuned, seed, condition, steps, suite.sequence)
                yield from rows

    def _tuned(
        self,
        baseline: Baseline,
        seed: int,
        condition: str,
        parents: tuple[Step, ...],
        scored: Iterable[str],
    ) -> tuple[tuple[Step, ...], list[Row]]:
        """Plan a state that is tuned on one condition, and its rows; return its steps, itself the last."""
        ticket = self._ticket(baseline, seed, condition, parents)
        state_key, steps = None, parents
        if METHODS[baseline.method].trains:
            state_key = self._state(baseline, seed, condition, ticket, parents)
            steps = (*parents, Step(baseline, condition, seed, state_key, ticket))
        before = (*(one for step in parents for one in step.chain()), *ticket.others)
        rows = []
        for under in scored:
            detector = self._detector(baseline, seed, condition, under)
            key = self._evaluation(
                baseline,
                seed,
                under,
                state_key=state_key,
                ticket=ticket,
                parents=parents,
                detector=detector,
            )
            rows.append(
                Row(
                    baseline=baseline.name,
                    seed=seed,
                    condition=step_name([*(one.condition for one in parents), condition]),
                    scored_under=under,
                    evaluation_key=key,
                    state_key=state_key,
                    ticket_key=ticket.key,
                    source_state_key=ticket.source_state_key,
                    earlier=(*before, *detector.sources),
                )
            )
        return steps, rows

    def _detector(self, baseline: Baseline, seed: int, condition: str, under: str) -> Detector:
        """Return what a statistic or a vote needs of other rows; nothing for other baselines."""
        if baseline.vote is not None:
            rows = [
                self._tuned(self.suite.baseline(name).at_step(0), seed, condition, (), (under,))[1]
                for name in baseline.vote.of
            ]
            found = [row for some in rows for row in some]
            return Detector(
                voters=tuple(row.evaluation_key for row in found),
                sources=tuple(source for row in found for source in row.as_voter()),
            )
        spec = baseline.statistic.performer if baseline.statistic is not None else None
        if spec is None:
            return Detector()
        if spec.model is not None:
            if spec.model not in self._models:
                self._models[spec.model] = find_model(spec.model, weights=False)
            return Detector(performer=self._models[spec.model])
        assert spec.baseline is not None
        other = self.suite.baseline(spec.baseline).at_step(0)
        (step,), _ = self._tuned(other, seed, condition, (), ())
        return Detector(performer=step, sources=tuple(step.chain()))

    def _merged(self, baseline: Baseline, of: Baseline, seed: int) -> Iterator[Row]:
        """Plan a merge: a state from the base for each task, and one model of them all."""
        steps: tuple[Step, ...] = ()
        for place, condition in enumerate(self.suite.joined):
            tuned = of.at_step(place)
            before = steps if tuned.ticket and tuned.ticket.in_sequence == "disjoint" else ()
            ticket = self._ticket(tuned, seed, condition, (), before)
            state_key = self._state(tuned, seed, condition, ticket, ())
            steps = (*steps, Step(tuned, condition, seed, state_key, ticket))
        for under in self.suite.joined:
            yield Row(
                baseline=baseline.name,
                seed=seed,
                condition=step_name(self.suite.joined),
                scored_under=under,
                evaluation_key=self._evaluation(baseline, seed, under, merged=steps),
                state_key=None,
                ticket_key=None,
                source_state_key=None,
                earlier=tuple(one for step in steps for one in step.chain()),
            )

    def _add(
        self,
        kind: Kind,
        condition: str,
        inputs: dict[str, Any],
        *,
        parents: tuple[Step, ...] = (),
        **fields: Any,
    ) -> str:
        if parents and kind != "evaluation":  # what an evaluation scores is known by its state
            inputs["parent"] = parents[-1].state_key
        key = key_of({"kind": kind, "numerics": NUMERICS, **inputs})
        if key not in self.works:
            before = () if kind == "evaluation" else [one.condition for one in parents]
            self.works[key] = Work(
                kind=kind,
                key=key,
                condition=step_name([*before, condition]),
                task=self.suite.tasks[condition],
                inputs=inputs,
                parents=parents,
                **fields,
            )
        return key

    def _state(
        self,
        baseline: Baseline,
        seed: int,
        condition: str,
        ticket: Selected,
        parents: tuple[Step, ...],
    ) -> str:
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
            "ticket": ticket.key,
            "workers": self.suite.resources.workers_per_run,
            "zero_stage": self.suite.resources.zero_stage,
        }
        return self._add(
            "state",
            condition,
            inputs,
            parents=parents,
            baseline=baseline,
            seed=seed,
            ticket_key=ticket.key,
            ticket_after=ticket.after,
        )

    def _ticket(
        self,
        baseline: Baseline,
        seed: int,
        condition: str,
        parents: tuple[Step, ...],
        before: tuple[Step, ...] | None = None,
    ) -> Selected:
        """Plan the ticket of a baseline at one step.

        Args:
            baseline: As it is tuned at this step.
            seed: Of the row.
            condition: That is tuned on.
            parents: The steps behind it.
            before: Whose tickets a disjoint one has nothing in common with; the parents' as a rule.
        """
        spec = baseline.ticket
        if spec is None:
            return Selected()
        before = parents if before is None else before
        if spec.in_sequence == "shared" and parents:
            return Selected(key=parents[0].ticket.key)
        excluded = [one.ticket.key for one in before if one.ticket.key is not None]
        excluded = excluded if spec.in_sequence == "disjoint" else []
        source = self.suite.baseline(spec.source).at_step(len(parents)) if spec.source else None
        others: tuple[Source, ...] = ()
        if source is not None and spec.criterion == REST:
            other = self._ticket(source, seed, condition, parents)
            others, source = tuple(other.chain(f" of {source.name}")), None
            excluded += [other.key] if other.key is not None else []
        source_key = self._state(source, seed, condition, Selected(), parents) if source else None
        key = self._select(
            baseline,
            spec,
            seed,
            condition,
            parents=parents,
            excluded=tuple(dict.fromkeys(excluded)),
            state_key=source_key,
            state_baseline=source,
        )
        return Selected(key, source_key, len(parents), others)

    def _select(
        self,
        baseline: Baseline,
        spec: TicketSpec,
        seed: int,
        condition: str,
        *,
        excluded: tuple[str, ...],
        state_key: str | None,
        **fields: Any,
    ) -> str:
        inputs: dict[str, Any] = {
            "base": self.model.digest,
            "criterion": spec.criterion,
            "scope": spec.scope,
            "k": spec.k,
            "alpha": spec.alpha,
            "state": state_key,
            "precision": baseline.train.precision,
            "text": self.texts[condition, "train"].inputs,
            "max_seq_length": baseline.train.max_seq_length,
        }
        if spec.sparsity is not None:
            inputs["sparsity"] = spec.sparsity
        if "seed" in criterion_needs(spec.criterion):
            inputs["seed"] = seed
        if excluded:
            inputs["exclude"] = sorted(excluded)
        return self._add(
            "ticket",
            condition,
            inputs,
            baseline=baseline,
            seed=seed,
            state_key=state_key,
            excluded=excluded,
            **fields,
        )

    def _evaluation(
        self,
        baseline: Baseline,
        seed: int,
        condition: str,
        *,
        state_key: str | None = None,
        ticket: Selected | None = None,
        parents: tuple[Step, ...] = (),
        merged: tuple[Step, ...] = (),
        detector: Detector | None = None,
    ) -> str:
        ticket, detector = ticket or Selected(), detector or Detector()
        evaluate, probe = self.suite.evaluate, baseline.probe
        inputs = {
            "base": self.model.digest,
            "method": _method(baseline),
            "state": state_key,
            "ticket": ticket.key,
            "text": self.texts[condition, evaluate.split].inputs,
            "evaluate": evaluate.model_dump(mode="json"),
            "sacrebleu": sacrebleu.__version__,
            "scoring": scoring.VERSION,
        }
        if (documents := self.texts[condition, evaluate.split].documents) is not None:
            inputs["documents"] = documents
        if probe is not None:
            inputs["probe"] = {**probe.model_dump(mode="json", exclude={"of"}), "seed": seed}
        if baseline.merge is not None:
            inputs["merge"] = baseline.merge.model_dump(mode="json", exclude={"of"})
            inputs["states"] = [step.state_key for step in merged]
        if READINGS[self.suite.task.name].calibrates:
            inputs["calibration"] = self.texts[condition, "dev"].inputs
        if baseline.statistic is not None:
            inputs["statistic"] = baseline.statistic.name
            inputs["max_seq_length"] = baseline.train.max_seq_length
        inputs |= detector.inputs
        return self._add(
            "evaluation",
            condition,
            inputs,
            parents=parents,
            baseline=baseline,
            seed=seed,
            state_key=state_key,
            ticket_key=ticket.key,
            ticket_after=ticket.after,
            merged=merged,
            performer=detector.performer,
            voters=detector.voters,
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
    given = hyperparameters(method).items()
    return {
        "name": baseline.method,
        **{name: value for name, value in given if name not in LATER or value is not None},
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
    planned = [
        row
        for seed in suite.seeds
        for baseline in suite.baselines
        for row in planner.rows(baseline, seed)
    ]
    # By condition first, as a leaderboard has them; the first step of a sequence stands there already.
    names = dict.fromkeys([*suite.tasks, *step_names(suite.sequence), step_name(suite.joined)])
    order = {name: place for place, name in enumerate(names)}
    planned.sort(key=lambda row: order[row.condition])
    rows = {(row.condition, row.seed, row.baseline, row.scored_under): row for row in planned}
    setting = Setting(
        suite=suite.name,
        model=model,
        evaluate=suite.evaluate,
        workers_per_run=suite.resources.workers_per_run,
        zero_stage=suite.resources.zero_stage,
        device_price_per_hour=suite.resources.price_per_device_hour,
        pack=suite.resources.pack,
    )
    return Plan(suite, setting, tuple(rows.values()), planner.works, planner.data())
