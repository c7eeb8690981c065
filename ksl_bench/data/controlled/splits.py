"""Which split a meaning belongs to, and samples of pairs."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from typing import Literal

from ksl_bench.data.controlled.grammar import LANGUAGES, render
from ksl_bench.data.controlled.meaning import Meaning, draw_meaning
from ksl_bench.errors import DataError
from ksl_bench.registry import unknown

Split = Literal["train", "dev", "devtest"]
SPLITS = ("train", "dev", "devtest")

MOST = 1_000_000
"""Largest sample; the grammar gives far more, but someone who asks for more has mistyped."""


def split_of(meaning: Meaning) -> Split:
    """Return the split of a meaning: 90 % train, 5 % dev, 5 % devtest.

    The English sentence stands for the meaning: no two meanings share a sentence, in any language.
    """
    digest = hashlib.blake2b(render(meaning, "eng").encode(), digest_size=8).digest()
    share = int.from_bytes(digest, "big") % 20
    return "dev" if share == 0 else "devtest" if share == 1 else "train"


def meanings(split: Split, draw: random.Random) -> Iterator[Meaning]:
    """Yield meanings of one split, without end; a meaning may come again."""
    while True:
        meaning = draw_meaning(draw)
        if split_of(meaning) == split:
            yield meaning


def controlled_pairs(
    source: str, target: str, *, split: Split, size: int, seed: int
) -> list[tuple[str, str]]:
    """Draw distinct sentence pairs of one split.

    The meanings depend on split and seed alone: other languages give the same sentences in other words, and
    a larger size the same pairs and more.

    Args:
        source: ISO 639-3 code, one of LANGUAGES.
        target: Another one.
        split: "train", "dev" or "devtest".
        size: How many.
        seed: Of the draw.

    Returns:
        (source sentence, target sentence), no two alike.

    Raises:
        DataError: If a language or the split is unknown, both languages are one, or size is out of range.
    """
    drawn = controlled_segments((source, target), split=split, size=size, seed=seed)
    return [(one, other) for one, other in drawn]


def controlled_segments(
    languages: Sequence[str], *, split: Split, size: int, seed: int
) -> list[tuple[str, ...]]:
    """Draw distinct meanings of one split, each in several languages; see `controlled_pairs`."""
    for language in languages:
        if language not in LANGUAGES:
            raise DataError(unknown("language of the controlled corpus", language, LANGUAGES))
    if len(languages) == 2 and languages[0] == languages[1]:
        raise DataError(f"source and target language are both {languages[0]!r}")
    if split not in SPLITS:
        raise DataError(unknown("split", split, SPLITS))
    if not 1 <= size <= MOST:
        raise DataError(f"size must be from 1 to {MOST:,} for the controlled corpus, got {size}")
    drawn: dict[str, tuple[str, ...]] = {}
    # A text as seed is hashed the same way on every platform.
    for meaning in meanings(split, random.Random(f"controlled/{split}/{seed}")):
        if len(drawn) == size:
            break
        drawn.setdefault(
            render(meaning, "eng"), tuple(render(meaning, language) for language in languages)
        )
    return list(drawn.values())
