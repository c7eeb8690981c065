"""Classification of single texts by a model that continues them.

A label is written as its verbalizer. The model is asked which one is most likely to follow the prompt and,
for comparison, what it writes by itself: a model may know the answer and not give it in the wanted form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from ksl_bench.config import ClassificationSpec, Split
from ksl_bench.data.labelled import LabelledCorpus, read_labelled
from ksl_bench.data.languages import language_name
from ksl_bench.data.prompts import Template, template
from ksl_bench.likeness import wording_of
from ksl_bench.tasks.base import Example, Examples, Output
from ksl_bench.tasks.language_id import Identify
from ksl_bench.tasks.translation import first_line, raw

FIELDS = frozenset({"text", "language", "labels"})

NONE = ""
"""What an output counts as that names no label."""


class Classification:
    """Tell which of several labels a text has."""

    sentence: ClassVar[str] = "text"
    macro_axis: str | None = None

    def __init__(self, spec: ClassificationSpec) -> None:
        """Take the labels, the languages, the prompt and the files from a suite."""
        self.spec = spec
        self._label_of = {wording_of(word): label for label, word in spec.labels}

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """Return the labels with their verbalizers."""
        return self.spec.labels

    @property
    def template(self) -> Template:
        """Return the prompt template; it must hold `{text}`."""
        return template(self.spec.prompt, required=self.sentence, allowed=FIELDS)

    @property
    def identity(self) -> Mapping[str, Any]:
        """Return the prompt, and the labels with their verbalizers."""
        return {"text": self.template.text, "labels": [list(one) for one in self.spec.labels]}

    @property
    def rules(self) -> Mapping[str, Callable[[Output], str]]:
        """Return the rules: by likelihood, and by what was generated, in whole or its first line."""
        return {
            "raw": lambda output: self.named(raw(output.text)),
            "first_line": lambda output: self.named(first_line(output.text)),
            "likelihood": self.likeliest,
        }

    def named(self, text: str) -> str:
        """Return the label that a text is the verbalizer of, whatever its case; `NONE` if it is no one's."""
        return self._label_of.get(wording_of(text), NONE)

    def likeliest(self, output: Output) -> str:
        """Return the label that the model finds most likely; of equal ones the first."""
        assert output.label_scores is not None
        place = max(range(len(self.labels)), key=output.label_scores.__getitem__)
        return self.labels[place][0]

    def read(self, split: Split) -> Examples:
        """Read one split."""
        corpus = self.corpus(split)
        words = dict(self.labels)
        listed = ", ".join(words.values())
        items = tuple(
            Example(
                {"text": one.text, "language": language_name(one.language), "labels": listed},
                words[one.label],
                reference=one.label,
                language=one.language[:3],
                document=one.document,
                groups={"language": one.language},
            )
            for one in corpus.items
        )
        return Examples(items, corpus.digest, corpus.origin, corpus.available)

    def segments(self, example: Example) -> tuple[str, ...]:
        """Return the text; its label is one of few, and no leak."""
        return (example.fields[self.sentence],)

    def corpus(self, split: Split) -> LabelledCorpus:
        """Return the labelled text of one split."""
        spec = self.spec
        return read_labelled(
            spec.files(split),
            languages=spec.languages,
            labels=[label for label, _ in spec.labels],
            split=split,
            size=spec.size(split),
            seed=spec.sample_seed,
            columns=spec.columns,
        )

    def identifier(self, split: Split) -> Identify | None:
        """Return None: no metric of the task asks for languages."""
        return None

    def diagnostics(self, outputs: Sequence[Output], references: Sequence[str]) -> dict[str, Any]:
        """Return the EOS rate, and by rule the share of outputs that name a label, all in [0, 1]."""
        texts = {name: rule for name, rule in self.rules.items() if name != "likelihood"}
        return {
            "eos_rate": sum(one.ended for one in outputs) / len(outputs),
            "mean_new_tokens": sum(one.tokens for one in outputs) / len(outputs),
            "answered": {
                name: sum(rule(one) != NONE for one in outputs) / len(outputs)
                for name, rule in texts.items()
            },
        }
