"""What a task is: examples in, extraction rules and diagnostics out.

Nothing outside `tasks/` may assume translation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ksl_bench.config import Split
from ksl_bench.data.prompts import Template


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to be done: what fills the prompt, and the wanted response."""

    fields: Mapping[str, str]
    response: str
    document: str | None = None
    """The document it stands in, where the corpus says so."""


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


class Task(Protocol):
    """What the model is asked to do, and how its outputs are read."""

    rules: Mapping[str, Callable[[str], str]]
    """Extraction rules by name, fixed before any number is seen: from output to hypothesis."""
    language: str
    """ISO 639-3 code of the wanted output, for metrics that tokenize."""
    sentence: str
    """The field of the prompt that is the example's own text; all else is the instruction."""

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

    def diagnostics(self, outputs: Sequence[Output], references: Sequence[str]) -> dict[str, Any]:
        """Return what explains a score, by name."""
        ...
