"""What a suite compares, how it is scored, and what it may take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ksl_bench.config.base import ModelSpec, Name, Seed, Spec
from ksl_bench.config.baselines import Baseline
from ksl_bench.config.tasks import AnyTask


class DecodingSpec(Spec):
    """How hypotheses are generated; never sampled, so the same model gives the same text."""

    num_beams: int = Field(default=1, ge=1)
    max_new_tokens: int = Field(default=256, ge=1)
    batch_size: int = Field(default=32, ge=1)
    """Prompts per batch; padding makes the last digits of a sum depend on it, hence part of the key."""


class EvaluateSpec(Spec):
    """On which split, how decoded, by which metrics."""

    split: Literal["dev", "devtest"] = "devtest"
    metrics: tuple[str, ...] = ("bleu", "chrf")
    bootstrap_samples: int = Field(default=1000, ge=100)
    decoding: DecodingSpec = DecodingSpec()


class ResourcesSpec(Spec):
    """What one run takes of the cluster, and what a device costs."""

    workers_per_run: int = Field(default=1, ge=1)
    cpus_per_worker: float = Field(default=1, gt=0)
    gpus_per_worker: float = Field(default=0, ge=0)
    zero_stage: Literal[0, 1, 2, 3] = 0
    placement: Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"] = "PACK"
    max_groups: Annotated[int, Field(ge=1)] | None = None
    """Worker groups side by side; as many as the cluster holds where none is given."""
    pack: int = Field(default=1, ge=1)
    """Tickets that one group trains in one batch, at most; each for itself where it is 1."""
    price_per_device_hour: Annotated[float, Field(ge=0)] | None = None
    """Money for one worker's device (GPU, else its CPUs) for an hour; for the bill."""
    tflops_per_device: Annotated[float, Field(gt=0)] | None = None
    """What a device sustains in training, in 1e12 operations a second; `plan` needs it for hours."""


class VerdictSpec(Spec):
    """What verdicts are bound to before any number is seen."""

    margin: float = Field(default=1.0, gt=0)
    """Points of the headline metric that a ticket may lose and still count as non-inferior."""
    rule: str = "first_line"
    """The rule under which rows are ranked and judged; the task's own where a suite names none."""


class TrackingSpec(Spec):
    """Where MLflow is."""

    uri: str | None = None
    """An MLflow server or database; else $MLFLOW_TRACKING_URI, else `<storage>/mlflow.db`."""
    experiment: str | None = None
    """The experiment's name; the suite's where none is given."""


class Suite(Spec):
    """What is compared: base model, task and corpus, prompts, baselines, seeds, evaluation, resources."""

    name: Name
    description: str = ""
    model: ModelSpec
    task: AnyTask
    conditions: dict[Name, AnyTask] = Field(default_factory=dict)
    """The task under several prompts, languages or samples; in YAML each gives what differs from `task`."""
    transfer: tuple[str, ...] = ()
    """Baselines that, tuned under one condition, are also scored under every other one."""
    sequence: tuple[str, ...] = ()
    """Conditions that are tuned on one after the other, each from what the last one left."""
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1)
    baselines: tuple[Baseline, ...] = Field(min_length=1)
    evaluate: EvaluateSpec = EvaluateSpec()
    resources: ResourcesSpec = ResourcesSpec()
    verdicts: VerdictSpec = VerdictSpec()
    tracking: TrackingSpec = TrackingSpec()

    def baseline(self, name: str) -> Baseline:
        """Return the baseline of that name, which must be in the suite."""
        return next(one for one in self.baselines if one.name == name)

    @property
    def joined(self) -> tuple[str, ...]:
        """Return the conditions whose states are merged: those of the sequence, else all."""
        return self.sequence or tuple(self.conditions)

    @property
    def tasks(self) -> dict[str, AnyTask]:
        """Return the task of every condition, by name; one that the suite does not name is `default`."""
        return self.conditions or {"default": self.task}

    def path_of(self, condition: str) -> str:
        """Return where the task of a condition stands in the suite: under `conditions`, or as `task`."""
        return f"conditions.{condition}" if self.conditions else "task"

    @model_validator(mode="after")
    def _distinct(self) -> Suite:
        for what, values in (
            ("baseline", [one.name for one in self.baselines]),
            ("seed", [str(seed) for seed in self.seeds]),
            ("condition of the sequence", list(self.sequence)),
        ):
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"{what} given more than once: {', '.join(twice)}")
        return self


JOIN = "+"
"""Between the names of tasks in the name of a step; no condition's own name may hold it."""


def step_name(conditions: Sequence[str]) -> str:
    """Return the name of a model tuned on some conditions, in their order: `one+two+three`."""
    return JOIN.join(conditions)


def step_names(sequence: Sequence[str]) -> tuple[str, ...]:
    """Return the name of a sequence's model after each of its steps."""
    return tuple(step_name(sequence[: step + 1]) for step in range(len(sequence)))
