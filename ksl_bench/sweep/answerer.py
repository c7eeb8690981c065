"""The driver's side of the counter: what trials ask is answered, side by side."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray

from ksl_bench.errors import ClusterError
from ksl_bench.sweep.asker import POLL_SECONDS

TRIES = 5
"""Calls of the counter in a row that may fail: Ray gives up one where a connection breaks for a moment."""
RETRY_SECONDS = 1.0


class Answerer:
    """Answers what is asked at a counter, from a thread of its own, until `ended` is set."""

    def __init__(
        self, counter: Any, score: Callable[[dict[str, Any]], dict[str, Any]], width: int
    ) -> None:
        """Begin.

        Args:
            counter: The actor.
            score: Makes and scores a trial.
            width: Trials side by side.
        """
        self._counter, self._score, self._width = counter, score, width
        self.ended = threading.Event()
        """Set by whoever needs no more answers, and by a failure."""
        self.failure: BaseException | None = None
        """What ended it before its time; told by its owner, whose threads these are not."""
        self._thread = threading.Thread(target=self._serve, name="sweep", daemon=True)
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait until nothing is asked or answered any more, at most so long."""
        self._thread.join(seconds)

    def _serve(self) -> None:
        heard = 0
        with ThreadPoolExecutor(self._width) as threads:
            while not self.ended.is_set():
                try:
                    asked = self._call(self._counter.asked, heard)
                except BaseException as error:
                    self._fail(error)
                    return
                heard += len(asked)
                for question, trial in asked:
                    threads.submit(self._answer, question, trial)
                time.sleep(POLL_SECONDS)

    def _answer(self, question: str, trial: dict[str, Any]) -> None:
        try:
            self._call(self._counter.answer, question, self._score(trial))
        except BaseException as error:
            self._fail(error)

    def _call(self, method: Any, *arguments: Any) -> Any:
        """Call a method of the counter, which may have run although its call failed.

        Raises:
            ClusterError: If it fails time and again.
        """
        for left in reversed(range(TRIES)):
            try:
                return ray.get(method.remote(*arguments))
            except ray.exceptions.RayError as error:
                if not left or self.ended.wait(RETRY_SECONDS):
                    reason = str(error).strip().partition("\n")[0] or type(error).__name__
                    raise ClusterError(f"the sweep's counter does not answer: {reason}") from error

    def _fail(self, error: BaseException) -> None:
        if not self.ended.is_set():  # after the end nobody waits for what is lost
            self.failure = error
            self.ended.set()
