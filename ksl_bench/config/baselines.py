"""One row of a leaderboard: how it is trained, on which ticket, and what else it may be."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from ksl_bench.config.base import ModelSpec, Name, Precision, Spec


class TrainSpec(Spec):
    """How one method is trained; the same fields for every method."""

    learning_rate: float = Field(gt=0)
    """Peak learning rate, reached after warm-up."""
    steps: Annotated[int, Field(ge=1)] | None = None
    """Optimizer steps; give this or `epochs`."""
    epochs: Annotated[float, Field(gt=0)] | None = None
    """Passes over the training examples; give this or `steps`."""
    data_share: float = Field(default=1.0, gt=0, le=1)
    """Share of the training examples that is used: the first of them, which are drawn at random."""
    global_batch_size: int = Field(default=16, ge=1)
    """Examples per optimizer step, summed over all workers."""
    micro_batch_size: int = Field(default=16, ge=1)
    """Examples per forward pass of one worker."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_ratio: float = Field(default=0.03, ge=0, lt=1)
    """Share of the steps over which the learning rate rises."""
    weight_decay: float = Field(default=0.0, ge=0)
    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    adam_beta2: float = Field(default=0.999, ge=0, lt=1)
    max_gradient_norm: float = Field(default=1.0, gt=0)
    max_seq_length: int = Field(default=512, ge=8)
    """Longest prompt and response together, in tokens; longer examples lose the end of the response."""
    precision: Precision = "fp32"
    gradient_checkpointing: bool = False
    checkpoint_every_steps: int = Field(default=100, ge=1)
    divergence_factor: float = Field(default=3.0, gt=1)
    """A run has diverged when its loss is not finite, or so many times that of blind guessing, ln V."""

    @model_validator(mode="after")
    def _one_length(self) -> TrainSpec:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(
                f"give exactly one of steps and epochs, got steps={self.steps}, epochs={self.epochs}"
            )
        return self

    def total_steps(self, *, examples: int) -> int:
        """Optimizer steps of a run over that many training examples; at least one."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return max(1, round(self.epochs * examples / self.global_batch_size))

    def accumulation_steps(self, *, world_size: int) -> int:
        """Micro-batches each worker runs before one optimizer step.

        Raises:
            ValueError: If the global batch does not divide evenly.
        """
        steps, rest = divmod(self.global_batch_size, world_size * self.micro_batch_size)
        if rest or not steps:
            raise ValueError(
                f"global_batch_size={self.global_batch_size} is not a multiple of workers_per_run x "
                f"micro_batch_size = {world_size} x {self.micro_batch_size}"
            )
        return steps


class TicketSpec(Spec):
    """Which rows a method may change: so many by a criterion, or those under alpha."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    source: str | None = Field(default=None, alias="from")
    """The baseline whose tuned state is compared with the base; a criterion may need none."""
    criterion: str
    scope: str = "input_embedding"
    """Whose rows: `input_embedding`, `output_head`, or a pattern of linear modules; of a mask `layers`."""
    k: Annotated[int, Field(ge=1)] | None = None
    alpha: Annotated[float, Field(gt=0, lt=1)] | None = None
    sparsity: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of entries left alone; makes it a mask of single entries of the `layers`, not of rows."""
    in_sequence: Literal["anew", "shared", "disjoint"] = "anew"
    """What a later task of a sequence takes: a ticket found anew, the one of the first task, or one found
    anew among what no earlier task of the row may change."""

    @model_validator(mode="after")
    def _one_size(self) -> TicketSpec:
        if self.sparsity is not None and (self.k is not None or self.alpha is not None):
            raise ValueError(
                f"give k, alpha or sparsity, got k={self.k}, alpha={self.alpha}, sparsity={self.sparsity}"
            )
        if self.k is not None and self.alpha is not None:
            raise ValueError(f"give k or alpha, not both, got k={self.k}, alpha={self.alpha}")
        return self


class ProbeSpec(Spec):
    """The trained state of another baseline, scored with something changed; nothing is trained for it."""

    of: str
    """The baseline whose state it is; it must be partial tuning."""
    change: Literal["learned", "random"] = "learned"
    """The learned change of the rows, or a random one of the same row lengths."""
    active_in: Literal["everywhere", "instruction", "source", "generated"] = "everywhere"
    """Where the change acts: in the prompt outside the sentence, in the sentence, in generated text."""

    @model_validator(mode="after")
    def _something(self) -> ProbeSpec:
        if self.change == "learned" and self.active_in == "everywhere":
            raise ValueError("a probe changes something: give change or active_in")
        return self


class MergeSpec(Spec):
    """States of another baseline, each tuned from the base for one task, as one model; nothing is trained.

    Source: task arithmetic, Ilharco et al. 2023 (arXiv:2212.04089); TIES, Yadav et al. 2023
        (arXiv:2306.01708).
    """

    of: str
    """The baseline whose states are merged."""
    rule: Literal["task_arithmetic", "ties", "disjoint_sum"]
    """How the changes of a number are joined; `disjoint_sum` takes tickets that have nothing in common."""
    weight: float = Field(default=1.0, gt=0)
    """What every change is multiplied by."""
    density: Annotated[float, Field(gt=0, le=1)] | None = None
    """TIES: share of each weight's changes that is kept, the largest."""

    @model_validator(mode="after")
    def _fields_of_the_rule(self) -> MergeSpec:
        if (self.density is not None) != (self.rule == "ties"):
            raise ValueError(f"density belongs to rule ties, got {self.density} with {self.rule!r}")
        if self.rule == "disjoint_sum" and self.weight != 1:
            raise ValueError(f"weight of rule disjoint_sum is 1, got {self.weight:g}")
        return self


class StepSpec(Spec):
    """What one step of a sequence is tuned with, where a recipe says it for each."""

    hyperparameters: dict[str, Any]
    ticket: TicketSpec | None
    train: TrainSpec


class PerformerSpec(Spec):
    """The second model of a statistic that compares two: of one tokenizer with the base model."""

    baseline: str | None = None
    """A baseline of the suite: the base with what was trained there."""
    model: ModelSpec | None = None
    """Another base model; give this or `baseline`."""

    @model_validator(mode="after")
    def _one_model(self) -> PerformerSpec:
        if (self.baseline is None) == (self.model is None):
            raise ValueError("give exactly one of baseline and model")
        return self


class StatisticSpec(Spec):
    """A statistic of a text under the base model, which nothing is trained for."""

    name: str
    """One of `detection.statistics.STATISTICS`."""
    performer: PerformerSpec | None = None
    """Of a statistic of two models the second; the base model is then the observer."""


class VoteSpec(Spec):
    """A majority vote: a text is called machine if more than half of the voters do."""

    of: Annotated[tuple[str, ...], Field(min_length=2)]
    """Baselines of the suite that are listed before; a vote among them has one voice."""


class SearchSpec(Spec):
    """What it took to choose a baseline's fields on dev; part of what it costs, not of what it is."""

    space: str
    """The sweep."""
    seeds: tuple[int, ...]
    """Of every choice."""
    texts: tuple[str, ...] = ()
    """Digests of what every choice was scored on."""
    trials: int
    """Choices made for this baseline."""
    steps: int
    """Optimizer steps over all of them and their seeds."""
    device_hours: float
    """Tuning, selection and scoring of all of them, what they shared counted once."""


class Baseline(Spec):
    """One row of a leaderboard: a method with its hyperparameters and where they come from."""

    name: Name
    description: str = ""
    source: str
    """Where the method and its values come from: a paper, a library's default, a choice on dev."""
    method: str
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    """The method's own fields, checked by the method."""
    ticket: TicketSpec | None = None
    train: TrainSpec
    """How it is trained; of a method that trains nothing only precision and lengths count."""
    probe: ProbeSpec | None = None
    """Makes it a probe of another baseline, whose method, ticket and training it then has."""
    merge: MergeSpec | None = None
    """Makes it a merge of another baseline's states; it then has that one's method, ticket and training."""
    by_step: tuple[StepSpec, ...] = ()
    """What each step of a sequence is tuned with; all alike where nothing is said."""
    statistic: StatisticSpec | None = None
    """Makes it a statistical detector: texts are scored by a statistic, and nothing is trained."""
    vote: VoteSpec | None = None
    """Makes it a vote of other detectors; it looks at no text itself."""
    search: SearchSpec | None = None
    """Of a baseline that a suite takes from a sweep."""

    def at_step(self, step: int) -> Baseline:
        """Return the baseline as it is tuned at a step of a sequence, from 0; alone, it is as at step 0."""
        if not self.by_step:
            return self
        own = self.by_step[step]
        return self.model_copy(
            update={
                "hyperparameters": own.hyperparameters,
                "ticket": own.ticket,
                "train": own.train,
                "by_step": (),
            }
        )
