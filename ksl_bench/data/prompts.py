"""Named prompt templates, and what a custom one must hold.

A prompt's form decides much of what a tuned row learns (its "Response:" line, its newline), so a
template is named, and its text enters every key.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass

from ksl_bench.errors import ConfigError
from ksl_bench.registry import Registry, unknown


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt with fields in braces; the response follows it."""

    name: str
    text: str

    @property
    def response_prefix(self) -> str:
        """A blank between prompt and response, unless the prompt ends in white space already."""
        return "" if self.text[-1:].isspace() else " "

    def fields(self) -> set[str]:
        """Return the names in braces."""
        return {name for _, name, _, _ in string.Formatter().parse(self.text) if name is not None}

    def span(self, values: Mapping[str, str], field: str) -> tuple[int, int]:
        """Return where a field stands in the rendered prompt, its first time: begin and end."""
        begin = 0
        for literal, name, _, _ in string.Formatter().parse(self.text):
            begin += len(literal)
            if name == field:
                return begin, begin + len(values[field])
            begin += len(values[name]) if name is not None else 0
        raise ValueError(f"{self.name} has no {{{field}}}")

    def render(self, values: Mapping[str, str]) -> str:
        """Fill in the fields."""
        return self.text.format_map(values)


_TEMPLATES = {
    # The prompt under which the shipped base shows the effect: translates, does not stop.
    "explicit": (
        "Translate the following text from {source_language} to {target_language}.\n\n"
        "{source_language}: {source}\n{target_language}:"
    ),
    # Stanford Alpaca's template with input (tatsu-lab/stanford_alpaca, README), used by the
    # scripts of the predecessor of KS-Lottery.
    "alpaca": (
        "Below is an instruction that describes a task, paired with an input that provides "
        "further context. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nTranslate the following text from {source_language} to "
        "{target_language}.\n\n### Input:\n{source}\n\n### Response:\n"
    ),
    # Its frame alone, a quarter of its length: no instruction says what to do with the input.
    "response": "### Input:\n{source}\n\n### Response:\n",
    "bare": "{source}\n",
    # The same request in other words: what of a ticket belongs to the wording?
    "paraphrase": (
        "Please put this {source_language} sentence into {target_language}.\n\n"
        "Sentence: {source}\nTranslation:"
    ),
    # Classification.
    "topic": "Text: {text}\nTopic:",
    "topic_listed": "What is this {language} text about: {labels}?\n\nText: {text}\nTopic:",
    # Detection.
    "detection": "Text: {text}\nWritten by:",
}
TEMPLATES: Registry[Template] = Registry(
    "prompt", {name: Template(name, text) for name, text in _TEMPLATES.items()}
)


def template(prompt: str, *, required: str, allowed: frozenset[str]) -> Template:
    """Return a named template, or the given text as one.

    Args:
        prompt: A name, or a text with fields in braces.
        required: The field that the text must hold.
        allowed: All fields that the task can fill.

    Raises:
        ConfigError: If the name is unknown, or the text is no template for this task.
    """
    if prompt in TEMPLATES:
        return _fitting(TEMPLATES[prompt], required, allowed)
    if "{" not in prompt and " " not in prompt and "\n" not in prompt:
        raise ConfigError(unknown("prompt", prompt, TEMPLATES))
    return _fitting(Template("custom", prompt), required, allowed)


def _fitting(found: Template, required: str, allowed: frozenset[str]) -> Template:
    """Return a template that a task can fill."""
    shown = repr(found.text if found.name == "custom" else found.name)
    try:
        fields = found.fields()
    except ValueError as error:
        raise ConfigError(f"not a prompt template, {error}: {shown}") from None
    if required not in fields:
        raise ConfigError(f"a prompt must hold {{{required}}}, got {shown}")
    if fields - allowed:
        known = ", ".join(sorted(allowed))
        raise ConfigError(f"unknown prompt field {sorted(fields - allowed)[0]!r}; known: {known}")
    return found
