"""What probes do to a trained change of rows: where it acts, and its random twin."""

import pytest
import torch

from ksl_bench.methods import build_method
from ksl_bench.methods.base import trainable_parameters
from ksl_bench.methods.partial import Activity, randomize_changes, row_deltas

IDS = [7, 3, 199]


@pytest.fixture
def model(make_llama, make_ticket):
    attached = build_method("partial_tuning", {}).attach(
        make_llama(), ticket=make_ticket(IDS), seed=0
    )
    (delta,) = trainable_parameters(attached).values()
    torch.nn.init.normal_(delta, generator=torch.manual_seed(1))
    return attached


def embedded(model, ids, activity=None):
    (wrapped,) = row_deltas(model).values()
    wrapped.activity = activity
    return wrapped(ids)


def test_a_change_acts_only_where_it_is_active(model):
    ids = torch.tensor([[7, 7, 50, 3], [3, 199, 7, 7]])
    whole = embedded(model, ids)
    (wrapped,) = row_deltas(model).values()
    base = wrapped.embedding(ids)
    activity = Activity(generated=False)
    mask = torch.tensor([[True, False, True, False], [False, False, True, True]])
    activity.begin(mask)
    found = embedded(model, ids, activity)
    assert torch.equal(found[mask], whole[mask])
    assert torch.equal(found[~mask], base[~mask])
    # the call after the prompts reads a generated token a row
    assert torch.equal(embedded(model, ids[:, :1], activity), base[:, :1])


def test_generated_text_alone_may_be_active_and_beams_share_their_prompts_mask(model):
    ids = torch.tensor([[7, 50], [3, 199]])
    activity = Activity(generated=True)
    activity.begin(torch.zeros(2, 2, dtype=torch.bool))
    (wrapped,) = row_deltas(model).values()
    beams = ids.repeat_interleave(3, dim=0)
    assert torch.equal(embedded(model, beams, activity), wrapped.embedding(beams))
    assert torch.equal(embedded(model, beams[:, :1], activity), embedded(model, beams[:, :1], None))


def test_a_random_change_keeps_the_length_of_every_row_and_nothing_else(model):
    (delta,) = trainable_parameters(model).values()
    learned = delta.detach().clone()
    randomize_changes(model, seed=3)
    assert torch.allclose(delta.norm(dim=1), learned.norm(dim=1), rtol=1e-5)
    assert (torch.cosine_similarity(delta, learned).abs() < 0.6).all()
    first = delta.detach().clone()
    with torch.no_grad():
        delta.copy_(learned)
    randomize_changes(model, seed=3)
    assert torch.equal(delta, first)
    randomize_changes(model, seed=4)
    assert not torch.equal(delta, first)
