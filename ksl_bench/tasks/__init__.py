"""What a model is asked to do, and how its outputs are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ksl_bench.config import TaskSpec
from ksl_bench.registry import Registry
from ksl_bench.tasks.base import Task
from ksl_bench.tasks.classification import Classification
from ksl_bench.tasks.detection import Detection
from ksl_bench.tasks.directions import Directions
from ksl_bench.tasks.translation import Translation

TASKS: Registry[Callable[[Any], Task]] = Registry(
    "task",
    {
        "translation": Translation,
        "directions": Directions,
        "classification": Classification,
        "detection": Detection,
    },
)


def build_task(spec: TaskSpec) -> Task:
    """Make the task that a suite names.

    Raises:
        ConfigError: If there is none of that name.
    """
    return TASKS[spec.name](spec)
