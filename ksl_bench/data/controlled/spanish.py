"""Spanish: gender and number agree, adjectives follow, "a" stands before a person as object."""

from __future__ import annotations

from ksl_bench.data.controlled.meaning import Clause, NounPhrase

_DETERMINERS = {  # m sg, f sg, m pl, f pl
    "the": ("el", "la", "los", "las"),
    "a": ("un", "una", "", ""),
    "this": ("este", "esta", "", ""),
    "these": ("", "", "estos", "estas"),
    "my": ("mi", "mi", "mis", "mis"),
    "two": ("", "", "dos", "dos"),
    "many": ("", "", "muchos", "muchas"),
}


def phrase_of(phrase: NounPhrase) -> str:
    """Render a noun phrase."""
    gender, singular, plural = phrase.noun["spa"]
    form = 2 * phrase.plural + (gender == "f")
    words = [_DETERMINERS[phrase.determiner][form], plural if phrase.plural else singular]
    if phrase.adjective:
        words.append(phrase.adjective["spa"][form])
    return " ".join(words)


def clause_of(clause: Clause) -> list[str | None]:
    """Render a clause, part by part in its order."""
    return [
        clause.time and clause.time["spa"],
        phrase_of(clause.subject),
        "no" if clause.negated else None,
        clause.verb["spa"][2 * clause.past + clause.subject.plural],
        clause.object and _object_of(clause.object),
        clause.place and clause.place["spa"],
    ]


def _object_of(phrase: NounPhrase) -> str:
    rendered = phrase_of(phrase)
    if phrase.noun["kind"] != "animate" or phrase.noun.get("animal"):
        return rendered
    return f"al {rendered[3:]}" if rendered.startswith("el ") else f"a {rendered}"
