"""LoTA's linear map against dense autograd, and what a merge may change."""

import pytest
import torch
import torch.nn.functional as F

from ksl_bench.errors import MethodError
from ksl_bench.methods import build_method
from ksl_bench.methods.base import parameter_counts, trainable_parameters
from ksl_bench.methods.lota import EntryDeltaLinear
from ksl_bench.methods.scope import linear_layers
from tests.masks import mask_of

IDS = torch.tensor([[1, 7, 3, 50, 199, 2]])


def attached(make_llama, **kwargs):
    model = make_llama(**kwargs)
    return build_method("lota", {}).attach(model, ticket=mask_of(model), seed=0)


def randomize(model):
    torch.manual_seed(1)
    for one in trainable_parameters(model).values():
        torch.nn.init.normal_(one, std=0.1)


def test_gradients_are_those_of_a_dense_weight_at_the_kept_entries():
    torch.manual_seed(0)
    linear = torch.nn.Linear(6, 4)
    places = torch.tensor([0, 7, 8, 23])
    wrapped = EntryDeltaLinear(linear.requires_grad_(False), places)
    torch.nn.init.normal_(wrapped.delta_M)
    hidden = torch.randn(2, 3, 6, requires_grad=True)
    dense_hidden = hidden.detach().clone().requires_grad_()
    dense = linear.weight.detach().clone().flatten().index_add(0, places, wrapped.delta_M.detach())
    dense = dense.view(4, 6).requires_grad_()
    outward = torch.randn(2, 3, 4)
    found = wrapped(hidden)
    wanted = F.linear(dense_hidden, dense, linear.bias)
    assert torch.allclose(found, wanted, atol=1e-6)
    found.backward(outward)
    wanted.backward(outward)
    assert torch.allclose(wrapped.delta_M.grad, dense.grad.flatten()[places], atol=1e-6)
    assert torch.allclose(hidden.grad, dense_hidden.grad, atol=1e-6)


def test_a_model_starts_as_the_base_and_trains_the_kept_entries_of_every_layer(make_llama):
    base, model = make_llama(), attached(make_llama)
    assert torch.equal(model(IDS).logits, base(IDS).logits)
    model(IDS).logits.square().mean().backward()
    kept = mask_of(base).places
    gradients = {name: one.grad for name, one in trainable_parameters(model).items()}
    assert gradients.keys() == {f"{name}.delta_M" for name in kept}
    assert all(len(gradients[f"{name}.delta_M"]) == len(kept[name]) for name in kept)
    assert all(one.abs().sum() > 0 for one in gradients.values())
    counts = parameter_counts(model)
    assert counts["trainable"] == mask_of(base).entries
    assert counts["total"] == parameter_counts(base)["total"] + counts["trainable"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_merged_model_answers_alike_and_only_kept_entries_differ(make_llama, dtype):
    base, model = make_llama(dtype=dtype), attached(make_llama, dtype=dtype)
    randomize(model)
    model.requires_grad_(False)
    answers = model(IDS).logits
    kept = mask_of(base).places
    merged = build_method("lota", {}).merge(model)
    assert torch.equal(merged(IDS).logits, answers)
    assert merged.state_dict().keys() == base.state_dict().keys()
    for name, before in base.state_dict().items():
        moved = (merged.state_dict()[name] != before).flatten().nonzero().flatten()
        allowed = kept.get(name.removesuffix(".weight"), torch.tensor([], dtype=torch.int64))
        assert torch.isin(moved, allowed).all()
        assert len(moved) >= 0.8 * len(allowed)


def test_training_and_decoding_see_the_same_weights(make_llama):
    model = attached(make_llama)
    randomize(model)
    training = model(IDS).logits
    with torch.no_grad():
        scored = model(IDS).logits
    decoding = model.requires_grad_(False)(IDS).logits
    assert torch.allclose(training, scored, atol=1e-6)
    assert torch.equal(scored, decoding)


def test_gradient_checkpointing_gives_the_same_gradients(make_llama):
    plain, checkpointed = attached(make_llama), attached(make_llama)
    checkpointed.gradient_checkpointing_enable({"use_reentrant": False})
    checkpointed.train()
    for model in (plain, checkpointed):
        randomize(model)
        model(IDS).logits.square().mean().backward()
    for one, two in zip(
        trainable_parameters(plain).values(),
        trainable_parameters(checkpointed).values(),
        strict=True,
    ):
        assert torch.allclose(one.grad, two.grad, atol=1e-6)


def test_the_output_head_and_embeddings_are_no_layers(make_llama):
    for tied in (False, True):
        names = linear_layers(make_llama(tied=tied))
        assert len(names) == 2 * 7
        assert all(name.startswith("model.layers.") for name in names)


def test_what_is_no_mask_or_not_of_this_model_is_refused(make_llama, make_ticket):
    lota, model = build_method("lota", {}), make_llama()
    for ticket in (None, make_ticket([3])):
        with pytest.raises(MethodError, match="lota needs a mask"):
            lota.attach(model, ticket=ticket, seed=0)
    name = "model.layers.0.mlp.up_proj"
    small = mask_of(model, {name: torch.tensor([0])}, {name: (2, 2)})
    with pytest.raises(MethodError, match=r"of shape \(2, 2\), the model has \(64, 32\)"):
        lota.attach(model, ticket=small, seed=0)
    other = mask_of(model, {"elsewhere": torch.tensor([0])}, {"elsewhere": (2, 2)})
    with pytest.raises(MethodError, match="the model has no such weight"):
        lota.attach(model, ticket=other, seed=0)


def test_a_mask_is_refused_where_rows_are_tuned(make_llama):
    model = make_llama()
    with pytest.raises(MethodError, match="needs a ticket of rows"):
        build_method("partial_tuning", {}).attach(model, ticket=mask_of(model), seed=0)
