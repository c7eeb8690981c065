"""Machine-generated text told from human text.

Every detector gives each text a score, high for machine; thresholds from dev make a label of it. A fine-tuned
classifier is asked for the likelihood of the two labels, a statistic looks at the text itself, a vote at the
labels that others gave.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ksl_bench.config import DetectionSpec, Split
from ksl_bench.data.corpus import CONTROLLED
from ksl_bench.data.detection import generator_of, read_detection
from ksl_bench.data.labelled import LabelledCorpus
from ksl_bench.data.languages import language_name
from ksl_bench.data.prompts import Template, template
from ksl_bench.errors import DataError
from ksl_bench.likeness import letters_of
from ksl_bench.tasks.base import ALL_GROUPS, Example, Examples, Output
from ksl_bench.tasks.language_id import (
    UNKNOWN,
    Identify,
    controlled_identifier,
    text_identifier,
)

FIELDS = frozenset({"text", "language"})
HUMAN, MACHINE = "human", "machine"
RULES = ("global", "calibrated")
"""One threshold for all texts, and one for each language with enough of them."""


@dataclass(frozen=True, slots=True)
class Detected(Output):
    """What a detector says of one text."""

    scores: Mapping[str, float] | None = None
    """By rule: high for machine."""
    machine: Mapping[str, bool] | None = None
    """By rule: whether the text is called machine-generated."""


def detected(scores: Mapping[str, float], machine: Mapping[str, bool]) -> Detected:
    """Return what a detector says of one text, by rule; it writes nothing."""
    return Detected("", False, 0, scores=scores, machine=machine)


class Detection:
    """Tell whether a text was written by a machine."""

    sentence: ClassVar[str] = "text"
    macro_axis: str | None = None

    def __init__(self, spec: DetectionSpec) -> None:
        """Take the languages, the labels, the prompt and the files from a suite."""
        self.spec = spec

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """Return `human` and `machine` with their verbalizers."""
        (_, human), (_, machine) = self.spec.labels
        return (HUMAN, human), (MACHINE, machine)

    @property
    def template(self) -> Template:
        """Return the prompt template; it must hold `{text}`."""
        return template(self.spec.prompt, required=self.sentence, allowed=FIELDS)

    @property
    def identity(self) -> Mapping[str, Any]:
        """Return the prompt, the labels with their verbalizers, and what a threshold needs."""
        return {
            "text": self.template.text,
            "labels": [list(one) for one in self.spec.labels],
            "fewest_per_class": self.spec.fewest_per_class,
        }

    @property
    def rules(self) -> Mapping[str, Callable[[Output], str]]:
        """Return the rules: what is called machine by one threshold, and by that of the language."""
        return {rule: _label_by(rule) for rule in RULES}

    def segments(self, example: Example) -> tuple[str, ...]:
        """Return the text; its label is one of two, and no leak."""
        return (example.fields[self.sentence],)

    def read(self, split: Split) -> Examples:
        """Read one split.

        A human text counts in every generator's group: there is nothing else to tell its texts from.

        Raises:
            DataError: If it cannot be read as asked, a class is missing, or a text of dev stands in devtest.
        """
        corpus = read_detection(self.spec, split, identify=self._identifier(split))
        (human, _), _ = self.spec.labels
        if len({one.label for one in corpus.items}) < 2:
            raise DataError(f"{corpus.origin}: both classes are needed, it has one only")
        if split == "devtest":
            self._check_apart(corpus)
        words = dict(self.labels)
        items = []
        for one in corpus.items:
            label, writer = HUMAN if one.label == human else MACHINE, generator_of(self.spec, one)
            groups = {
                "language": one.language,
                "generator": ALL_GROUPS if label == HUMAN else writer,
            }
            items.append(
                Example(
                    {
                        "text": one.text,
                        "language": UNKNOWN
                        if one.language == UNKNOWN
                        else language_name(one.language),
                        "generator": writer,
                    },
                    words[label],
                    reference=label,
                    language=one.language[:3],
                    document=one.document,
                    groups=groups,
                )
            )
        return Examples(tuple(items), corpus.digest, corpus.origin, corpus.available)

    def _identifier(self, split: Split) -> Identify | None:
        """Return what tells the language of a text, None where the data do."""
        if not self.spec.identify_language:
            return None
        if self.spec.files(split) == CONTROLLED:
            return controlled_identifier()
        return text_identifier(self.spec.languages)

    def _check_apart(self, scored: LabelledCorpus) -> None:
        """Check that thresholds are not chosen on what is scored."""
        dev = read_detection(self.spec, "dev", identify=self._identifier("dev"))
        both = _letters(scored) & _letters(dev)
        if both:
            raise DataError(
                f"{dev.origin}: {len(both)} texts stand in devtest, too; thresholds are chosen on dev, "
                "which must not be scored"
            )

    def identifier(self, split: Split) -> Identify | None:
        """Return None: no metric of the task asks for languages."""
        return None

    def diagnostics(self, outputs: Sequence[Output], references: Sequence[str]) -> dict[str, Any]:
        """Return by rule the share of texts that are called machine, in [0, 1]."""
        return {
            "called_machine": {
                name: sum(rule(one) == MACHINE for one in outputs) / len(outputs)
                for name, rule in self.rules.items()
            },
        }


def _letters(corpus: LabelledCorpus) -> set[str]:
    """Return what is compared of each text; nothing of one without letters or digits."""
    return {letters_of(one.text) for one in corpus.items} - {""}


def _label_by(rule: str) -> Callable[[Output], str]:
    def label(output: Output) -> str:
        assert isinstance(output, Detected)
        assert output.machine is not None
        return MACHINE if output.machine[rule] else HUMAN

    return label
