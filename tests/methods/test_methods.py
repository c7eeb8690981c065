"""Every method: what trains, what stays, what is saved and folded back."""

import copy

import pytest
import torch

from ksl_bench.errors import ConfigError, MethodError
from ksl_bench.lottery.ticket import Ticket
from ksl_bench.methods import METHODS, build_method
from ksl_bench.methods.base import is_tied, load_state, trainable_parameters
from tests.masks import mask_of

IDS = [7, 3, 199, 40]
V, D, LAYERS = 200, 32, 2


@pytest.fixture
def ticket(make_ticket) -> Ticket:
    return make_ticket(IDS, values=torch.randn(len(IDS), D, generator=torch.manual_seed(1)))


GIVEN = {"peft": {"peft_type": "IA3"}}
"""Fields that a method does not do without."""


def attach(name, model, ticket, **fields):
    fields = {**GIVEN.get(name, {}), **fields}
    method = build_method(name, fields)
    given = mask_of(model) if name == "lota" else ticket
    return method, method.attach(model, ticket=given if method.needs_ticket else None, seed=0)


def randomize(model):
    with torch.no_grad():
        for parameter in trainable_parameters(model).values():
            parameter.add_(torch.randn(parameter.shape, generator=torch.manual_seed(2)) * 0.1)


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("none", {}, 0),
        ("embedding", {}, V * D),
        ("partial_tuning", {}, len(IDS) * D),
        ("partial_transfer", {}, 0),
        ("lora", {"lora_rank": 4}, LAYERS * 2 * 4 * (D + D)),  # q and v, A and B
        ("prefix", {"num_virtual_tokens": 5}, LAYERS * 2 * 5 * D),  # keys and values
    ],
)
def test_the_parameters_that_train_are_as_many_as_the_closed_form(
    make_llama, ticket, name, fields, expected
):
    _, model = attach(name, make_llama(), ticket, **fields)
    assert sum(one.numel() for one in trainable_parameters(model).values()) == expected


def test_full_fine_tuning_trains_every_parameter(make_llama):
    model = make_llama()
    total = sum(one.numel() for one in model.parameters())
    _, attached = attach("full", model, None)
    assert sum(one.numel() for one in trainable_parameters(attached).values()) == total


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"partial_transfer"}))
@pytest.mark.parametrize("tied", [False, True])
def test_attaching_changes_no_output_before_training(make_llama, ticket, name, tied):
    ids = torch.tensor([[1, 7, 3, 50, 199, 2]])
    model = make_llama(tied=tied)
    before = copy.deepcopy(model)(ids).logits
    _, attached = attach(name, model, ticket)
    if name == "prefix":  # a random prefix is seen by attention at once
        assert attached(ids).logits.shape == before.shape
        return
    assert torch.equal(attached(ids).logits, before)


@pytest.mark.parametrize("name", [one for one in sorted(METHODS) if METHODS[one].trains])
def test_a_state_put_into_a_fresh_attachment_gives_the_same_logits(make_llama, ticket, name):
    ids = torch.tensor([[1, 7, 3, 50, 199, 2]])
    _, trained = attach(name, make_llama(), ticket)
    randomize(trained)
    state = {key: one.detach().clone() for key, one in trainable_parameters(trained).items()}
    _, fresh = attach(name, make_llama(), ticket)
    load_state(fresh, state)
    assert torch.equal(fresh.eval()(ids).logits, trained.eval()(ids).logits)


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"prefix"}))
@pytest.mark.parametrize("tied", [False, True])
def test_a_merged_model_gives_the_logits_of_the_attached_one(make_llama, ticket, name, tied):
    ids = torch.tensor([[1, 7, 3, 50, 199, 2]])
    method, model = attach(name, make_llama(tied=tied), ticket)
    randomize(model)
    expected = model.eval()(ids).logits
    merged = method.merge(model)
    assert torch.allclose(merged.eval()(ids).logits, expected, atol=1e-5)
    assert not any("delta" in key for key in merged.state_dict())


def test_a_prefix_cannot_be_merged(make_llama):
    method, model = attach("prefix", make_llama(), None)
    assert method.merge(model) is None


@pytest.mark.parametrize(("sides", "head_moves"), [("named", False), ("both", True)])
@pytest.mark.parametrize("name", ["partial_tuning", "embedding", "partial_transfer"])
def test_a_tied_model_changes_on_the_sides_that_were_asked_for(
    make_llama, ticket, name, sides, head_moves
):
    model = make_llama(tied=True)
    head = model.get_output_embeddings().weight.detach().clone()
    method, attached = attach(name, model, ticket, sides=sides)
    randomize(attached)
    merged = method.merge(attached)
    assert is_tied(merged) is head_moves
    assert torch.equal(merged.get_output_embeddings().weight, head) is not head_moves
    assert not torch.equal(merged.get_input_embeddings().weight, head)


def test_partial_tuning_changes_the_ticket_rows_and_no_others(make_llama, ticket):
    model = make_llama()
    before = model.get_input_embeddings().weight.detach().clone()
    method, attached = attach("partial_tuning", model, ticket)
    randomize(attached)
    after = method.merge(attached).get_input_embeddings().weight
    others = [row for row in range(V) if row not in IDS]
    assert torch.equal(after[others], before[others])
    assert all(not torch.equal(after[row], before[row]) for row in IDS)


def test_partial_transfer_pastes_the_rows_bit_by_bit(make_llama, ticket):
    model = make_llama()
    before = model.get_input_embeddings().weight.detach().clone()
    _, attached = attach("partial_transfer", model, ticket)
    after = attached.get_input_embeddings().weight
    others = [row for row in range(V) if row not in IDS]
    assert torch.equal(after[IDS], ticket.row_values)
    assert torch.equal(after[others], before[others])


def test_partial_transfer_without_values_says_what_is_missing(make_llama, make_ticket):
    with pytest.raises(MethodError, match=r"name the tuned baseline in ticket\.from"):
        attach("partial_transfer", make_llama(), make_ticket(IDS))


def test_a_row_beyond_the_vocabulary_is_refused(make_llama, make_ticket):
    with pytest.raises(MethodError, match="row 200 of input_embedding, which has 200 rows"):
        attach("partial_tuning", make_llama(), make_ticket([3, 200]))


def test_the_loss_gradient_of_a_ticket_row_equals_that_of_the_whole_embedding(make_llama, ticket):
    """Same function, same derivative: rows of the (V, D) gradient are the (K, D) gradient."""
    ids = torch.tensor([[1, 7, 3, 7, 50, 199, 2]])
    whole, rows = make_llama(), make_llama()
    whole.get_input_embeddings().weight.requires_grad_(True)
    whole(ids, labels=ids).loss.backward()
    _, attached = attach("partial_tuning", rows, ticket)
    attached(ids, labels=ids).loss.backward()
    (delta,) = trainable_parameters(attached).values()
    assert torch.allclose(delta.grad, whole.get_input_embeddings().weight.grad[IDS], atol=1e-7)


def test_a_batch_without_ticket_tokens_still_gives_a_gradient(make_llama, ticket):
    _, attached = attach("partial_tuning", make_llama(), ticket)
    ids = torch.tensor([[1, 50, 51]])
    attached(ids, labels=ids).loss.backward()
    (delta,) = trainable_parameters(attached).values()
    assert torch.equal(delta.grad, torch.zeros(len(IDS), D))


def test_a_state_of_another_method_is_refused(make_llama, ticket):
    _, lora = attach("lora", make_llama(), ticket)
    with pytest.raises(MethodError, match="does not fit"):
        load_state(lora, {"delta_KD": torch.zeros(4, D)})


def test_an_unknown_method_names_the_closest_one():
    with pytest.raises(ConfigError, match="Did you mean 'lora'"):
        build_method("lorra", {})


def test_lora_on_a_part_of_the_layers_adapts_those_alone(make_llama):
    for part, layers in (((0, 2), {"0"}), ((1, 2), {"1"}), ((0, 1), {"0", "1"})):
        _, model = attach("lora", make_llama(), None, layer_part=part)
        names = trainable_parameters(model)
        assert {name.split(".layers.")[1].split(".")[0] for name in names} == layers
    with pytest.raises(MethodError, match=r"layer_part: \[2, 3\] adapts no layer: the model has 2"):
        attach("lora", make_llama(), None, layer_part=(2, 3))


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_that_can_be_merged_says_so_and_can(make_llama, ticket, name):
    method, model = attach(name, make_llama(), ticket)
    assert (method.merge(model) is None) == (method.no_merge is not None)


BY_PEFT = {
    "lora": lambda modules: ("lora", {"target_modules": modules}),
    "LORA": lambda modules: _by_peft("LORA", modules),
    "DoRA": lambda modules: _by_peft("LORA", modules, use_dora=True),
    "OFT": lambda modules: _by_peft("OFT", modules),
}


def _by_peft(kind, modules, **fields):
    return "peft", {"peft_type": kind, "peft_config": {"target_modules": list(modules), **fields}}


@pytest.mark.parametrize("kind", BY_PEFT)
@pytest.mark.parametrize(
    "modules", [("embed_tokens",), ("lm_head",), ("embed_tokens", "lm_head"), ("q_proj",)]
)
def test_an_adapter_of_a_tied_matrix_is_folded_into_the_side_it_stood_on(make_llama, kind, modules):
    ids = torch.tensor([[1, 7, 3, 50, 199, 2]])
    base = make_llama(tied=True)
    shared = base.get_input_embeddings().weight.detach().clone()
    name, fields = BY_PEFT[kind](modules)
    method, model = attach(name, base, None, **fields)
    assert method.no_merge is None
    randomize(model)
    expected = model.eval()(ids).logits
    merged = method.merge(model)
    assert torch.allclose(merged.eval()(ids).logits, expected, atol=1e-5)
    sides = {
        "embed_tokens": merged.get_input_embeddings(),
        "lm_head": merged.get_output_embeddings(),
    }
    for side, module in sides.items():
        assert torch.equal(module.weight, shared) is (side not in modules)
    assert is_tied(merged) is (modules == ("q_proj",))
    assert merged.config.tie_word_embeddings is is_tied(merged)


@pytest.mark.parametrize("kind", ["lora", "LORA"])
def test_a_second_step_trains_on_what_a_tied_first_step_left(make_llama, kind):
    ids = torch.tensor([[1, 7, 3, 50, 199, 2]])
    name, fields = BY_PEFT[kind](("embed_tokens",))
    method, model = attach(name, make_llama(tied=True), None, **fields)
    randomize(model)
    expected = model.eval()(ids).logits
    _, second = attach(name, method.merge(model), None, **fields)
    assert torch.allclose(second.eval()(ids).logits, expected, atol=1e-5)
