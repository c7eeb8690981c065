"""What a search space says, typed and frozen."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ksl_bench.config import Name, Seed


class Spec(BaseModel):
    """A frozen part of a space; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Domain(Spec):
    """Values of one field: listed, or drawn between two bounds."""

    grid: Annotated[tuple[Any, ...], Field(min_length=1)] | None = None
    uniform: tuple[float, float] | None = None
    loguniform: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Domain:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of grid, uniform and loguniform, got {given or 'none'}")
        bounds = self.uniform or self.loguniform
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ValueError(f"the lower bound must be below the upper, got {list(bounds)}")
        if self.loguniform is not None and self.loguniform[0] <= 0:
            raise ValueError(f"a logarithmic domain must be above 0, got {list(self.loguniform)}")
        return self


class ObjectiveSpec(Spec):
    """What is made as large as possible, on dev."""

    metric: str = "bleu"
    rule: str = "raw"


class SearchSpec(Spec):
    """How choices are made."""

    algorithm: Literal["grid", "random", "optuna"] = "grid"
    trials: Annotated[int, Field(ge=1)] | None = None
    """Choices for each baseline; a grid has its own number."""
    seed: int = 0

    @model_validator(mode="after")
    def _counted(self) -> SearchSpec:
        if (self.algorithm == "grid") != (self.trials is None):
            raise ValueError(
                f"algorithm {self.algorithm!r} with trials={self.trials}: a grid has its own number"
            )
        return self


class SchedulerSpec(Spec):
    """Whether every choice is trained in full, or the worse ones are given up early."""

    name: Literal["fifo", "asha"] = "fifo"
    first_steps: Annotated[int, Field(ge=1)] | None = None
    """With asha: optimizer steps of the first of several runs of each choice."""
    factor: Annotated[int, Field(ge=2)] = 3
    """With asha: one choice in so many goes on to a run of so many times the steps."""

    @model_validator(mode="after")
    def _rungs(self) -> SchedulerSpec:
        if (self.name == "asha") != (self.first_steps is not None):
            raise ValueError("first_steps: must be given with asha, and only then")
        return self


class SpaceSpec(Spec):
    """What is searched, over which suite."""

    name: Name
    description: str = ""
    suite: str
    """Name or path; relative paths are the working directory's."""
    set: tuple[str, ...] = ()
    """Changes of the suite, as of `--set`."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    """Of every choice; its score is their mean."""
    objective: ObjectiveSpec = ObjectiveSpec()
    search: SearchSpec = SearchSpec()
    scheduler: SchedulerSpec = SchedulerSpec()
    equal_budget: bool = True
    """Refuse a space that gives some baselines more trials than others."""
    baselines: Annotated[dict[str, dict[str, Domain]], Field(min_length=1)]
    """Domains by baseline and path in it: `train.learning_rate`; `from.` leads to its ticket's source."""
