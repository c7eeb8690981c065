"""A worker is warm: when a run is over, nothing may keep its model."""

import gc
import weakref

import pytest

from ksl_bench.config import TrainSpec
from ksl_bench.data.batching import Encoded
from ksl_bench.methods import build_method
from ksl_bench.methods.base import trainable_parameters
from ksl_bench.training.engine import join_process_group
from ksl_bench.training.loop import Run, Worker

# What DeepSpeed's ZeRO uses of PyTorch.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`torch.distributed.:FutureWarning"),
]

EXAMPLES = [Encoded((1, 7, 3, 40 + i), (50 + i, 2)) for i in range(8)]
OUTSIDE_THE_VOCABULARY = [Encoded((1, 7, 3, 100_000), (50, 2)) for _ in range(8)]


class NoCheckpoints:
    def latest(self):
        return None

    def save(self, step, state, shard):
        pass


@pytest.fixture
def references(make_llama, make_ticket):
    """Return what trains one model and returns weak references to it and to what trained."""
    join_process_group()
    spec = TrainSpec(learning_rate=1e-2, steps=3, global_batch_size=4, micro_batch_size=4)

    def train(method, zero_stage, examples=EXAMPLES):
        method = build_method(method, {})
        ticket = make_ticket([7, 3, 40]) if method.needs_ticket else None
        model = method.attach(make_llama(), ticket=ticket, seed=0)
        found = [weakref.ref(one) for one in (model, *trainable_parameters(model).values())]
        run = Run(
            model,
            examples,
            spec=spec,
            zero_stage=zero_stage,
            seed=0,
            pad_id=0,
            worker=Worker(),
        )
        # An error is caught here, for its traceback holds the model.
        try:
            failed = run.train(NoCheckpoints(), lambda metrics: None).status != "finished"
        except IndexError:
            failed = True
        return found, failed

    return train


@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
@pytest.mark.parametrize("method", ["partial_tuning", "full"])
def test_a_finished_run_leaves_no_model_behind(references, method, zero_stage):
    runs = [references(method, zero_stage) for _ in range(2)]
    gc.collect()
    assert not any(failed for _, failed in runs)
    assert [one() for found, _ in runs for one in found if one() is not None] == []


@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_a_run_that_fails_in_its_forward_pass_leaves_no_model_behind(references, zero_stage):
    found, failed = references("partial_tuning", zero_stage, OUTSIDE_THE_VOCABULARY)
    gc.collect()
    assert failed
    assert [one() for one in found if one() is not None] == []


def test_a_run_after_a_failed_one_trains(references):
    references("partial_tuning", 3, OUTSIDE_THE_VOCABULARY)
    _, failed = references("partial_tuning", 3)
    assert not failed
