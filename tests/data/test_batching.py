from collections import Counter

import pytest
import torch

from ksl_bench.config import ModelSpec
from ksl_bench.data.batching import (
    IGNORED,
    Encoded,
    collate,
    encode,
    global_batches,
    in_span,
    padding_id,
    token_counts,
)
from ksl_bench.models import find_model, load_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(find_model(ModelSpec(name_or_path="tiny-base")))


def test_eos_is_the_last_label_and_the_prompt_bears_no_loss(tokenizer):
    one = encode(tokenizer, "English: The dog sees.\nCatalan:", " El gos veu.", max_seq_length=99)
    assert one.prompt_ids[0] == tokenizer.bos_token_id
    assert one.response_ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(one.response_ids[:-1]) == " El gos veu."
    batch = collate([one], pad_id=0)
    labelled = batch.labels_BL[0] != IGNORED
    assert int(labelled.sum()) == len(one.response_ids)
    assert int(labelled.nonzero()[0]) == len(one.prompt_ids) - 1


def test_a_long_response_is_cut_and_then_eos_is_no_label(tokenizer):
    one = encode(tokenizer, "English: a\nCatalan:", " El gos veu la casa.", max_seq_length=12)
    assert one.truncated
    assert len(one) == 12
    assert one.response_ids[-1] != tokenizer.eos_token_id


def test_labels_are_the_next_tokens_and_padding_bears_no_loss():
    batch = collate([Encoded((1, 5), (6, 2)), Encoded((1, 5, 7), (8, 9, 2))], pad_id=0)
    assert batch.input_ids_BL.tolist() == [[1, 5, 6, 2, 0, 0], [1, 5, 7, 8, 9, 2]]
    x = IGNORED
    assert batch.labels_BL.tolist() == [[x, 6, 2, x, x, x], [x, x, 8, 9, 2, x]]


@pytest.mark.parametrize(
    ("pad", "unk", "bos", "eos", "expected"),
    [(0, None, 1, 2, 0), (2, None, 1, 2, 1), (None, 3, 1, 2, 3), (2, 2, 2, 2, 0), (0, 0, 0, 0, 1)],
)
def test_padding_is_never_eos(pad, unk, bos, eos, expected):
    class Stub:
        pad_token_id, unk_token_id, bos_token_id, eos_token_id = pad, unk, bos, eos

    assert padding_id(Stub()) == expected != eos


def test_an_epoch_holds_every_example_once_before_the_next_begins():
    batches = list(global_batches(10, global_batch_size=4, steps=5, seed=3))
    seen = [index for batch in batches for index in batch]
    assert Counter(seen) == Counter({index: 2 for index in range(10)})
    assert set(seen[:10]) == set(range(10))
    assert seen[:10] != seen[10:]
    assert batches == list(global_batches(10, global_batch_size=4, steps=5, seed=3))
    assert batches != list(global_batches(10, global_batch_size=4, steps=5, seed=4))


def test_counts_leave_out_the_last_label():
    counts = token_counts([Encoded((1, 5), (5, 2)), Encoded((1,), (2,))], vocabulary=6)
    assert torch.equal(counts, torch.tensor([0, 2, 0, 0, 0, 2]))


@pytest.mark.parametrize("source", ["the old man", "A a.", "English: x", "z"])
def test_tokens_of_the_sentence_are_told_from_those_of_the_instruction(tokenizer, source):
    prompt = f"Translate.\n\nEnglish: {source}\nCatalan:"
    begin = len("Translate.\n\nEnglish: ")
    ids, inside = in_span(tokenizer, prompt, (begin, begin + len(source)))
    assert ids == tokenizer(prompt)["input_ids"]
    said = tokenizer.decode([one for one, here in zip(ids, inside, strict=True) if here])
    assert said.strip() == source
    assert not inside[0]  # BOS stands before every sentence
