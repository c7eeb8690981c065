"""German: gender, number and case agree, the verb stands second, "nicht" behind the object.

Endings are given by case, then by gender, "p" for the plural.
"""

from __future__ import annotations

from typing import Literal

from ksl_bench.data.controlled.meaning import Clause, NounPhrase

Case = Literal["nominative", "accusative"]

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


def phrase_of(phrase: NounPhrase, case: Case = "nominative") -> str:
    """Render a noun phrase in a case."""
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


def clause_of(clause: Clause) -> list[str | None]:
    """Render a clause, part by part in its order."""
    verb = clause.verb["deu"][2 * clause.past + clause.subject.plural]
    subject = phrase_of(clause.subject)
    rest = [
        clause.object and phrase_of(clause.object, "accusative"),
        "nicht" if clause.negated else None,
        clause.place and clause.place["deu"],
    ]
    if clause.time:
        return [clause.time["deu"], verb, subject, *rest]
    return [subject, verb, *rest]
