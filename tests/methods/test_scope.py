"""Scopes: which weights a ticket picks its rows from, and that tuning changes those rows alone."""

import pytest
import torch

from ksl_bench.errors import MethodError
from ksl_bench.methods import build_method
from ksl_bench.methods.base import load_state, trainable_parameters
from ksl_bench.methods.partial import trained_rows
from ksl_bench.methods.scope import find_scope, trained_matrix

SCOPES = {
    "input_embedding": ["model.embed_tokens"],
    "output_head": ["lm_head"],
    "model.layers.1.mlp.down_proj": ["model.layers.1.mlp.down_proj"],
    "*.self_attn.q_proj": [
        "model.layers.0.self_attn.q_proj",
        "model.layers.1.self_attn.q_proj",
    ],
}
IDS = torch.tensor([[1, 7, 3, 50, 199, 2]])


def scoped_ticket(make_ticket, scope, ids, values=None):
    from dataclasses import replace

    return replace(make_ticket(ids, values=values), tensor=scope)


@pytest.mark.parametrize("name", SCOPES)
def test_a_scope_is_the_rows_of_its_weights_stacked_in_the_models_order(make_llama, name):
    model = make_llama()
    scope = find_scope(model, name)
    assert [at for at, _ in scope.modules] == SCOPES[name]
    weights = [model.get_submodule(at).weight for at in SCOPES[name]]
    assert torch.equal(scope.matrix(), torch.cat(weights))
    assert scope.size == sum(map(len, weights))


def test_parts_tell_module_and_row_of_each_ticket_row(make_llama):
    scope = find_scope(make_llama(), "*.self_attn.q_proj")  # two weights of 32 rows
    first, second = scope.parts([40, 5, 32])
    assert (first.places_K.tolist(), first.rows_K.tolist()) == ([1], [5])
    assert (second.places_K.tolist(), second.rows_K.tolist()) == ([0, 2], [8, 0])
    names = scope.row_names(lambda ids: ["no token"] * len(ids))([40, 5])
    assert names == ["model.layers.1.self_attn.q_proj[8]", "model.layers.0.self_attn.q_proj[5]"]


def test_rows_of_token_scopes_are_named_by_their_tokens(make_llama):
    name = find_scope(make_llama(), "output_head").row_names(lambda ids: [f"<{i}>" for i in ids])
    assert name([4, 2]) == ["<4>", "<2>"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "model.layers.9.mlp.up_proj",
            "nor a linear weight of this model, which has model.layers.0",
        ),
        ("*", "names weights of different width"),
        ("model.norm", "nor a linear weight"),
    ],
)
def test_a_scope_that_cannot_be_is_refused(make_llama, name, said):
    with pytest.raises(MethodError, match=said):
        find_scope(make_llama(), name)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", SCOPES)
def test_partial_tuning_changes_the_rows_of_its_scope_and_no_other_parameter(
    make_llama, make_ticket, name, tied
):
    plain = make_llama(tied=tied)
    expected = {at: one.detach().clone() for at, one in plain.state_dict().items()}
    ticket = scoped_ticket(make_ticket, name, [31, 5])
    method = build_method("partial_tuning", {})
    model = method.attach(make_llama(tied=tied), ticket=ticket, seed=0)
    deltas = trainable_parameters(model)
    assert (
        sum(one.numel() for one in deltas.values()) == 2 * find_scope(plain, name).matrix().shape[1]
    )
    for delta in deltas.values():
        torch.nn.init.normal_(delta, generator=torch.manual_seed(1))
    state = {at: one.detach().clone() for at, one in deltas.items()}
    logits = model(IDS).logits
    merged = method.merge(model)
    assert torch.allclose(merged(IDS).logits, logits, atol=1e-5)
    scope = find_scope(plain, name)
    rows = trained_rows(scope.matrix(), ticket, scope, state)
    for part in scope.parts(ticket.token_ids):
        weight = expected[f"{part.name}.weight"].clone()
        weight[part.rows_K] = rows[part.places_K]
        expected[f"{part.name}.weight"] = weight
    after = merged.state_dict()
    other = {"input_embedding": "lm_head.weight", "output_head": "model.embed_tokens.weight"}
    if tied and name in other:
        expected[other[name]] = plain.state_dict()[other[name]]
    assert all(torch.equal(after[at], expected[at]) for at in after), [
        at for at in after if not torch.equal(after[at], expected[at])
    ]


@pytest.mark.parametrize("name", SCOPES)
def test_the_gradient_of_a_row_is_that_of_the_whole_weight(make_llama, make_ticket, name):
    whole = make_llama()
    scope = find_scope(whole, name)
    for weight in scope.weights:
        weight.requires_grad_(True)
    whole(IDS, labels=IDS).loss.backward()
    gradient = torch.cat([one.grad for one in scope.weights])
    ticket = scoped_ticket(make_ticket, name, [7, 3])
    attached = build_method("partial_tuning", {}).attach(make_llama(), ticket=ticket, seed=0)
    attached(IDS, labels=IDS).loss.backward()
    (delta,) = trainable_parameters(attached).values()
    assert torch.allclose(delta.grad, gradient[[7, 3]], atol=1e-7)


@pytest.mark.parametrize("name", SCOPES)
def test_transfer_pastes_the_rows_that_tuning_of_the_scope_left(make_llama, make_ticket, name):
    tuned = build_method("embedding", {"scope": name}).attach(make_llama(), ticket=None, seed=0)
    for weight in trainable_parameters(tuned).values():
        torch.nn.init.normal_(weight, generator=torch.manual_seed(1))
    state = {at: one.detach().clone() for at, one in trainable_parameters(tuned).items()}
    rows = trained_matrix(find_scope(tuned, name), tuned, state)
    assert torch.equal(rows, find_scope(tuned, name).matrix())
    every = list(range(len(rows)))
    ticket = scoped_ticket(make_ticket, name, every, rows[every])
    pasted = build_method("partial_transfer", {}).attach(make_llama(), ticket=ticket, seed=0)
    assert torch.equal(pasted(IDS).logits, tuned(IDS).logits)
    fresh = build_method("embedding", {"scope": name}).attach(make_llama(), ticket=None, seed=0)
    load_state(fresh, state)
    assert torch.equal(fresh(IDS).logits, tuned(IDS).logits)


def test_a_state_that_did_not_train_the_scope_is_refused(make_llama):
    model = build_method("embedding", {}).attach(make_llama(), ticket=None, seed=0)
    with pytest.raises(
        MethodError, match=r"did not train 'lm_head\.weight' of scope 'output_head'"
    ):
        trained_matrix(find_scope(model, "output_head"), model, dict(trainable_parameters(model)))


def test_both_sides_of_a_tied_model_have_one_name(make_llama, make_ticket):
    ticket = scoped_ticket(make_ticket, "output_head", [7])
    with pytest.raises(MethodError, match="sides: both is a change of the input_embedding"):
        build_method("partial_tuning", {"sides": "both"}).attach(
            make_llama(tied=True), ticket=ticket, seed=0
        )
