"""A meaning as a sentence, in any of the languages."""

from __future__ import annotations

from types import ModuleType

from ksl_bench.data.controlled import catalan, danish, english, german, spanish
from ksl_bench.data.controlled.meaning import Clause, Meaning, NounPhrase

LANGUAGES = ("eng", "cat", "deu", "spa", "dan")
NAMES = {"eng": "English", "cat": "Catalan", "deu": "German", "spa": "Spanish", "dan": "Danish"}

_GRAMMARS: dict[str, ModuleType] = {
    "eng": english,
    "cat": catalan,
    "deu": german,
    "spa": spanish,
    "dan": danish,
}
JOINED = {
    "eng": ("and", "but"),
    "cat": ("i", "però"),
    "deu": ("und", "aber"),
    "spa": ("y", "pero"),
    "dan": ("og", "men"),
}


def render_phrase(phrase: NounPhrase, language: str) -> str:
    """Return a noun phrase, as a subject."""
    rendered: str = _GRAMMARS[language].phrase_of(phrase)
    return rendered


def render_clause(clause: Clause, language: str) -> str:
    """Return a clause without capital and full stop."""
    return " ".join(word for word in _GRAMMARS[language].clause_of(clause) if word)


def render(meaning: Meaning, language: str) -> str:
    """Return a meaning as a sentence."""
    joint = f", {JOINED[language][meaning.contrast]} "
    sentence = joint.join(render_clause(clause, language) for clause in meaning.clauses)
    return sentence[0].upper() + sentence[1:] + "."
