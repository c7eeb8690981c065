"""Which language a controlled sentence is in: an exact check, by the words that each language has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import product

from ksl_bench.data.controlled.grammar import JOINED, LANGUAGES, render_clause, render_phrase
from ksl_bench.data.controlled.meaning import DETERMINERS, Clause, NounPhrase, lexicon

_WORD = re.compile(r"\w+")


def language_of(text: str) -> str | None:
    """Return the language that has all words of a text, the only one of the controlled languages.

    It looks at words, not at their order: a model that writes "house the" still writes English. Words of no
    language, of several languages together, and of two languages alike ("la casa") give None. Every sentence
    of the grammar has its language, since no two languages share an animate noun, and every sentence has one.
    """
    words = {word.lower() for word in _WORD.findall(text)}
    found = [one for one in LANGUAGES if words and words <= vocabulary(one)]
    return found[0] if len(found) == 1 else None


@cache
def vocabulary(language: str) -> frozenset[str]:
    """Return every word that the grammar can write in a language, in lower case."""
    texts = [*JOINED[language], *_phrases(language), *_clauses(language)]
    texts += [one[language] for kind in ("places", "times") for one in lexicon()[kind]]
    return frozenset(word.lower() for text in texts for word in _WORD.findall(text))


def _noun_phrases() -> Iterator[NounPhrase]:
    adjectives = [None, *lexicon()["adjectives"]]
    for noun, plural, adjective in product(lexicon()["nouns"], (False, True), adjectives):
        for determiner in dict.fromkeys(DETERMINERS[plural]):
            yield NounPhrase(noun, plural, determiner, adjective)


def _phrases(language: str) -> Iterator[str]:
    """Render every noun phrase, as subject and as object: an ending may show the case."""
    verb = lexicon()["transitive_verbs"][0]
    for phrase in _noun_phrases():
        yield render_phrase(phrase, language)
        clause = Clause(
            phrase, verb, past=False, negated=False, object=phrase, place=None, time=None
        )
        yield render_clause(clause, language)


def _clauses(language: str) -> Iterator[str]:
    """Render every verb in every form."""
    verbs = lexicon()["transitive_verbs"] + lexicon()["intransitive_verbs"]
    for verb, plural, past, negated in product(verbs, *((False, True),) * 3):
        subject = NounPhrase(lexicon()["nouns"][0], plural, "my", None)
        clause = Clause(
            subject, verb, past=past, negated=negated, object=None, place=None, time=None
        )
        yield render_clause(clause, language)
