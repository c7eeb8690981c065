"""The shipped base model is the one that its card describes, and shows what it is there to show."""

import hashlib
import json

import pytest

from ksl_bench import tiny_base
from ksl_bench.config import ModelSpec
from ksl_bench.make_tiny_base import score
from ksl_bench.models import find_model, load_model, load_tokenizer

CARD = json.loads((tiny_base.PATH / "card.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def base():
    reference = find_model(ModelSpec(name_or_path="tiny-base"))
    return load_model(reference, precision="fp32"), load_tokenizer(reference)


def scores(split, prompt):
    return next(one for one in CARD["scores"] if (one["split"], one["prompt"]) == (split, prompt))


def test_the_files_are_those_of_the_card():
    for name, digest in CARD["sha256"].items():
        assert hashlib.sha256((tiny_base.PATH / name).read_bytes()).hexdigest() == digest, name


def test_it_is_small_and_about_a_million_parameters(base):
    model, _ = base
    assert sum(path.stat().st_size for path in tiny_base.PATH.iterdir() if path.is_file()) <= 5e6
    assert 0.9e6 <= sum(one.numel() for one in model.parameters()) <= 1.2e6


def test_the_card_shows_a_model_that_translates_but_does_not_stop():
    explicit = scores("devtest", "explicit")
    assert explicit["sentences"] >= 200
    assert explicit["bleu"]["first_line"] >= 85
    assert explicit["bleu"]["raw"] <= 40
    assert explicit["eos_percent"] <= 5
    assert scores("devtest", "alpaca")["bleu"]["first_line"] < 5


def test_it_scores_what_the_card_says(base):
    # fewer sentences than the card's, hence the width
    found = score(*base, split="devtest", prompt="explicit", sentences=100)
    expected = scores("devtest", "explicit")
    assert found["bleu"]["first_line"] == pytest.approx(expected["bleu"]["first_line"], abs=6)
    assert found["bleu"]["raw"] == pytest.approx(expected["bleu"]["raw"], abs=6)
    assert found["eos_percent"] <= 5


@pytest.mark.slow
@pytest.mark.parametrize("one", CARD["scores"], ids=lambda one: f"{one['split']}-{one['prompt']}")
def test_every_score_of_the_card_comes_out_again(base, one):
    found = score(*base, split=one["split"], prompt=one["prompt"], sentences=one["sentences"])
    assert found["bleu"] == pytest.approx(one["bleu"], abs=0.05)
    assert found["eos_percent"] == pytest.approx(one["eos_percent"], abs=0.3)


def test_a_text_begins_with_bos_and_padding_is_not_eos(base):
    _, tokenizer = base
    assert tokenizer("English: The cat.")["input_ids"][0] == tokenizer.bos_token_id == 1
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 2)
    text = "L'home vell compra pomes, però la Katze schläft süß."
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
