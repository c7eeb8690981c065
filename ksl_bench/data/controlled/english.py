"""English: a or an, do-support in negation, place before time."""

from __future__ import annotations

from ksl_bench.data.controlled.meaning import Clause, NounPhrase


def phrase_of(phrase: NounPhrase) -> str:
    """Render a noun phrase."""
    words = [phrase.adjective["eng"]] if phrase.adjective else []
    words.append(phrase.noun["eng"][phrase.plural])
    determiner = phrase.determiner
    if determiner == "a" and words[0][0] in "aeiou":
        determiner = "an"
    return " ".join([determiner, *words])


def clause_of(clause: Clause) -> list[str | None]:
    """Render a clause, part by part in its order."""
    base, third, past = clause.verb["eng"]
    plural = clause.subject.plural
    if clause.negated:
        verb = ("did" if clause.past else "do" if plural else "does") + " not " + base
    else:
        verb = past if clause.past else base if plural else third
    return [
        phrase_of(clause.subject),
        verb,
        clause.object and phrase_of(clause.object),
        clause.place and clause.place["eng"],
        clause.time and clause.time["eng"],
    ]
