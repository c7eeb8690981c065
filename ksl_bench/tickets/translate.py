"""Text in, text out: lines translated by a model as a suite's evaluation would."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch

from ksl_bench.config import DecodingSpec
from ksl_bench.data.languages import language_name
from ksl_bench.data.prompts import template
from ksl_bench.errors import ConfigError, DataError
from ksl_bench.evaluation.generate import generate
from ksl_bench.registry import unknown
from ksl_bench.tasks.translation import FIELDS, Translation
from ksl_bench.tickets.apply import Base
from ksl_bench.training.loop import Worker

BLOCK = 1024
"""Lines that are read, sorted into batches by length, and written at a time.

Up to here a text gives what an evaluation of it gives: batches, hence padding, are the same.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What the model is asked, and how its answer is read."""

    prompt: str
    source_language: str
    target_language: str
    rule: str
    """Name of an extraction rule."""

    def __post_init__(self) -> None:
        """Check that prompt, languages and rule are known.

        Raises:
            ConfigError: If prompt or rule is not.
            DataError: If a language is not.
        """
        self.ask()
        if self.rule not in Translation.texts:
            raise ConfigError(unknown("rule", self.rule, Translation.texts))

    def ask(self) -> Callable[[str], str]:
        """Return what puts a line into the prompt."""
        form = template(self.prompt, required=Translation.sentence, allowed=FIELDS)
        languages = {
            "source_language": language_name(self.source_language),
            "target_language": language_name(self.target_language),
        }
        return lambda line: form.render({**languages, Translation.sentence: line})

    def read(self, output: str) -> str:
        """Take the translation out of an output."""
        return Translation.texts[self.rule](output)


def text_lines(stream: Iterable[bytes], *, name: str) -> Iterator[str]:
    """Decode lines, without their ends.

    Raises:
        DataError: If a line is not UTF-8.
    """
    for number, content in enumerate(stream, 1):
        if number == 1:
            content = content.removeprefix(codecs.BOM_UTF8)
        try:
            yield content.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise DataError(f"{name}:{number}: not UTF-8, at byte {error.start} of it") from None


def translate_lines(
    base: Base, lines: Iterable[str], *, wording: Wording, decoding: DecodingSpec
) -> Iterator[list[str]]:
    """Translate lines, block by block.

    Args:
        base: The model; it is moved to the GPU if there is one.
        lines: One segment each; one without text is not given to the model and stays empty.
        wording: What the model is asked.
        decoding: How it answers.

    Yields:
        The translations of the next lines, one each, each on one line.
    """
    ask = wording.ask()
    worker = Worker(device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    model = base.model.to(worker.device)
    remaining = iter(lines)
    while block := list(islice(remaining, BLOCK)):
        prompts = [ask(line) for line in block if line.strip()]
        outputs = iter(generate(model, base.tokenizer, prompts, decoding=decoding, worker=worker))
        yield [wording.read(next(outputs).text) if line.strip() else "" for line in block]
