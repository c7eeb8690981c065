"""What a piece of work is, and what it is made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ksl_bench.config import Baseline, EvaluateSpec, TaskSpec
from ksl_bench.models import ModelReference

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

    def chain(self, name: str | None = None) -> Iterator[Source]:
        """Yield the step's artifacts, sources first, each with its name in a reason."""
        name = name or f"step {self.condition}"
        yield from self.ticket.chain(f" of {name}")
        yield "state", self.state_key, name


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
class Ballot:
    """A detector that looks at text and has a voice in a vote, perhaps through another vote."""

    baseline: str
    evaluation_key: str
    selected: tuple[Source, ...] = ()
    """Its ticket and what that rests on."""
    trained: tuple[Source, ...] = ()
    """Its state, and what its second model rests on."""


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
    selected: tuple[Source, ...] = ()
    """For an evaluation: the ticket with all that it rests on, for the bill."""
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
    ballots: tuple[Ballot, ...] = ()
    """Of a vote: the detectors that look at text behind it, each once."""

    @property
    def needs(self) -> tuple[tuple[Kind, str], ...]:
        """Return the artifacts that must be finished first."""
        needed: list[tuple[Kind, str]] = []
        if self.state_key is not None:
            needed.append(("state", self.state_key))
        if self.ticket_key is not None:
            needed.append(("ticket", self.ticket_key))
        needed += [("ticket", key) for key in self.excluded]
        steps = (*self.parents, *self.merged)
        if isinstance(self.performer, Step):
            steps = (*steps, self.performer)
        for step in steps:
            needed.append(("state", step.state_key))
            if step.ticket.key is not None:
                needed.append(("ticket", step.ticket.key))
        needed += [("evaluation", key) for key in self.voters]
        if self.kind == "evaluation":
            needed += [(kind, key) for kind, key, _ in self.billed]
        return tuple(dict.fromkeys(needed))

    @property
    def steps(self) -> tuple[Step, ...]:
        """Return the trained states beside its own: its parents, what is merged, the performer."""
        performer = (self.performer,) if isinstance(self.performer, Step) else ()
        return (*self.parents, *self.merged, *performer)

    @property
    def billed(self) -> Iterator[Source]:
        """Yield the artifacts that an evaluation pays for, beside its own state."""
        for step in self.steps:
            yield from step.chain()
        for ballot in self.ballots:
            yield from (*ballot.selected, *ballot.trained)
            yield "evaluation", ballot.evaluation_key, ballot.baseline
        yield from self.selected


@dataclass(frozen=True, slots=True)
class Detector:
    """What a statistic or a vote needs of other rows."""

    performer: Step | ModelReference | None = None
    voters: tuple[str, ...] = ()
    """Keys of evaluations."""
    ballots: tuple[Ballot, ...] = ()
    sources: tuple[Source, ...] = ()

    @property
    def inputs(self) -> dict[str, Any]:
        """Return what of it enters keys."""
        if self.voters:
            return {"voters": list(self.voters)}
        if isinstance(self.performer, ModelReference):
            return {"performer": self.performer.digest}
        return {} if self.performer is None else {"performer": self.performer.state_key}
