"""The loop in one process: schedule, loss, divergence, logits at labels, accumulation."""

import math

import pytest
import torch
import torch.nn.functional as F
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from ksl_bench.config import TrainSpec
from ksl_bench.data.batching import Encoded, collate
from ksl_bench.methods import build_method
from ksl_bench.training.engine import join_process_group
from ksl_bench.training.loop import LabelPositions, Run, Worker, learning_rate_at

EXAMPLES = [
    Encoded((1, *range(5 + i, 9 + i)), (*range(30 + i, 32 + i + i % 3), 2)) for i in range(32)
]


class NoCheckpoints:
    def __init__(self):
        self.saved = []

    def latest(self):
        return None

    def save(self, step, state, shard):
        self.saved.append(step)


def train(model, *, method="full", **fields):
    join_process_group()
    spec = TrainSpec(
        **{"learning_rate": 1e-2, "steps": 4, "global_batch_size": 8, "micro_batch_size": 8}
        | fields
    )
    attached = build_method(method, {}).attach(model, ticket=None, seed=0)
    log, checkpoints = [], NoCheckpoints()
    run = Run(attached, EXAMPLES, spec=spec, zero_stage=0, seed=0, pad_id=0, worker=Worker())
    return run.train(checkpoints, log.append), log, checkpoints


@pytest.mark.parametrize(
    ("schedule", "reference"),
    [("linear", get_linear_schedule_with_warmup), ("cosine", get_cosine_schedule_with_warmup)],
)
def test_the_schedule_is_that_of_transformers(schedule, reference):
    spec = TrainSpec(learning_rate=0.5, steps=50, schedule=schedule, warmup_ratio=0.1)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = reference(optimizer, num_warmup_steps=5, num_training_steps=50)
    expected = []
    for _ in range(50):
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    found = [learning_rate_at(step, spec=spec, total_steps=50) for step in range(50)]
    assert found == pytest.approx(expected)


def test_logits_at_label_positions_are_those_of_the_whole_model(make_llama):
    model = make_llama()
    batch = collate(EXAMPLES[:4], pad_id=0)
    mask = batch.labels_BL != -100
    whole = model(batch.input_ids_BL).logits[mask]
    positions = LabelPositions(model)
    some = positions.logits(model, batch.input_ids_BL, mask)
    assert some.shape == (int(mask.sum()), 200)
    assert torch.allclose(some, whole, atol=1e-6)
    positions.remove()
    assert model(batch.input_ids_BL).logits.shape[1] == batch.input_ids_BL.shape[1]


def test_the_first_loss_is_the_mean_cross_entropy_over_the_labels(make_llama):
    model = make_llama()
    _, log, _ = train(make_llama(), global_batch_size=32, micro_batch_size=32, steps=1)
    batch = collate(EXAMPLES, pad_id=0)
    with torch.no_grad():
        logits = model(batch.input_ids_BL).logits
    expected = F.cross_entropy(logits.flatten(0, 1), batch.labels_BL.flatten(), ignore_index=-100)
    assert log[0].loss == pytest.approx(expected.item(), abs=1e-5)


def test_accumulation_changes_neither_losses_nor_result(make_llama):
    whole, one, _ = train(make_llama(), micro_batch_size=8)
    parts, four, _ = train(make_llama(), micro_batch_size=2)
    assert [m.loss for m in four] == pytest.approx([m.loss for m in one], abs=1e-5)
    for name, value in whole.state.items():
        assert torch.allclose(parts.state[name], value, atol=1e-4), name


def test_the_same_run_twice_gives_the_same_bits(make_llama):
    first, one, _ = train(make_llama(), method="lora")
    second, two, _ = train(make_llama(), method="lora")
    assert [m.loss for m in one] == [m.loss for m in two]
    assert all(torch.equal(first.state[name], second.state[name]) for name in first.state)


def test_gradient_checkpointing_changes_no_loss(make_llama):
    _, plain, _ = train(make_llama(), method="lora")
    _, saved, _ = train(make_llama(), method="lora", gradient_checkpointing=True)
    assert [m.loss for m in saved] == pytest.approx([m.loss for m in plain], abs=1e-6)


def test_checkpoints_come_every_n_steps_but_not_at_the_end(make_llama):
    _, _, checkpoints = train(make_llama(), steps=6, checkpoint_every_steps=2)
    assert checkpoints.saved == [2, 4]


def test_a_loss_that_is_not_finite_ends_the_run_as_diverged(make_llama):
    model = make_llama()
    with torch.no_grad():
        model.get_output_embeddings().weight[0, 0] = math.nan
    outcome, log, _ = train(model)
    assert (outcome.status, outcome.state, len(log)) == ("diverged", None, 1)
    assert "nan" in outcome.reason


def test_a_loss_far_above_that_of_guessing_ends_the_run_as_diverged(make_llama):
    outcome, log, _ = train(make_llama(), learning_rate=1.0, divergence_factor=1.5, steps=20)
    assert outcome.status == "diverged"
    assert len(log) < 20
    assert f"the limit {1.5 * math.log(200):.4g}" in outcome.reason
