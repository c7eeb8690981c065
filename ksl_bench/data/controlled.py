"""The embedded controlled corpus: English, Catalan and German sentences of one meaning.

A small grammar draws meanings (who does what to whom, where, when) and renders each in every language:
with gender, number and case agreement, Catalan adjectives behind the noun and time in front, German verbs
in second place. The words are in `lexicon.yaml`.

A sentence belongs to train, dev or devtest by a hash of its meaning, so the splits are disjoint in every
language by construction, whatever is drawn, and whoever draws it: the text that the shipped base model was
pretrained on (`pretraining_documents`) comes from the train side too.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from ksl_bench.errors import DataError
from ksl_bench.registry import unknown

LANGUAGES = ("eng", "cat", "deu")
NAMES = {"eng": "English", "cat": "Catalan", "deu": "German"}

Split = Literal["train", "dev", "devtest"]
SPLITS = ("train", "dev", "devtest")

MOST = 1_000_000
"""Largest sample; the grammar gives far more, but someone who asks for more has mistyped."""

_DETERMINERS = {
    False: ("the", "the", "a", "a", "this", "my"),
    True: ("the", "the", "two", "these", "my", "many"),
}
"""By number: what may stand before a noun, as often as it should."""


@dataclass(frozen=True, slots=True)
class NounPhrase:
    """A determiner, perhaps an adjective, a noun."""

    noun: dict[str, Any]
    plural: bool
    determiner: str
    adjective: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Clause:
    """Who does what to whom, where, when."""

    subject: NounPhrase
    verb: dict[str, Any]
    past: bool
    negated: bool
    object: NounPhrase | None
    place: dict[str, str] | None
    time: dict[str, str] | None


@dataclass(frozen=True, slots=True)
class Meaning:
    """One clause, or two joined."""

    clauses: tuple[Clause, ...]
    contrast: bool
    """Whether the second is joined by "but"."""


@cache
def lexicon() -> dict[str, list[dict[str, Any]]]:
    """Return the words of all languages."""
    path = Path(__file__).with_name("lexicon.yaml")
    words: dict[str, list[dict[str, Any]]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return words


# Drawing meanings.


def draw_noun_phrase(draw: random.Random, *, animate: bool) -> NounPhrase:
    """Draw a noun phrase."""
    kind = "animate" if animate else "thing"
    nouns = [noun for noun in lexicon()["nouns"] if noun["kind"] == kind]
    plural = draw.random() < 0.4
    return NounPhrase(
        noun=draw.choice(nouns),
        plural=plural,
        determiner=draw.choice(_DETERMINERS[plural]),
        adjective=draw.choice(lexicon()["adjectives"]) if draw.random() < 0.5 else None,
    )


def draw_clause(draw: random.Random) -> Clause:
    """Draw a clause."""
    past, transitive = draw.random() < 0.5, draw.random() < 0.75
    tense = "past" if past else "present"
    times = [time for time in lexicon()["times"] if time["tense"] == tense]
    return Clause(
        subject=draw_noun_phrase(draw, animate=True),
        verb=draw.choice(lexicon()["transitive_verbs" if transitive else "intransitive_verbs"]),
        past=past,
        negated=draw.random() < 0.2,
        object=draw_noun_phrase(draw, animate=draw.random() < 0.25) if transitive else None,
        place=draw.choice(lexicon()["places"]) if draw.random() < 0.45 else None,
        time=draw.choice(times) if draw.random() < 0.45 else None,
    )


def draw_meaning(draw: random.Random) -> Meaning:
    """Draw a meaning; one in eight has two clauses."""
    clauses = [draw_clause(draw)]
    if draw.random() < 0.12:
        clauses.append(draw_clause(draw))
    return Meaning(tuple(clauses), contrast=draw.random() < 0.5)


# English.


def _english_phrase(phrase: NounPhrase) -> str:
    words = [phrase.adjective["eng"]] if phrase.adjective else []
    words.append(phrase.noun["eng"][phrase.plural])
    determiner = phrase.determiner
    if determiner == "a" and words[0][0] in "aeiou":
        determiner = "an"
    return " ".join([determiner, *words])


def _english(clause: Clause) -> list[str | None]:
    base, third, past = clause.verb["eng"]
    plural = clause.subject.plural
    if clause.negated:
        verb = ("did" if clause.past else "do" if plural else "does") + " not " + base
    else:
        verb = past if clause.past else base if plural else third
    return [
        _english_phrase(clause.subject),
        verb,
        clause.object and _english_phrase(clause.object),
        clause.place and clause.place["eng"],
        clause.time and clause.time["eng"],
    ]


# Catalan.

_CATALAN_DETERMINERS = {  # m sg, f sg, m pl, f pl
    "the": ("el", "la", "els", "les"),
    "a": ("un", "una", "", ""),
    "this": ("aquest", "aquesta", "", ""),
    "these": ("", "", "aquests", "aquestes"),
    "my": ("el meu", "la meva", "els meus", "les meves"),
    "two": ("", "", "dos", "dues"),
    "many": ("", "", "molts", "moltes"),
}


def _catalan_phrase(phrase: NounPhrase) -> str:
    gender, singular, plural = phrase.noun["cat"]
    form = 2 * phrase.plural + (gender == "f")
    noun = plural if phrase.plural else singular
    adjective = " " + phrase.adjective["cat"][form] if phrase.adjective else ""
    determiner = _CATALAN_DETERMINERS[phrase.determiner][form]
    if determiner in ("el", "la") and noun[0] in "aeiouhàèéíòóú":
        return f"l'{noun}{adjective}"
    return f"{determiner} {noun}{adjective}"


def _catalan(clause: Clause) -> list[str | None]:
    third, third_plural, infinitive = clause.verb["cat"]
    plural = clause.subject.plural
    present = third_plural if plural else third
    verb = ("van " if plural else "va ") + infinitive if clause.past else present
    return [
        clause.time and clause.time["cat"],
        _catalan_phrase(clause.subject),
        ("no " if clause.negated else "") + verb,
        clause.object and _catalan_phrase(clause.object),
        clause.place and clause.place["cat"],
    ]


# German. Endings by case, then by gender or "p" for the plural.

_STRONG = {
    "nominative": {"m": "er", "f": "e", "n": "es", "p": "e"},
    "accusative": {"m": "en", "f": "e", "n": "es", "p": "e"},
}
_MIXED = {
    "nominative": {"m": "", "f": "e", "n": "", "p": "e"},
    "accusative": {"m": "en", "f": "e", "n": "", "p": "e"},
}
_DEFINITE = {
    "nominative": {"m": "der", "f": "die", "n": "das", "p": "die"},
    "accusative": {"m": "den", "f": "die", "n": "das", "p": "die"},
}


def _german_phrase(phrase: NounPhrase, case: str) -> str:
    gender, singular, plural = phrase.noun["deu"]
    form = "p" if phrase.plural else gender
    strong = _STRONG[case][form]
    weak = "en" if form == "p" or (case, form) == ("accusative", "m") else "e"
    determiner, ending = {
        "the": (_DEFINITE[case][form], weak),
        "this": ("dies" + strong, weak),
        "these": ("dies" + strong, weak),
        "a": ("ein" + _MIXED[case][form], strong),
        "my": ("mein" + _MIXED[case][form], weak if form == "p" else strong),
        "two": ("zwei", "e"),
        "many": ("viele", "e"),
    }[phrase.determiner]
    words = [determiner]
    if phrase.adjective:
        words.append(phrase.adjective["deu"] + ending)
    return " ".join([*words, plural if phrase.plural else singular])


def _german(clause: Clause) -> list[str | None]:
    verb = clause.verb["deu"][2 * clause.past + clause.subject.plural]
    subject = _german_phrase(clause.subject, "nominative")
    rest = [
        clause.object and _german_phrase(clause.object, "accusative"),
        "nicht" if clause.negated else None,
        clause.place and clause.place["deu"],
    ]
    if clause.time:
        return [clause.time["deu"], verb, subject, *rest]
    return [subject, verb, *rest]


_RENDER: dict[str, Callable[[Clause], list[str | None]]] = {
    "eng": _english,
    "cat": _catalan,
    "deu": _german,
}
_PHRASES: dict[str, Callable[[NounPhrase], str]] = {
    "eng": _english_phrase,
    "cat": _catalan_phrase,
    "deu": lambda phrase: _german_phrase(phrase, "nominative"),
}
_JOINED = {"eng": ("and", "but"), "cat": ("i", "però"), "deu": ("und", "aber")}


def render_clause(clause: Clause, language: str) -> str:
    """Return a clause without capital and full stop."""
    return " ".join(word for word in _RENDER[language](clause) if word)


def render(meaning: Meaning, language: str) -> str:
    """Return a meaning as a sentence."""
    joint = f", {_JOINED[language][meaning.contrast]} "
    sentence = joint.join(render_clause(clause, language) for clause in meaning.clauses)
    return sentence[0].upper() + sentence[1:] + "."


# Splits and samples.


def split_of(meaning: Meaning) -> Split:
    """Return the split of a meaning: 90 % train, 5 % dev, 5 % devtest.

    The English sentence stands for the meaning: no two meanings share a sentence, in any language.
    """
    digest = hashlib.blake2b(render(meaning, "eng").encode(), digest_size=8).digest()
    share = int.from_bytes(digest, "big") % 20
    return "dev" if share == 0 else "devtest" if share == 1 else "train"


def _meanings(split: Split, draw: random.Random) -> Iterator[Meaning]:
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
    for language in (source, target):
        if language not in LANGUAGES:
            raise DataError(unknown("language of the controlled corpus", language, LANGUAGES))
    if source == target:
        raise DataError(f"source and target language are both {source!r}")
    if split not in SPLITS:
        raise DataError(unknown("split", split, SPLITS))
    if not 1 <= size <= MOST:
        raise DataError(f"size must be from 1 to {MOST:,} for the controlled corpus, got {size}")
    pairs: dict[str, tuple[str, str]] = {}
    # A text as seed is hashed the same way on every platform.
    for meaning in _meanings(split, random.Random(f"controlled/{split}/{seed}")):
        if len(pairs) == size:
            break
        pairs.setdefault(render(meaning, "eng"), (render(meaning, source), render(meaning, target)))
    return list(pairs.values())


# What the shipped base model reads.

Segment = tuple[str, float]
"""A piece of text, and the weight of its tokens in the loss."""

SOURCE_WEIGHT, OTHER_WEIGHT = 0.1, 0.3
"""The model is to learn translating; sentences out of nowhere teach it little of that."""


def pretraining_documents(seed: int, *, glossaries: float) -> Callable[[], list[Segment]]:
    """Return what draws one document after another, from the train side only.

    Documents are lists of many pairs, as glossaries and phrase books on the web are: a model that reads them
    learns to translate, and to go on with the next pair. None of the named prompts stands in them.

    Args:
        seed: Of the draw.
        glossaries: Share of documents with phrases instead of sentences.
    """
    draw = random.Random(f"pretraining/{seed}")
    meanings = _meanings("train", draw)

    def document() -> list[Segment]:
        if draw.random() < 0.12:
            language = draw.choice(LANGUAGES)
            count = draw.randint(2, 5)
            text = " ".join(render(next(meanings), language) for _ in range(count))
            return [(text, OTHER_WEIGHT)]
        source, target = draw.sample(LANGUAGES, 2)
        count = draw.randint(2, 5)
        if draw.random() < glossaries:
            pairs = [_glossary_entry(draw, source, target) for _ in range(3 * count)]
        else:
            drawn = [next(meanings) for _ in range(count)]
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
        return _PHRASES[source](phrase), _PHRASES[target](phrase)
    if kind < 0.8:
        place = draw.choice(lexicon()["places"])
        return place[source], place[target]
    clause = draw_clause(draw)
    plain = replace(clause.subject, adjective=None)
    clause = replace(clause, subject=plain, object=None, place=None, time=None, negated=False)
    return render_clause(clause, source), render_clause(clause, target)
