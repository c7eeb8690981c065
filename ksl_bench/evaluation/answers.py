"""What is scored: what every rule read from the outputs, beside what was wanted.

Shapes: N examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from ksl_bench.tasks.base import Example, Output, Task

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to all examples of a split."""

    hypotheses: Mapping[str, Sequence[str]]
    """By rule, one line an example, (N,)."""
    references: Sequence[str]
    """What was wanted, (N,)."""
    languages: Sequence[str]
    """ISO 639-3 code of each, (N,); metrics that tokenize go by it."""
    groups: Mapping[str, Sequence[str]]
    """By axis the group of each, (N,)."""
    scores: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """By rule what each answer was decided by, (N,); none where a task has no such number."""

    def __post_init__(self) -> None:
        """Check that all are as many.

        Raises:
            ValueError: If not.
        """
        told = {**self.hypotheses, **self.groups, "languages": self.languages}
        for name, lines in [*told.items(), *self.scores.items()]:
            if len(lines) != len(self.references):
                raise ValueError(f"{name}: {len(lines)}, but {len(self.references)} references")

    def at(self, places: Sequence[int]) -> Answers:
        """Return the answers to some of the examples."""

        def some(lines: Sequence[T]) -> list[T]:
            return [lines[place] for place in places]

        return replace(
            self,
            hypotheses={rule: some(lines) for rule, lines in self.hypotheses.items()},
            references=some(self.references),
            languages=some(self.languages),
            groups={axis: some(groups) for axis, groups in self.groups.items()},
            scores={rule: some(scores) for rule, scores in self.scores.items()},
        )


def read_answers(
    task: Task,
    examples: Sequence[Example],
    outputs: Sequence[Output],
    *,
    scores: Mapping[str, Sequence[float]] | None = None,
) -> Answers:
    """Read every output by every rule of the task.

    Args:
        task: What the outputs are of.
        examples: That were asked, (N,).
        outputs: As many.
        scores: By rule what each answer was decided by, (N,); where the task has such numbers.
    """
    axes = dict.fromkeys(axis for one in examples for axis in one.groups)
    return Answers(
        hypotheses={name: [rule(one) for one in outputs] for name, rule in task.rules.items()},
        references=[one.wanted for one in examples],
        languages=[one.language for one in examples],
        groups={axis: [one.groups[axis] for one in examples] for axis in axes},
        scores=scores or {},
    )
