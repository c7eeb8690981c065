"""MLflow kept up to date beside a run; its troubles never stop the run."""

from __future__ import annotations

import threading
from collections.abc import Callable

from rich.console import Console

from ksl_bench.config import Suite
from ksl_bench.errors import TrackingError
from ksl_bench.store import Store
from ksl_bench.tracking.sync import Tracker

SYNC_SECONDS = 15.0
"""How often MLflow is brought up to date while a suite runs."""


class TrackingThread:
    """Keeps MLflow up to date beside a run; its troubles never stop the run."""

    def __init__(
        self,
        store: Store,
        suite: Suite,
        console: Console,
        is_planned: Callable[[], bool] = lambda: True,
    ) -> None:
        """Take what is followed, and where troubles are told.

        Args:
            store: Where it is.
            suite: What it is.
            console: Where troubles are told.
            is_planned: Asked each time whether the store has a plan of it by now; may write one.
        """
        self._store, self._suite, self._console = store, suite, console
        self._is_planned = is_planned
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="tracking", daemon=True)
        self._tracker: Tracker | None = None
        self._trouble: TrackingError | None = None

    def start(self) -> None:
        """Begin to follow; `finish` ends it."""
        self._thread.start()

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self.finish()

    def _sync(self) -> None:
        planned = self._is_planned()
        try:
            if self._tracker is None:
                self._tracker = Tracker(self._store, uri=self._suite.tracking.uri)
            if planned:
                self._tracker.sync(self._suite.name)
            self._trouble = None
        except TrackingError as error:
            self._trouble = error

    def _follow(self) -> None:
        # The first call also makes the database, which takes seconds: better now than at the end.
        self._sync()
        if self._trouble is not None:  # now, not only at the end: someone may start it meanwhile
            self._tell()
        while not self._stop.wait(SYNC_SECONDS):
            self._sync()

    def finish(self) -> None:
        """Bring MLflow up to date a last time, and say what it refused."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._sync()
        if self._trouble is not None:
            self._tell()

    def _tell(self) -> None:
        self._console.print(
            f"MLflow: {self._trouble}", style="yellow", markup=False, soft_wrap=True
        )
        self._console.print("Results do not need it; later: ksl-bench track --sync", markup=False)
