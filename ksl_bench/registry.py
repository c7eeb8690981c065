"""Names for interchangeable parts: tasks, methods, criteria, templates."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from ksl_bench.errors import ConfigError

T = TypeVar("T")


def closest(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" when a known name is near, else the empty string."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the one line that says a name is not known, with the closest and all that are."""
    names = sorted(known)
    return f"unknown {kind} {name!r}.{closest(name, names)} Known: {', '.join(names)}"


class Registry(Mapping[str, T], Generic[T]):
    """A read-only mapping from name to part that answers an unknown name helpfully."""

    def __init__(self, kind: str, parts: Mapping[str, T]) -> None:
        """Name the kind of thing that is registered, and register the parts.

        Args:
            kind: What a part is called in messages, e.g. "method".
            parts: Name to part.
        """
        self.kind = kind
        self._parts = dict(parts)

    def __getitem__(self, name: str) -> T:
        """Return the part.

        Raises:
            ConfigError: If no part has that name; the closest one is proposed.
        """
        try:
            return self._parts[name]
        except KeyError:
            raise ConfigError(unknown(self.kind, name, self._parts)) from None

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)
