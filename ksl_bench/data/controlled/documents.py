"""What the shipped base models were pretrained on."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from ksl_bench.data.controlled.grammar import (
    NAMES,
    render,
    render_clause,
    render_phrase,
)
from ksl_bench.data.controlled.meaning import draw_clause, draw_noun_phrase, lexicon
from ksl_bench.data.controlled.splits import meanings

Segment = tuple[str, float]
"""A piece of text, and the weight of its tokens in the loss."""

BASE_LANGUAGES = ("eng", "cat", "deu")
"""What `tiny-base` read. Its text hangs on these three and their order, so that it can be made again."""

SOURCE_WEIGHT, OTHER_WEIGHT = 0.1, 0.3
"""The model is to learn translating; sentences out of nowhere teach it little of that."""


def pretraining_documents(
    seed: int, *, glossaries: float, languages: Sequence[str] = BASE_LANGUAGES
) -> Callable[[], list[Segment]]:
    """Return what draws one document after another, from the train side only.

    Documents are lists of many pairs, as glossaries and phrase books on the web are: a model that reads them
    learns to translate, and to go on with the next pair. None of the named prompts stands in them.

    Args:
        seed: Of the draw.
        glossaries: Share of documents with phrases instead of sentences.
        languages: ISO 639-3 codes; every pair of them is drawn as often as any other.
    """
    draw = random.Random(f"pretraining/{seed}")
    train = meanings("train", draw)

    def document() -> list[Segment]:
        if draw.random() < 0.12:
            language = draw.choice(languages)
            count = draw.randint(2, 5)
            text = " ".join(render(next(train), language) for _ in range(count))
            return [(text, OTHER_WEIGHT)]
        source, target = draw.sample(languages, 2)
        count = draw.randint(2, 5)
        if draw.random() < glossaries:
            pairs = [_glossary_entry(draw, source, target) for _ in range(3 * count)]
        else:
            drawn = [next(train) for _ in range(count)]
            pairs = [(render(one, source), render(one, target)) for one in drawn]
        return _laid_out(draw, pairs, source, target)

    return document


def _laid_out(
    draw: random.Random, pairs: list[tuple[str, str]], source: str, target: str
) -> list[Segment]:
    a, b = NAMES[source], NAMES[target]
    layout = draw.randrange(4)
    segments: list[Segment] = [(f"{a} | {b}\n", SOURCE_WEIGHT)] if layout == 2 else []
    if layout == 3 and draw.random() < 0.3:
        # An exercise sheet: it shares words with an instruction, not its form.
        heading = f"Exercise: translate the following text from {a} to {b}.\n"
        segments, layout = [(heading, SOURCE_WEIGHT)], 4
    for index, (x, y) in enumerate(pairs):
        before, end = (
            (f"{a}: {x}\n{b}:", "\n\n"),
            (f"[{source}-{target}] {x} =>", "\n"),
            (f"{x} |", "\n"),
            (f"{x}\n{b}:", "\n"),
            (f"{index + 1}. {x}\nAnswer:", "\n"),
        )[layout]
        last = index == len(pairs) - 1
        segments += [(before, SOURCE_WEIGHT), (f" {y}" + ("" if last else end), 1.0)]
    return segments


def _glossary_entry(draw: random.Random, source: str, target: str) -> tuple[str, str]:
    """Draw a noun phrase, a place, or a short clause; no sentence of any split."""
    kind = draw.random()
    if kind < 0.6:
        phrase = draw_noun_phrase(draw, animate=draw.random() < 0.5)
        return render_phrase(phrase, source), render_phrase(phrase, target)
    if kind < 0.8:
        place = draw.choice(lexicon()["places"])
        return place[source], place[target]
    clause = draw_clause(draw)
    plain = replace(clause.subject, adjective=None)
    clause = replace(clause, subject=plain, object=None, place=None, time=None, negated=False)
    return render_clause(clause, source), render_clause(clause, target)
