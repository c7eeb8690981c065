"""The rows of a plan, and the plan itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ksl_bench.config import Suite
from ksl_bench.plan.work import Ballot, Kind, Setting, Source, Work


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
    ballots: tuple[Ballot, ...] = ()
    """The detectors that look at text: of a vote those behind it, else itself."""

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
