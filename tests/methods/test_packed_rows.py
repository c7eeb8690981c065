"""Rows of several trials on one embedding: each example sees those of its own trial, and moves no other."""

import pytest
import torch

from ksl_bench.errors import MethodError
from ksl_bench.methods.packed import attach_packed, has_dropout
from ksl_bench.methods.partial import RowDeltaEmbedding

TICKETS = [[7, 3, 199], [3], [0, 50, 7, 8]]
IDS_BL = torch.tensor([[7, 3, 50, 3], [3, 199, 0, 8], [7, 7, 7, 7], [50, 0, 3, 199]])
TRIALS_B = torch.tensor([1, 0, 2, 0])


@pytest.fixture
def model(make_llama):
    return make_llama()


@pytest.fixture
def packed(model, make_ticket):
    rows, _ = attach_packed(model, [make_ticket(one) for one in TICKETS])
    for number, delta in enumerate(rows.deltas):
        torch.nn.init.normal_(delta, generator=torch.manual_seed(number))
    rows.trials_B = TRIALS_B
    return rows


def alone(packed, trial):
    """The same change as partial tuning of one ticket has it."""
    one = RowDeltaEmbedding(packed.embedding, torch.tensor(TICKETS[trial]))
    one.delta_KD = packed.deltas[trial]
    return one


@pytest.mark.parametrize("scale", [None, 3.0])
def test_each_example_is_looked_up_as_its_trial_alone_would(packed, scale):
    if scale is not None:  # Gemma multiplies what it looks up
        packed.embedding.embed_scale = scale
    found = packed(IDS_BL)
    for example, trial in enumerate(TRIALS_B.tolist()):
        assert torch.equal(found[example], alone(packed, trial)(IDS_BL[example : example + 1])[0])


def test_a_gradient_reaches_the_rows_of_its_trial_and_no_others(packed):
    packed(IDS_BL)[:2].sum().backward()  # examples of trials 1 and 0
    width = packed.embedding.embedding_dim
    by_row = [delta.grad.sum(dim=1) / width for delta in packed.deltas]
    assert by_row[0].tolist() == [0, 1, 1]  # tokens 7, 3, 199 in [3, 199, 0, 8]
    assert by_row[1].tolist() == [2]  # token 3 in [7, 3, 50, 3]
    assert by_row[2].tolist() == [0, 0, 0, 0]
    assert packed.embedding.weight.grad is None


def test_a_batch_without_tokens_of_any_ticket_is_the_base_and_has_gradients(packed):
    ids = torch.full((4, 3), 100)
    found = packed(ids)
    assert torch.equal(found, packed.embedding(ids))
    found.sum().backward()
    assert all(torch.equal(one.grad, torch.zeros_like(one)) for one in packed.deltas)


def test_only_the_rows_train_and_a_fresh_pack_changes_nothing(make_llama, make_ticket):
    base, model = make_llama(), make_llama()
    rows, name = attach_packed(model, [make_ticket(one) for one in TICKETS])
    assert name == "model.embed_tokens"
    assert [one.shape for one in model.parameters() if one.requires_grad] == [
        (3, 32),
        (1, 32),
        (4, 32),
    ]
    rows.trials_B = TRIALS_B
    assert torch.equal(model(IDS_BL).logits, base(IDS_BL).logits)


def test_the_head_of_a_tied_model_stays(make_llama, make_ticket):
    model = make_llama(tied=True)
    rows, _ = attach_packed(model, [make_ticket(one) for one in TICKETS])
    assert model.get_output_embeddings().weight is rows.embedding.weight


def test_a_row_that_the_model_does_not_have_is_an_error(model, make_ticket):
    with pytest.raises(MethodError, match="the ticket names row 200"):
        attach_packed(model, [make_ticket([3]), make_ticket([200])])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, False),
        ({"attention_dropout": 0.1}, True),
        ({"resid_pdrop": 0.1}, True),
        ({"layerdrop": 0.5}, True),
        ({"router_jitter_noise": 0.01}, True),
        ({"text": {"attention_dropout": 0.1}}, True),
        ({"text": {"attention_dropout": 0.0}}, False),
    ],
)
def test_a_model_that_draws_at_random_is_noticed(model, fields, expected):
    for name, value in fields.items():
        setattr(model.config, name, value)
    assert has_dropout(model) is expected


def test_a_layer_that_drops_is_noticed(model):
    model.add_module("drops", torch.nn.Dropout(0.1))
    assert has_dropout(model)
