"""Lines in, lines out: the model's own answer to each, in the order of the lines."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ksl_bench import tiny_base
from ksl_bench.config import DecodingSpec
from ksl_bench.errors import KslBenchError
from ksl_bench.tickets import translate as room
from ksl_bench.tickets.apply import load_base
from ksl_bench.tickets.translate import Wording, text_lines, translate_lines

LINES = ["The dog sees a cat.", "", "The cat sees the big dog and a house.", " \t", "The dog sees."]
WORDING = Wording(
    prompt="explicit", source_language="eng", target_language="cat", rule="first_line"
)


def by_hand(line):
    """Ask the model for one line, greedily, without this package."""
    model = AutoModelForCausalLM.from_pretrained(tiny_base.PATH)
    tokenizer = AutoTokenizer.from_pretrained(tiny_base.PATH)
    prompt = f"Translate the following text from English to Catalan.\n\nEnglish: {line}\nCatalan:"
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    output = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False
    )
    return tokenizer.decode(output[0, ids.shape[1] :]).strip().split("\n")[0]


def test_each_line_is_answered_in_its_place_and_empty_ones_stay_empty(monkeypatch):
    monkeypatch.setattr(room, "BLOCK", 2)
    blocks = list(
        translate_lines(
            load_base("tiny-base", None),
            iter(LINES),
            wording=WORDING,
            decoding=DecodingSpec(max_new_tokens=24),
        )
    )
    assert [len(block) for block in blocks] == [2, 2, 1]
    found = [line for block in blocks for line in block]
    assert found == [by_hand(line) if line.strip() else "" for line in LINES]
    assert found[0].startswith("El gos")


def test_lines_end_at_newlines_only():
    content = "\ufeffone\r\ntwo\u2028still\n\nlast".encode().splitlines(keepends=True)
    assert list(text_lines(content, name="it")) == ["one", "two\u2028still", "", "last"]


def test_a_line_that_is_not_utf8_is_named():
    with pytest.raises(KslBenchError, match="it:2: not UTF-8, at byte 1 of it"):
        list(text_lines([b"one\n", b"t\xffo\n"], name="it"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rule": "first"}, "unknown rule 'first'. Did you mean 'first_line'"),
        ({"prompt": "explict"}, "unknown prompt 'explict'. Did you mean 'explicit'"),
        ({"target_language": "xx"}, "unknown language 'xx'"),
    ],
)
def test_what_is_unknown_is_refused_before_a_model_is_loaded(change, said):
    words = {"prompt": "bare", "source_language": "eng", "target_language": "cat", "rule": "raw"}
    with pytest.raises(KslBenchError, match=said):
        Wording(**{**words, **change})
