"""What a model may be asked to do: one specification a task."""

from __future__ import annotations

from itertools import permutations
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from ksl_bench.config.base import Direction, Language, Location, Spec, Split, Text
from ksl_bench.likeness import wording_of


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
        plain = [wording_of(one) for one in words]
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
