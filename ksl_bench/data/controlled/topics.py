"""What a controlled sentence is about: a label for each, read off the verb of its first clause."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ksl_bench.data.controlled.grammar import LANGUAGES, render
from ksl_bench.data.controlled.meaning import Meaning
from ksl_bench.data.controlled.splits import MOST, Split, meanings
from ksl_bench.errors import DataError
from ksl_bench.registry import unknown

_VERBS = {
    "art": ("paint", "draw", "sing", "dance"),
    "trade": ("buy", "sell", "need", "carry"),
    "search": ("see", "find", "look for", "lose", "follow"),
    "feeling": ("love", "forget", "laugh", "cry", "wait"),
    "work": ("clean", "work", "run", "sleep"),
}
TOPICS = tuple(_VERBS)
_TOPIC_OF = {verb: topic for topic, verbs in _VERBS.items() for verb in verbs}


def topic_of(meaning: Meaning) -> str:
    """Return the topic of a meaning, the same in every language."""
    return _TOPIC_OF[meaning.clauses[0].verb["eng"][0]]


def controlled_topics(
    languages: Sequence[str], *, split: Split, size: int, seed: int
) -> list[tuple[str, str, str]]:
    """Draw sentences with their topics; no two of one meaning.

    The languages take turns, so every language has its own sentences and nearly as many as any other.

    Args:
        languages: ISO 639-3 codes, of `LANGUAGES`.
        split: "train", "dev" or "devtest".
        size: How many, over all languages.
        seed: Of the draw.

    Returns:
        (sentence, topic, language).

    Raises:
        DataError: If a language is unknown or size is out of range.
    """
    for language in languages:
        if language not in LANGUAGES:
            raise DataError(unknown("language of the controlled corpus", language, LANGUAGES))
    if not 1 <= size <= MOST:
        raise DataError(f"size must be from 1 to {MOST:,} for the controlled corpus, got {size}")
    found: dict[str, tuple[str, str, str]] = {}
    for meaning in meanings(split, random.Random(f"topics/{split}/{seed}")):
        if len(found) == size:
            break
        language = languages[len(found) % len(languages)]
        told = render(meaning, language), topic_of(meaning), language
        found.setdefault(render(meaning, "eng"), told)
    return list(found.values())
