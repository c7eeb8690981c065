"""Language identification, measured on real text before any off-target rate is believed."""

import pytest

from ksl_bench.errors import DataError
from ksl_bench.tasks.language_id import UNKNOWN, controlled_identifier, text_identifier

LANGUAGES = ("eng", "cat", "spa", "dan")


@pytest.mark.shared_data
@pytest.mark.parametrize("language", LANGUAGES)
def test_real_text_is_told_right_in_95_of_100(language, shared_data):
    text = (shared_data / "ntrex128" / f"newstest2019.{language}").read_text(encoding="utf-8")
    lines = text.split("\n")  # a line may hold a separator that splitlines() takes for an end
    found = [text_identifier(LANGUAGES)(line) for line in lines if line.strip()]
    assert found.count(language) / len(found) >= 0.95


def test_only_candidates_are_answers():
    text = "This is a sentence in plain English, and it is long enough to tell."
    assert text_identifier(LANGUAGES)(text) == "eng"
    assert text_identifier(("cat", "spa"))(text) in ("cat", "spa")
    assert text_identifier(("eng_Latn", "cat_Latn"))(text) == "eng_Latn"


@pytest.mark.parametrize("text", ["", "  ", "12.5 %"])
def test_a_text_without_a_letter_is_of_no_language(text):
    assert text_identifier(LANGUAGES)(text) == UNKNOWN


def test_what_cannot_be_told_apart_is_refused_all_at_once():
    with pytest.raises(DataError) as caught:
        text_identifier(("eng", "zho_Hans", "zho_Hant", "nah"))
    assert caught.value.problems == (
        "language identification cannot tell 'zho_Hans' from 'zho_Hant'",
        "language identification does not know 'nah'",
    )


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("nob", "Jeg vet ikke hva som skjedde etter at vi gikk hjem i går kveld."),
        ("swh", "Watoto wanasoma vitabu vyao shuleni kila siku asubuhi."),
        ("tgl", "Ang mga bata ay naglalaro sa labas ng kanilang bahay."),
        ("npi", "नेपालको राजधानी काठमाडौं हो र यहाँ धेरै मानिसहरू बस्छन्।"),
        ("azj", "Uşaqlar hər gün məktəbdə kitab oxuyur və yazı yazırlar."),
        ("cmn", "孩子们每天早上在学校读书写字。"),
    ],
)
def test_a_language_that_the_library_has_under_another_code_is_told(code, text):
    assert text_identifier(("eng", code, "deu"))(text) == code


@pytest.mark.parametrize("code", ["ast", "ckb", "ceb", "ful"])
def test_a_relative_of_a_known_language_is_not_taken_for_it(code):
    with pytest.raises(DataError, match=f"does not know '{code}'"):
        text_identifier(("eng", code))


def test_two_codes_of_one_language_of_the_library_are_refused():
    with pytest.raises(DataError, match="cannot tell 'swa' from 'swh'"):
        text_identifier(("eng", "swa", "swh"))


def test_the_controlled_languages_are_told_exactly():
    identify = controlled_identifier()
    assert identify("El gos veu una casa vella.") == "cat"
    assert identify("El gos sees una casa.") == UNKNOWN
