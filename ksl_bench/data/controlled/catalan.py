"""Catalan: gender and number agree, articles elide, adjectives follow, the past is periphrastic."""

from __future__ import annotations

from ksl_bench.data.controlled.meaning import Clause, NounPhrase

_DETERMINERS = {  # m sg, f sg, m pl, f pl
    "the": ("el", "la", "els", "les"),
    "a": ("un", "una", "", ""),
    "this": ("aquest", "aquesta", "", ""),
    "these": ("", "", "aquests", "aquestes"),
    "my": ("el meu", "la meva", "els meus", "les meves"),
    "two": ("", "", "dos", "dues"),
    "many": ("", "", "molts", "moltes"),
}


def phrase_of(phrase: NounPhrase) -> str:
    """Render a noun phrase."""
    gender, singular, plural = phrase.noun["cat"]
    form = 2 * phrase.plural + (gender == "f")
    noun = plural if phrase.plural else singular
    adjective = " " + phrase.adjective["cat"][form] if phrase.adjective else ""
    determiner = _DETERMINERS[phrase.determiner][form]
    if determiner in ("el", "la") and noun[0] in "aeiouhàèéíòóú":
        return f"l'{noun}{adjective}"
    return f"{determiner} {noun}{adjective}"


def clause_of(clause: Clause) -> list[str | None]:
    """Render a clause, part by part in its order."""
    third, third_plural, infinitive = clause.verb["cat"]
    plural = clause.subject.plural
    present = third_plural if plural else third
    verb = ("van " if plural else "va ") + infinitive if clause.past else present
    return [
        clause.time and clause.time["cat"],
        phrase_of(clause.subject),
        ("no " if clause.negated else "") + verb,
        clause.object and phrase_of(clause.object),
        clause.place and clause.place["cat"],
    ]
