"""What a task is: examples in, extraction rules and diagnostics out.

Nothing outside `tasks/` may assume translation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from ksl_bench.config import Split
from ksl_bench.data.prompts import Template
from ksl_bench.tasks.language_id import Identify

ALL_GROUPS = "*"
"""An example of this group of an axis counts in every group of the axis."""


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to be done: what fills the prompt, and the wanted response."""

    fields: Mapping[str, str]
    response: str
    """What the model is to write."""
    reference: str = ""
    """What an output is scored against, where that is not the response."""
    language: str = ""
    """ISO 639-3 code of the wanted output, for metrics that tokenize."""
    document: str | None = None
    """What it is drawn together with: the document it stands in, where the corpus says so."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """By axis the group whose scores it also counts in: its language, its direction, ...; or ALL_GROUPS."""

    @property
    def wanted(self) -> str:
        """Return what an output is scored against."""
        return self.reference or self.response


@dataclass(frozen=True, slots=True)
class Examples:
    """One split, as it was read."""

    items: tuple[Example, ...]
    digest: str
    """SHA-256 of the segments used, in their order."""
    origin: str
    """What was read, for people."""
    available: int
    """Examples that there were before sampling."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a model generated for one example."""

    text: str
    """Up to EOS or the token limit."""
    ended: bool
    """Whether EOS ended it."""
    tokens: int
    """Generated tokens, EOS included."""
    label_scores: tuple[float, ...] | None = None
    """Of every label of the task how likely the model finds it, as a log probability; None without labels."""


class Task(Protocol):
    """What the model is asked to do, and how its outputs are read."""

    sentence: ClassVar[str]
    """The field of the prompt that is the example's own text; all else is the instruction."""
    macro_axis: str | None
    """The axis over whose groups a score is the plain mean; None where all examples count alike."""

    @property
    def rules(self) -> Mapping[str, Callable[[Output], str]]:
        """Return the rules by name, fixed before any number is seen: from output to hypothesis."""
        ...

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """Return what an example may be, each with its verbalizer; none where the answer is free text."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """Return what enters keys beside the text itself: the prompt, and what fills it for all examples."""
        ...

    @property
    def template(self) -> Template:
        """Return the prompt template.

        Raises:
            ConfigError: If the template is none for this task.
        """
        ...

    def read(self, split: Split) -> Examples:
        """Read one split.

        Raises:
            DataError: If it cannot be read as asked.
        """
        ...

    def segments(self, example: Example) -> tuple[str, ...]:
        """Return the texts of an example that must not be tuned on where they are scored."""
        ...

    def identifier(self, split: Split) -> Identify | None:
        """Return what tells the language of a hypothesis, None where no metric of the task asks for it.

        Raises:
            DataError: If it cannot tell the task's languages.
        """
        ...

    def diagnostics(self, outputs: Sequence[Output], references: Sequence[str]) -> dict[str, Any]:
        """Return what explains a score, by name."""
        ...
