"""Gradients of rows over one pass: equal to autograd's over all examples at once."""

import pytest
import torch
import torch.nn.functional as F

from ksl_bench.data.batching import Encoded
from ksl_bench.training.gradients import row_gradients

EXAMPLES = [
    Encoded((1, 7, 50), (8, 9, 2)),
    Encoded((1, 60), (7, 2)),
    Encoded((1, 7, 7, 12, 13), (199, 2)),
]


def loss(model):
    """Mean cross entropy over all labels, example by example and without any of our own batching."""
    total, labels = 0.0, 0
    for one in EXAMPLES:
        ids = torch.tensor([[*one.prompt_ids, *one.response_ids]])
        logits = model(ids).logits[0, len(one.prompt_ids) - 1 : -1]
        wanted = torch.tensor(one.response_ids)
        total = total + F.cross_entropy(logits, wanted, reduction="sum")
        labels += len(wanted)
    return total / labels


def lengths(model, scope, *, batch_size=2, **options):
    device = torch.device("cpu")
    return row_gradients(
        model, scope, EXAMPLES, batch_size=batch_size, pad_id=0, device=device, **options
    )


@pytest.mark.parametrize("batch_size", [1, 2, 8])
@pytest.mark.parametrize("scope", ["input_embedding", "model.layers.0.mlp.up_proj"])
def test_lengths_are_those_of_autograds_rows(make_llama, scope, batch_size):
    model = make_llama()
    name = {"input_embedding": "model.embed_tokens"}.get(scope, scope)
    weight = model.get_submodule(name).weight
    (gradient,) = torch.autograd.grad(loss(model), weight)
    found = lengths(make_llama(), scope, batch_size=batch_size)
    assert found.dtype == torch.float64
    assert torch.allclose(found, gradient.double().norm(dim=1), rtol=1e-4, atol=1e-9)
    if scope == "input_embedding":  # what is never read has no gradient at all
        assert set(found.nonzero().squeeze(-1).tolist()) <= {1, 7, 50, 8, 9, 60, 12, 13, 199}


@pytest.mark.parametrize("scope", ["input_embedding", "output_head"])
def test_of_tied_embeddings_the_named_side_counts_alone(make_llama, scope):
    """As an untied model with the same weights has it; else every row had the head's gradient."""
    untied = make_llama(tied=True)
    untied.lm_head.weight = torch.nn.Parameter(untied.lm_head.weight.detach().clone())
    module = untied.model.embed_tokens if scope == "input_embedding" else untied.lm_head
    (gradient,) = torch.autograd.grad(loss(untied), module.weight)
    assert torch.allclose(
        lengths(make_llama(tied=True), scope), gradient.double().norm(dim=1), rtol=1e-4, atol=1e-9
    )


def test_of_tied_embeddings_that_change_on_both_sides_both_count(make_llama):
    model = make_llama(tied=True)
    (gradient,) = torch.autograd.grad(loss(model), model.model.embed_tokens.weight)
    found = lengths(make_llama(tied=True), "input_embedding", sides="both")
    assert torch.allclose(found, gradient.double().norm(dim=1), rtol=1e-4, atol=1e-9)
