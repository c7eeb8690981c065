"""What a suite says, typed and frozen.

These classes hold and check values, nothing else: `suite.py` finds the YAML files, joins suites with
recipes and `--set`, and reports every problem at once with its path. Units are in the names; languages
are ISO 639-3 codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

Precision = Literal["fp32", "bf16"]
Split = Literal["train", "dev", "devtest"]
Location = str | tuple[str, str] | tuple[tuple[str, str], ...]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Language = Annotated[str, Field(pattern=r"^[a-z]{3}(_[A-Z][a-z]{3})?$")]
Direction = Annotated[str, Field(pattern=r"^[a-z]{3}(_[A-Z][a-z]{3})?-[a-z]{3}(_[A-Z][a-z]{3})?$")]
Text = Annotated[str, Field(pattern=r"\S")]


class Spec(BaseModel):
    """A frozen part of a suite; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelSpec(Spec):
    """The base model: any Hugging Face causal language model, or the shipped tiny one."""

    name_or_path: str
    """`tiny-base` or `tiny-base-five` (shipped), a folder, or a Hugging Face id."""
    revision: str | None = None
    """Branch, tag or commit of a Hugging Face id; it is pinned to the commit before anything runs."""
    trust_remote_code: bool = False


class TaskSpec(Spec):
    """What the model is asked to do, on which text, under which prompt: what all tasks have in common."""

    name: str
    prompt: str
    """A named template, or a template text that holds the example's own field."""
    train_files: Location
    dev_files: Location
    devtest_files: Location
    train_size: Annotated[int, Field(ge=1)] | None = None
    dev_size: Annotated[int, Field(ge=1)] | None = None
    devtest_size: Annotated[int, Field(ge=1)] | None = None
    """Examples used of each split; all of them where none is given."""
    sample_seed: int = 0
    """Draws the training examples when fewer than all are used."""
    leaks: Literal["refused", "allowed"] = "refused"
    """What becomes of a suite that scores segments that stand in its training text."""

    def files(self, split: Split) -> Location:
        """Return where a split is read from."""
        location: Location = getattr(self, f"{split}_files")
        return location

    def size(self, split: Split) -> int | None:
        """Return how many examples of a split are used, None for all."""
        size: int | None = getattr(self, f"{split}_size")
        return size

    @property
    def language_pair(self) -> tuple[str, str] | None:
        """Return the two languages of a translation, ISO 639-3; None of another task."""
        return None


class TranslationSpec(TaskSpec):
    """Translation from one language into another.

    Files are `controlled`, two aligned files, a TSV, JSONL, a FLORES folder, or `hf://id@revision?...`.
    """

    name: Literal["translation"] = "translation"
    source_language: Language
    target_language: Language
    prompt: str = "explicit"
    columns: tuple[str, str] | None = None
    """Names of the source and target column, for TSV, JSONL and Hugging Face datasets."""

    @property
    def language_pair(self) -> tuple[str, str] | None:
        """Return the source's and the target's ISO 639-3 code."""
        return self.source_language[:3], self.target_language[:3]

    @model_validator(mode="after")
    def _two_languages(self) -> TranslationSpec:
        if self.source_language == self.target_language:
            raise ValueError(f"source and target language are both {self.source_language!r}")
        return self


class DirectionsSpec(TaskSpec):
    """Translation in many directions at once, from one multi-parallel corpus.

    Files are `controlled`, a FLORES folder, or a mapping from languages to files that are aligned by line.
    Sizes count segments, each of which is used in every direction.
    """

    name: Literal["directions"] = "directions"
    directions: Annotated[tuple[Direction, ...], Field(min_length=1)]
    """What is translated: directions such as `eng-cat`, or languages, for every pair of them."""
    tuned_on: Annotated[tuple[Direction, ...], Field(min_length=1)]
    """The directions of the training text, given alike; all of them where none are given."""
    prompt: str = "explicit"

    @property
    def languages(self) -> tuple[str, ...]:
        """Return every language that is translated from or into."""
        return tuple(dict.fromkeys(code for one in self.directions for code in one.split("-")))

    @model_validator(mode="before")
    @classmethod
    def _spelled_out(cls, given: Any) -> Any:
        """Take languages as every pair of them."""
        if not isinstance(given, dict) or "directions" not in given:
            return given
        fields = {"tuned_on": given["directions"], **given}
        return {
            **fields,
            **{name: _pairs_of(fields[name]) for name in ("directions", "tuned_on")},
        }

    @field_validator("train_files", "dev_files", "devtest_files", mode="before")
    @classmethod
    def _by_language(cls, given: Any) -> Any:
        if isinstance(given, dict):
            return tuple(given.items())
        if not isinstance(given, str) or given.startswith("hf://"):
            raise ValueError(
                f"must be `controlled`, a folder, or a mapping from languages to files, got {given!r}"
            )
        return given

    @model_validator(mode="after")
    def _some_of_them(self) -> DirectionsSpec:
        for what in ("directions", "tuned_on"):
            given = getattr(self, what)
            twice = sorted({one for one in given if given.count(one) > 1})
            if twice:
                raise ValueError(f"{what}: given more than once: {', '.join(twice)}")
        others = [one for one in self.tuned_on if one not in self.directions]
        if others:
            raise ValueError(
                f"tuned_on: must be some of the directions {', '.join(self.directions)}, "
                f"got {', '.join(others)}"
            )
        return self


def _pairs_of(given: Any) -> Any:
    """Return languages as every pair of them; what is no list of several languages stays as it is."""
    if not isinstance(given, (list, tuple)) or len(given) < 2:
        return given
    if any(not isinstance(one, str) or "-" in one for one in given):
        return given
    return tuple(f"{one}-{other}" for one, other in permutations(given, 2))


class LabelColumns(Spec):
    """What the columns of labelled text are called."""

    text: str = "text"
    label: str = "label"
    language: str = "language"
    """Read where it is there."""
    document: str = "document"
    """Texts of one document, or of one text in several languages, are drawn together; where it is there."""


def label_pairs(given: Any) -> Any:
    """Return labels with their verbalizers as pairs: from a mapping, or a list of labels or pairs."""
    if isinstance(given, dict):
        return tuple((str(label), word) for label, word in given.items())
    if isinstance(given, (list, tuple)):
        return tuple((one, one) if isinstance(one, str) else one for one in given)
    return given


def check_labels(labels: tuple[tuple[str, str], ...]) -> None:
    """Check that no two labels, and no two verbalizers, read alike.

    Raises:
        ValueError: With those that do.
    """
    for what, words in zip(("label", "verbalizer"), zip(*labels, strict=True), strict=True):
        plain = [" ".join(one.split()).casefold() for one in words]
        twice = sorted({one for one in plain if plain.count(one) > 1})
        if twice:
            raise ValueError(f"labels: {what} given more than once: {', '.join(twice)}")


class ClassificationSpec(TaskSpec):
    """Classification of single texts, in one or several languages.

    Files are `controlled`, a TSV with a header, JSONL, a folder with one file a language and split as
    SIB-200 has it, or `hf://id@revision?...`.
    """

    name: Literal["classification"] = "classification"
    languages: Annotated[tuple[Language, ...], Field(min_length=1)]
    """Of the texts that are used; those of other languages are left out."""
    labels: Annotated[tuple[tuple[Text, Text], ...], Field(min_length=2)]
    """Each label in the data with its verbalizer, what the model is to write for it; in YAML a mapping, or a
    list of labels that are written as they are."""
    prompt: str = "topic"
    columns: LabelColumns = LabelColumns()

    @field_validator("labels", mode="before")
    @classmethod
    def _own_words(cls, given: Any) -> Any:
        """Take a mapping as its pairs, and a label alone as its own verbalizer."""
        return label_pairs(given)

    @model_validator(mode="after")
    def _told_apart(self) -> ClassificationSpec:
        check_labels(self.labels)
        return self


class DetectionColumns(LabelColumns):
    """What the columns of a detection corpus are called."""

    generator: str = "generator"
    """What wrote a text, for scores by generator; read where it is there."""


class DetectionSpec(TaskSpec):
    """Machine-generated text told from human text, in one or several languages.

    Files are `controlled`, a TSV with a header, JSONL, a folder with one file a language and split, or
    `hf://id@revision?...`. Thresholds are chosen on dev, which is never scored.
    """

    name: Literal["detection"] = "detection"
    languages: Annotated[tuple[Language, ...], Field(min_length=1)]
    """Of the texts that are used; those of other languages are left out."""
    labels: Annotated[tuple[tuple[Text, Text], ...], Field(min_length=2, max_length=2)] = (
        ("human", "human"),
        ("machine", "machine"),
    )
    """What a human and a machine text are labelled in the data, in this order, each with its verbalizer."""
    identify_language: bool = False
    """Tell the language of every text among `languages` by its words, where the data do not say it."""
    fewest_per_class: int = Field(default=20, ge=1)
    """Human and machine texts that a language must have in dev for a threshold of its own."""
    prompt: str = "detection"
    columns: DetectionColumns = DetectionColumns()

    @field_validator("labels", mode="before")
    @classmethod
    def _own_words(cls, given: Any) -> Any:
        """Take a mapping as its pairs, and a label alone as its own verbalizer."""
        return label_pairs(given)

    @model_validator(mode="after")
    def _told_apart(self) -> DetectionSpec:
        check_labels(self.labels)
        return self


TASK_SPECS: dict[str, type[TaskSpec]] = {
    "translation": TranslationSpec,
    "directions": DirectionsSpec,
    "classification": ClassificationSpec,
    "detection": DetectionSpec,
}
"""What a suite says of each task, by the task's name."""


def _task_name(given: Any) -> str | None:
    """Return which task a mapping in a suite is; translation where it does not say."""
    if isinstance(given, TaskSpec):
        return given.name
    return str(given.get("name", "translation")) if isinstance(given, dict) else None


AnyTask = Annotated[
    Annotated[TranslationSpec, Tag("translation")]
    | Annotated[DirectionsSpec, Tag("directions")]
    | Annotated[ClassificationSpec, Tag("classification")]
    | Annotated[DetectionSpec, Tag("detection")],
    Discriminator(_task_name),
]
"""One of `TASK_SPECS`."""


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
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
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
