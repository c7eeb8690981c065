"""One pool for several executions in one process: what several want is made once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable

from ksl_bench.errors import ClusterError
from ksl_bench.plan import Work
from ksl_bench.pool import Event, Pool

PATIENCE_SECONDS = 0.2
"""How long a client waits for an event before it looks around."""


class SharedPool:
    """Passes on the work of its clients to a pool, and the events of that pool to whom they concern."""

    def __init__(self, pool: Pool) -> None:
        """Take the pool; its events are read from now on in a thread of this one."""
        self._pool = pool
        self._lock = threading.Lock()
        self._clients: dict[str, list[_Client]] = {}
        self._failure: ClusterError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="shared-pool", daemon=True)
        self._thread.start()

    def client(self) -> Pool:
        """Return a pool for one execution."""
        return _Client(self)

    def has_workers(self) -> bool:
        """Return whether any worker of the pool has come up yet."""
        return self._pool.has_workers()

    def submit(self, work: Work, client: _Client) -> None:
        """Pass on a piece of work, unless another client has done so and waits for it."""
        with self._lock:
            first = work.key not in self._clients
            self._clients.setdefault(work.key, []).append(client)
        if first:
            self._pool.submit(work)

    def check(self) -> None:
        """Raise what ended the pool, if anything did.

        Raises:
            ClusterError: If no worker is left.
        """
        if self._failure is not None:
            raise self._failure

    def _read(self) -> None:
        while not self._stop.is_set():
            try:
                events = list(self._pool.events())
            except Exception as error:  # whatever ends the pool must reach those who wait
                if not isinstance(error, ClusterError):
                    error = ClusterError(f"the pool ended: {error}")
                self._failure = error
                return
            for event in events:
                with self._lock:
                    done = event.outcome is not None
                    concerned = list(self._clients.get(event.key, []))
                    if done:
                        self._clients.pop(event.key, None)
                for client in concerned:
                    client.take(event)

    def close(self) -> None:
        """Stop reading, and end executions that still wait; the pool itself is its owner's to close."""
        self._stop.set()
        self._failure = self._failure or ClusterError("the pool was closed")
        self._thread.join()


class _Client:
    """What one execution sees of the shared pool."""

    def __init__(self, shared: SharedPool) -> None:
        self._shared = shared
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def take(self, event: Event) -> None:
        self._events.put(event)

    def has_workers(self) -> bool:
        return self._shared.has_workers()

    def submit(self, work: Work) -> None:
        self._shared.submit(work, self)

    def events(self) -> Iterable[Event]:
        self._shared.check()
        try:
            return [self._events.get(timeout=PATIENCE_SECONDS)]
        except queue.Empty:
            return []

    def close(self) -> None:
        pass
