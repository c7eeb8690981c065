"""The one tree of errors that a user can cause.

    KslBenchError
    ├── ConfigError     a suite, a recipe or a --set value is wrong
    ├── DataError       a corpus cannot be read as asked
    ├── ModelError      a base model or its tokenizer cannot be had
    ├── MethodError     a method does not fit the model, or a ticket the method
    ├── TicketError     a ticket cannot be found, read or applied
    ├── StorageError    the store cannot be read or written
    ├── ClusterError    Ray lacks what a suite asks for
    └── TrackingError   MLflow cannot be reached or refuses

The command line prints each problem as one line and exits with 2. A message names the thing, the
value received and what is allowed. `assert` is left to internal invariants.
"""

from __future__ import annotations

from collections.abc import Iterable


class KslBenchError(Exception):
    """Base of all errors whose cause is the input or the surroundings, not the code."""

    def __init__(self, problems: str | Iterable[str]) -> None:
        """Take one problem, or several that were found together.

        Args:
            problems: One line, or one line a problem.
        """
        self.problems: tuple[str, ...] = (
            (problems,) if isinstance(problems, str) else tuple(problems)
        )
        super().__init__("\n".join(self.problems))


class ConfigError(KslBenchError):
    """A suite, a recipe or a --set value is wrong."""


class DataError(KslBenchError):
    """A corpus cannot be read as asked."""


class ModelError(KslBenchError):
    """A base model or its tokenizer cannot be had."""


class MethodError(KslBenchError):
    """A method does not fit the model, or a ticket the method."""


class TicketError(KslBenchError):
    """A ticket cannot be found, read or applied."""


class StorageError(KslBenchError):
    """The store cannot be read or written."""


class ClusterError(KslBenchError):
    """Ray lacks what a suite asks for."""


class TrackingError(KslBenchError):
    """MLflow cannot be reached or refuses."""
