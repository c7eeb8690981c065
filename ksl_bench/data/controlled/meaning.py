"""What a controlled sentence says, apart from any language: who does what to whom, where, when."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

DETERMINERS = {
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


def draw_noun_phrase(draw: random.Random, *, animate: bool) -> NounPhrase:
    """Draw a noun phrase."""
    kind = "animate" if animate else "thing"
    nouns = [noun for noun in lexicon()["nouns"] if noun["kind"] == kind]
    plural = draw.random() < 0.4
    return NounPhrase(
        noun=draw.choice(nouns),
        plural=plural,
        determiner=draw.choice(DETERMINERS[plural]),
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
