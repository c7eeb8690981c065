"""Danish: common and neuter gender, the definite article as a suffix, the verb stands second.

The suffix gives way to an article where an adjective stands before the noun: "hunden", but "den gamle hund".
"""

from __future__ import annotations

from ksl_bench.data.controlled.meaning import Clause, NounPhrase

_DETERMINERS = {  # common, neuter, plural
    "the": ("den", "det", "de"),
    "a": ("en", "et", ""),
    "this": ("denne", "dette", ""),
    "these": ("", "", "disse"),
    "my": ("min", "mit", "mine"),
    "two": ("", "", "to"),
    "many": ("", "", "mange"),
}


def phrase_of(phrase: NounPhrase) -> str:
    """Render a noun phrase."""
    gender, singular, singular_definite, plural, plural_definite = phrase.noun["dan"]
    if phrase.determiner == "the" and not phrase.adjective:
        return str(plural_definite if phrase.plural else singular_definite)
    form = 2 if phrase.plural else int(gender == "n")
    words = [_DETERMINERS[phrase.determiner][form]]
    if phrase.adjective:
        common, neuter, definite, many = phrase.adjective["dan"]
        indefinite = neuter if gender == "n" else common
        one = indefinite if phrase.determiner == "a" else definite
        words.append(many if phrase.plural else one)
    return " ".join([*words, plural if phrase.plural else singular])


def clause_of(clause: Clause) -> list[str | None]:
    """Render a clause, part by part in its order."""
    verb, subject = clause.verb["dan"][clause.past], phrase_of(clause.subject)
    rest = [
        "ikke" if clause.negated else None,
        clause.object and phrase_of(clause.object),
        clause.place and clause.place["dan"],
    ]
    if clause.time:
        return [clause.time["dan"], verb, subject, *rest]
    return [subject, verb, *rest]
