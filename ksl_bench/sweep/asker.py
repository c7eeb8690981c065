"""A trial as Ray Tune sees it, and the counter at which it asks.

Every trial is a process: this module imports nothing that takes long.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import ray
from ray import tune

POLL_SECONDS = 0.1


class Counter:
    """Where trials ask and the driver answers; an actor."""

    def __init__(self) -> None:
        """Open with nothing asked."""
        self._asked: list[tuple[str, dict[str, Any]]] = []
        self._answers: dict[str, dict[str, Any]] = {}

    def ask(self, question: str, trial: dict[str, Any]) -> None:
        """Ask for a trial's score: its baseline, choice and steps."""
        self._asked.append((question, trial))

    def asked(self, heard: int) -> list[tuple[str, dict[str, Any]]]:
        """Return what was asked after the first so many, however often that is wanted."""
        return self._asked[heard:]

    def answer(self, question: str, scored: dict[str, Any]) -> None:
        """Give a trial its score."""
        self._answers[question] = scored

    def fetch(self, question: str) -> dict[str, Any] | None:
        """Return a score once, None while it is not there."""
        return self._answers.pop(question, None)


class Asker(tune.Trainable):  # type: ignore[misc]
    """A trial as Tune sees it: each step is a whole run of so many optimizer steps."""

    def setup(self, config: dict[str, Any], counter: Any = None) -> None:
        """Take a choice."""
        self._counter = counter
        self._take(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another choice without a new process."""
        self._take(new_config)
        return True

    def _take(self, config: Mapping[str, Any]) -> None:
        trial = config["trial"]
        self._baseline, self._rungs = trial["baseline"], trial["rungs"]
        self._choice = dict(trial["choice"])
        self._rung = 0

    def step(self) -> dict[str, Any]:
        """Ask for the score of the next number of steps, and wait for it."""
        question = f"{self.trial_id}.{self._rung}"
        trial = {
            "baseline": self._baseline,
            "choice": self._choice,
            "steps": self._rungs[self._rung],
        }
        ray.get(self._counter.ask.remote(question, trial))
        while (scored := ray.get(self._counter.fetch.remote(question))) is None:
            time.sleep(POLL_SECONDS)
        self._rung += 1
        done = self._rung >= len(self._rungs) or scored["status"] != "finished"
        return {"score": scored["score"], "step": scored["steps"], tune.result.DONE: done}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Keep nothing: the store has it."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Load nothing."""
