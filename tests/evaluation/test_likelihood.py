"""Likelihoods of answers against a forward pass for each."""

import pytest
import torch

from ksl_bench.data.batching import Encoded
from ksl_bench.evaluation.likelihood import answer_scores
from ksl_bench.training.loop import Worker

EOS = 2
PROMPTS = [(1, 7, 3), (1, 50, 60, 70, 80), (1, 9)]
ANSWERS = [(11, 12), (13,), (14, 15, 16)]


def choices():
    return [[Encoded(prompt, (*answer, EOS)) for answer in ANSWERS] for prompt in PROMPTS]


def alone(model, prompt, answer):
    """Return the log probability of an answer from a pass of its own, position by position."""
    ids = torch.tensor([[*prompt, *answer]])
    with torch.no_grad():
        log_probabilities = torch.log_softmax(model(input_ids=ids).logits[0].double(), dim=-1)
    at = len(prompt) - 1
    return sum(float(log_probabilities[at + i, token]) for i, token in enumerate(answer))


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_every_answer_has_the_log_probability_of_its_tokens_without_eos(make_llama, batch_size):
    model = make_llama()
    found = answer_scores(model, choices(), pad_id=0, batch_size=batch_size, worker=Worker())
    assert [len(one) for one in found] == [3, 3, 3]
    for scores, prompt in zip(found, PROMPTS, strict=True):
        wanted = [alone(model, prompt, answer) for answer in ANSWERS]
        assert scores == pytest.approx(wanted, abs=1e-4)


def test_the_model_is_left_as_it_was(make_llama):
    model = make_llama()
    ids = torch.tensor([[1, 7, 3]])
    before = model(input_ids=ids).logits
    answer_scores(model, choices(), pad_id=0, batch_size=4, worker=Worker())
    assert torch.equal(model(input_ids=ids).logits, before)
