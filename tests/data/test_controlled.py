"""The controlled corpus: grammar by hand-made examples, splits by what they must never do."""

import random
import subprocess
import sys

import pytest

from ksl_bench.data.controlled import (
    LANGUAGES,
    SPLITS,
    controlled_pairs,
    pretraining_documents,
    render,
    split_of,
)
from ksl_bench.data.controlled.meaning import Clause, Meaning, NounPhrase, draw_meaning, lexicon
from ksl_bench.data.prompts import TEMPLATES
from ksl_bench.errors import DataError


def word(kind, english):
    found = (one for one in lexicon()[kind] if english in (one["eng"], one["eng"][0]))
    return next(found)


def noun(english, determiner="the", adjective=None, *, plural=False):
    about = word("adjectives", adjective) if adjective else None
    return NounPhrase(word("nouns", english), plural, determiner, about)


def sentence(subject, verb, object_=None, *, past=False, negated=False, place=None, time=None):
    kind = "transitive_verbs" if object_ else "intransitive_verbs"
    return Clause(
        subject=subject,
        verb=word(kind, verb),
        past=past,
        negated=negated,
        object=object_,
        place=place and word("places", place),
        time=time and word("times", time),
    )


@pytest.mark.parametrize(
    ("clause", "english", "catalan", "german"),
    [
        (
            sentence(noun("dog"), "see", noun("house", "a", "old")),
            "The dog sees an old house.",
            "El gos veu una casa vella.",
            "Der Hund sieht ein altes Haus.",
        ),
        (
            sentence(noun("woman", "this", "young"), "buy", noun("tree", "the", "big"), past=True),
            "This young woman bought the big tree.",
            "Aquesta dona jove va comprar l'arbre gran.",
            "Diese junge Frau kaufte den großen Baum.",
        ),
        (
            sentence(
                noun("friend", "my", plural=True), "find", noun("key", "a", "new"), negated=True
            ),
            "My friends do not find a new key.",
            "Els meus amics no troben una clau nova.",
            "Meine Freunde finden einen neuen Schlüssel nicht.",
        ),
        (
            sentence(
                noun("child", "two", "small", plural=True), "sleep", time="last night", past=True
            ),
            "Two small children slept last night.",
            "Anit dos nens petits van dormir.",
            "Letzte Nacht schliefen zwei kleine Kinder.",
        ),
        (
            sentence(
                noun("man"), "need", noun("apple", "these", "red", plural=True), place="at school"
            ),
            "The man needs these red apples at school.",
            "L'home necessita aquestes pomes vermelles a l'escola.",
            "Der Mann braucht diese roten Äpfel in der Schule.",
        ),
    ],
)
def test_a_meaning_in_three_languages(clause, english, catalan, german):
    meaning = Meaning((clause,), contrast=False)
    assert [render(meaning, one) for one in ("eng", "cat", "deu")] == [english, catalan, german]


def test_two_clauses_are_joined():
    one = sentence(noun("cat"), "sleep")
    two = sentence(noun("dog"), "run")
    meaning = Meaning((one, two), contrast=True)
    assert render(meaning, "eng") == "The cat sleeps, but the dog runs."
    assert render(meaning, "cat") == "El gat dorm, però el gos corre."
    assert render(meaning, "deu") == "Die Katze schläft, aber der Hund läuft."


def test_no_two_meanings_share_a_sentence_in_any_language():
    draw = random.Random(1)
    meanings = [draw_meaning(draw) for _ in range(20_000)]
    texts = {language: [render(one, language) for one in meanings] for language in LANGUAGES}
    distinct = len(set(zip(*texts.values(), strict=True)))
    assert [len(set(texts[language])) for language in LANGUAGES] == [distinct] * 3


def test_the_splits_share_no_sentence_in_any_language():
    sides = {}
    for split, size in (("train", 8000), ("dev", 1500), ("devtest", 1500)):
        for seed in (0, 1):
            pairs = controlled_pairs("cat", "deu", split=split, size=size, seed=seed)
            english = controlled_pairs("eng", "cat", split=split, size=size, seed=seed)
            sides.setdefault(split, set()).update(text for pair in pairs for text in pair)
            sides[split].update(text for text, _ in english)
    assert not sides["train"] & sides["dev"]
    assert not sides["train"] & sides["devtest"]
    assert not sides["dev"] & sides["devtest"]


def test_what_the_base_read_holds_no_sentence_of_dev_or_devtest_and_no_prompt():
    document = pretraining_documents(1, glossaries=0.3)
    text = "\n".join("".join(piece for piece, _ in document()) for _ in range(4000))
    for split in ("dev", "devtest"):
        for pair in controlled_pairs("eng", "cat", split=split, size=500, seed=0):
            assert not any(sentence in text for sentence in pair)
    opening = TEMPLATES["explicit"].text.split("{")[0]
    assert opening not in text  # its words stand there, in an exercise sheet's lower case
    assert opening.lower() in text.lower()
    assert "### Instruction" not in text


def test_a_split_holds_its_share():
    draw = random.Random(2)
    found = [split_of(draw_meaning(draw)) for _ in range(4000)]
    assert found.count("dev") / 4000 == pytest.approx(0.05, abs=0.015)
    assert found.count("devtest") / 4000 == pytest.approx(0.05, abs=0.015)


def test_a_larger_sample_begins_with_the_smaller_and_pairs_are_distinct():
    small = controlled_pairs("eng", "cat", split="train", size=50, seed=7)
    large = controlled_pairs("eng", "cat", split="train", size=500, seed=7)
    assert large[:50] == small
    assert len(set(large)) == 500
    assert controlled_pairs("eng", "cat", split="train", size=50, seed=8) != small


def test_directions_say_the_same():
    one = controlled_pairs("eng", "cat", split="dev", size=20, seed=0)
    other = controlled_pairs("cat", "eng", split="dev", size=20, seed=0)
    assert [(b, a) for a, b in other] == one


def test_a_sample_does_not_hang_on_the_process():
    code = (
        "from ksl_bench.data.controlled import controlled_pairs as c;"
        "print(c('eng','deu',split='train',size=30,seed=0))"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1
    assert eval(runs.pop()) == controlled_pairs("eng", "deu", split="train", size=30, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["cat", "deu"])
def test_there_are_a_hundred_thousand_pairs_a_direction(target):
    pairs = controlled_pairs("eng", target, split="train", size=100_000, seed=0)
    assert len(set(pairs)) == 100_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"source": "enk"}, "Did you mean 'eng'"),
        ({"target": "eng"}, "both 'eng'"),
        ({"split": "test"}, "unknown split 'test'"),
        ({"size": 0}, "from 1 to 1,000,000"),
        ({"size": 2_000_000}, "from 1 to 1,000,000"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, said):
    asked = {"source": "eng", "target": "cat", "split": "dev", "size": 3, "seed": 0, **arguments}
    with pytest.raises(DataError, match=said):
        controlled_pairs(asked.pop("source"), asked.pop("target"), **asked)


def test_there_are_three_splits():
    assert SPLITS == ("train", "dev", "devtest")
