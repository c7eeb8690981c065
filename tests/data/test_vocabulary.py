"""The exact check of the controlled languages, held against the grammar itself."""

import random

import pytest

from ksl_bench.data.controlled import LANGUAGES, language_of, render
from ksl_bench.data.controlled.meaning import draw_meaning
from ksl_bench.data.controlled.vocabulary import vocabulary


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_belongs_to_its_language_and_no_other(language):
    draw = random.Random(3)
    sentences = [render(draw_meaning(draw), language) for _ in range(10_000)]
    assert {language_of(one) for one in sentences} == {language}


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The dog sees an old house.", "eng"),
        ("el gos veu una casa vella", "cat"),
        ("El perro ve una casa vieja en el jardín", "spa"),
        ("Der Hund sieht ein altes Haus.", "deu"),
        ("Hunden ser et gammelt hus.", "dan"),
        ("house old an sees dog", "eng"),
        ("El perro sees a house.", None),  # mixed
        ("El gos ve una casa vieja.", None),
        ("La casa", None),  # Catalan and Spanish
        ("Hunden serr et hus.", None),  # no word of any
        ("xyz", None),
        ("...", None),
        ("", None),
    ],
)
def test_a_text_by_hand(text, language):
    assert language_of(text) == language


def test_words_are_those_that_the_grammar_writes():
    assert {"the", "an", "does", "not", "oxen"} & vocabulary("eng") == {"the", "an", "does", "not"}
    assert {"diesen", "dieser", "dieses", "und", "aber"} <= vocabulary("deu")
    assert {"al", "l", "arbre", "meva", "dues"} <= vocabulary("cat")
    assert {"den", "det", "hundene", "ikke", "små"} <= vocabulary("dan")
