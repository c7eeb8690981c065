"""Works whose sources are finished, in the order in which they are handed out."""

from __future__ import annotations

import heapq
from collections.abc import Container, Mapping

from ksl_bench.plan import Work


class Ready:
    """Works whose sources are finished; what many wait for comes first."""

    def __init__(self, works: Mapping[str, Work], finished: Container[str]) -> None:
        """Take works.

        Args:
            works: By key.
            finished: What is finished, as it grows; and shrinks, where something is found broken.
        """
        self._finished = finished
        self._works: dict[str, Work] = {}
        self._users: dict[str, dict[str, None]] = {}
        self._weights: dict[str, int] = {}
        self._order: dict[str, int] = {}
        self._heap: list[tuple[int, int, str]] = []
        self.add(works)

    def add(self, works: Mapping[str, Work]) -> None:
        """Take works, or take them once more."""
        self._works.update(works)
        self._weights.clear()
        for key, work in works.items():
            self._order.setdefault(key, len(self._order))
            for _, need in work.needs:
                self._users.setdefault(need, {})[key] = None
        for key in works:
            self._push_if_ready(key)

    def _weight(self, key: str) -> int:
        """Return how many wait for an artifact, once for each way they hang on it."""
        if key not in self._weights:
            users = self._users.get(key, ())
            self._weights[key] = sum(1 + self._weight(user) for user in users)
        return self._weights[key]

    def is_ready(self, key: str) -> bool:
        """Return whether all sources of a piece of work are finished."""
        return all(need in self._finished for _, need in self._works[key].needs)

    def _push_if_ready(self, key: str) -> None:
        if self.is_ready(key):
            heapq.heappush(self._heap, (-self._weight(key), self._order[key], key))

    def finished(self, key: str) -> None:
        """Add what waited for an artifact alone."""
        for user in self._users.get(key, ()):
            self._push_if_ready(user)

    def pop(self) -> str | None:
        """Return the next key, None if nothing is ready."""
        while self._heap:
            key = heapq.heappop(self._heap)[2]
            if self.is_ready(key):  # else a source was found broken; it comes again with that
                return key
        return None
