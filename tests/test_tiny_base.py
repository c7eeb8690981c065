"""The shipped base models are those that their cards describe, and show what they are there to show."""

import hashlib
import json
from itertools import permutations

import pytest

from ksl_bench.base_card import score
from ksl_bench.config import ModelSpec
from ksl_bench.data.controlled import LANGUAGES
from ksl_bench.evaluation.metrics import Score
from ksl_bench.models import SHIPPED, find_model, load_model, load_tokenizer

CARDS = {
    name: json.loads((path / "card.json").read_text(encoding="utf-8"))
    for name, path in SHIPPED.items()
}
FIVE = "tiny-base-five"


@pytest.fixture(scope="module", params=sorted(SHIPPED))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def base(name):
    reference = find_model(ModelSpec(name_or_path=name))
    return load_model(reference, precision="fp32"), load_tokenizer(reference)


def direction_of(one):
    return one.get("direction", "eng-cat")


def scores(name, split, prompt, *, sentences=400):
    return next(
        one
        for one in CARDS[name]["scores"]
        if (one["split"], one["prompt"], one["sentences"]) == (split, prompt, sentences)
    )


def by_direction(split):
    """Return the scores of the five languages' base by direction."""
    return {
        direction_of(one): one
        for one in CARDS[FIVE]["scores"]
        if (one["split"], one["sentences"]) == (split, 100)
    }


def test_the_files_are_those_of_the_card(name):
    for file, digest in CARDS[name]["sha256"].items():
        assert hashlib.sha256((SHIPPED[name] / file).read_bytes()).hexdigest() == digest, file


def test_both_are_small_and_of_about_a_million_parameters(name, base):
    model, _ = base
    files = [path for one in SHIPPED.values() for path in one.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 10e6
    assert 0.9e6 <= sum(one.numel() for one in model.parameters()) <= 1.2e6


def test_the_card_shows_a_model_that_translates_but_does_not_stop(name):
    explicit = scores(name, "devtest", "explicit")
    assert explicit["bleu"]["first_line"] >= 85
    assert explicit["bleu"]["raw"] <= 40
    assert explicit["eos_percent"] <= 5
    assert scores(name, "devtest", "alpaca")["bleu"]["first_line"] < 5


def test_five_languages_are_translated_in_every_direction():
    for split in ("dev", "devtest"):
        found = by_direction(split)
        assert set(found) == {f"{one}-{other}" for one, other in permutations(LANGUAGES, 2)}
        first_line = [one["bleu"]["first_line"] for one in found.values()]
        assert 85 <= sum(first_line) / len(first_line) <= 97
        assert max(one["eos_percent"] for one in found.values()) <= 1


def test_it_scores_what_the_card_says(name, base):
    # fewer sentences than the card's, hence the width
    found = score(*base, split="devtest", prompt="explicit", sentences=100)
    expected = scores(name, "devtest", "explicit")
    assert found["bleu"]["first_line"] == pytest.approx(expected["bleu"]["first_line"], abs=6)
    assert found["bleu"]["raw"] == pytest.approx(expected["bleu"]["raw"], abs=6)
    assert found["eos_percent"] <= 5


def test_bleu_is_that_of_the_target_language(base, monkeypatch):
    asked = set()

    def score_corpus(metric, hypotheses, references, *, language):
        asked.add(language)
        return Score(0.0, "")

    monkeypatch.setattr("ksl_bench.base_card.score_corpus", score_corpus)
    score(*base, split="dev", prompt="bare", direction=("cat", "deu"), sentences=2)
    assert asked == {"deu"}


@pytest.mark.slow
@pytest.mark.nightly
def test_every_score_of_the_card_comes_out_again(name, base):
    for one in CARDS[name]["scores"]:
        found = score(
            *base,
            split=one["split"],
            prompt=one["prompt"],
            direction=tuple(direction_of(one).split("-")),
            sentences=one["sentences"],
        )
        assert found["bleu"] == pytest.approx(one["bleu"], abs=0.05), one
        assert found["eos_percent"] == pytest.approx(one["eos_percent"], abs=0.3), one


def test_a_text_begins_with_bos_and_padding_is_not_eos(base):
    _, tokenizer = base
    assert tokenizer("English: The cat.")["input_ids"][0] == tokenizer.bos_token_id == 1
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 2)
    text = "L'home vell compra pomes, però la Katze schläft süß; el niño ve små børn."
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
