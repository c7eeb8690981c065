"""Translation in many directions at once, from one multi-parallel corpus.

All directions are one split: they are generated in common batches, tuned on together where they are tuned on,
and a score is the mean of the directions. What is said in several directions is drawn together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar

from ksl_bench.config import DirectionsSpec, Split
from ksl_bench.data.corpus import CONTROLLED, digest_of
from ksl_bench.data.languages import language_name
from ksl_bench.data.parallel import read_parallel
from ksl_bench.data.prompts import Template, template
from ksl_bench.data.readers import Pair
from ksl_bench.tasks.base import Example, Examples, Output
from ksl_bench.tasks.language_id import UNKNOWN, Identify, controlled_identifier, text_identifier
from ksl_bench.tasks.readings import DIRECTION
from ksl_bench.tasks.translation import FIELDS, TEXTS, on_text, translation_diagnostics


class Directions:
    """Translate a segment, each in every direction."""

    sentence: ClassVar[str] = "source"
    labels: tuple[tuple[str, str], ...] = ()
    macro_axis: str | None = DIRECTION

    def __init__(self, spec: DirectionsSpec) -> None:
        """Take the directions, the prompt and the files from a suite."""
        self.spec = spec

    @property
    def rules(self) -> Mapping[str, Callable[[Output], str]]:
        """Return the rules of translation."""
        return {name: on_text(read) for name, read in TEXTS.items()}

    @property
    def identity(self) -> Mapping[str, Any]:
        """Return the prompt; the directions are in the digest of what was read."""
        return {"text": self.template.text}

    @property
    def template(self) -> Template:
        """Return the prompt template; it must hold `{source}`."""
        return template(self.spec.prompt, required=self.sentence, allowed=FIELDS)

    def read(self, split: Split) -> Examples:
        """Read one split: every segment in every direction, of the train split in those tuned on."""
        spec = self.spec
        directions = [
            one.split("-") for one in (spec.tuned_on if split == "train" else spec.directions)
        ]
        languages = list(dict.fromkeys(chain.from_iterable(directions)))
        corpus = read_parallel(
            spec.files(split),
            languages,
            split=split,
            size=spec.size(split),
            seed=spec.sample_seed,
        )
        names = {one: language_name(one) for one in languages}
        items = [
            Example(
                {
                    "source": segment[source],
                    "source_language": names[source],
                    "target_language": names[target],
                },
                segment[target],
                language=target[:3],
                document=str(place),
                groups={DIRECTION: f"{source}-{target}"},
            )
            for place, segment in enumerate(corpus.segments)
            for source, target in directions
        ]
        digest = digest_of(
            pair
            for one in items
            for pair in (Pair(one.groups[DIRECTION], ""), Pair(one.fields["source"], one.response))
        )
        available = corpus.available * len(directions)
        return Examples(tuple(items), digest, corpus.origin, available)

    def segments(self, example: Example) -> tuple[str, ...]:
        """Return source and target."""
        return example.fields[self.sentence], example.response

    def identifier(self, split: Split) -> Identify:
        """Return what tells the languages of a split, without their script: exact on the controlled corpus.

        Raises:
            DataError: If some of the languages cannot be told.
        """
        if self.spec.files(split) == CONTROLLED:
            return controlled_identifier()
        identify = text_identifier(self.spec.languages)

        def language(text: str) -> str:
            found = identify(text)
            return found if found == UNKNOWN else found[:3]

        return language

    def diagnostics(self, outputs: Sequence[Output], references: Sequence[str]) -> dict[str, Any]:
        """Return the diagnostics of translation."""
        return translation_diagnostics(outputs, references)
