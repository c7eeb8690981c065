"""Translation of single segments.

A base model that translates but does not stop scores low on its raw output and high on its first
line, so every output is read by three rules, and the rate of EOS stands beside them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from ksl_bench.config import Split, TranslationSpec
from ksl_bench.data.corpus import read_corpus
from ksl_bench.data.languages import language_name
from ksl_bench.data.prompts import Template, template
from ksl_bench.tasks.base import Example, Examples, Output
from ksl_bench.tasks.language_id import Identify

FIELDS = frozenset({"source", "source_language", "target_language"})

_RESTART = re.compile(r"^\s*[A-Za-z][A-Za-z ]{0,20}:\s")
"""A line by which a model starts another prompt ("English: ...")."""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def raw(text: str) -> str:
    """Take all up to EOS, on one line."""
    return _one_line(text)


def first_line(text: str) -> str:
    """Take the first line that is not empty."""
    lines = (line.strip() for line in text.split("\n"))
    return _one_line(next((line for line in lines if line), ""))


def prompt_restart(text: str) -> str:
    """Take all up to the first line that starts another prompt."""
    kept: list[str] = []
    for line in text.split("\n"):
        if _RESTART.match(line + "\n"):
            break
        kept.append(line)
    return _one_line("\n".join(kept))


TEXTS: Mapping[str, Callable[[str], str]] = {
    "raw": raw,
    "first_line": first_line,
    "prompt_restart": prompt_restart,
}
"""The rules, from generated text to hypothesis."""


def on_text(read: Callable[[str], str]) -> Callable[[Output], str]:
    """Return a rule that reads what was generated."""
    return lambda output: read(output.text)


class Translation:
    """Translate a segment from one language into another."""

    sentence: ClassVar[str] = "source"
    texts: ClassVar[Mapping[str, Callable[[str], str]]] = TEXTS
    labels: tuple[tuple[str, str], ...] = ()
    macro_axis: str | None = None

    def __init__(self, spec: TranslationSpec) -> None:
        """Take the languages, the prompt and the files from a suite."""
        self.spec = spec

    @property
    def rules(self) -> Mapping[str, Callable[[Output], str]]:
        """Return the three rules, each on what was generated."""
        return {name: on_text(read) for name, read in self.texts.items()}

    @property
    def identity(self) -> Mapping[str, Any]:
        """Return the prompt and the languages."""
        spec = self.spec
        return {
            "text": self.template.text,
            "source_language": spec.source_language,
            "target_language": spec.target_language,
        }

    @property
    def template(self) -> Template:
        """Return the prompt template; it must hold `{source}`."""
        return template(self.spec.prompt, required=self.sentence, allowed=FIELDS)

    def read(self, split: Split) -> Examples:
        """Read one split of the corpus."""
        spec = self.spec
        corpus = read_corpus(
            spec.files(split),
            source_language=spec.source_language,
            target_language=spec.target_language,
            split=split,
            size=spec.size(split),
            seed=spec.sample_seed,
            columns=spec.columns,
        )
        names = {
            "source_language": language_name(spec.source_language),
            "target_language": language_name(spec.target_language),
        }
        items = tuple(
            Example(
                {**names, "source": pair.source},
                pair.target,
                language=spec.target_language[:3],
                document=pair.document,
            )
            for pair in corpus.pairs
        )
        return Examples(items, corpus.digest, corpus.origin, corpus.available)

    def segments(self, example: Example) -> tuple[str, ...]:
        """Return source and target."""
        return example.fields[self.sentence], example.response

    def identifier(self, split: Split) -> Identify | None:
        """Return None: no metric of the task asks for languages."""
        return None

    def diagnostics(self, outputs: Sequence[Output], references: Sequence[str]) -> dict[str, Any]:
        """Return the EOS rate in [0, 1], and by rule the length of hypotheses over references."""
        return translation_diagnostics(outputs, references)


def translation_diagnostics(outputs: Sequence[Output], references: Sequence[str]) -> dict[str, Any]:
    """Return the EOS rate in [0, 1], and by rule the length of hypotheses over references."""
    reference_length = sum(map(len, references))
    return {
        "eos_rate": sum(one.ended for one in outputs) / len(outputs),
        "mean_new_tokens": sum(one.tokens for one in outputs) / len(outputs),
        "length_ratio": {
            name: sum(len(rule(one.text)) for one in outputs) / reference_length
            for name, rule in TEXTS.items()
        },
    }
