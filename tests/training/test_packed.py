"""Several tickets in one batch: each trial as if it were alone."""

import pytest
import torch

from ksl_bench.config import TrainSpec
from ksl_bench.data.batching import Encoded
from ksl_bench.methods.packed import attach_packed
from ksl_bench.methods.partial import PartialTuning
from ksl_bench.training.engine import import_deepspeed, join_process_group
from ksl_bench.training.loop import Checkpoint, Run, Worker
from ksl_bench.training.packed import PackedRun, PackedTrial

EXAMPLES = [
    Encoded((1, *range(5 + i, 9 + i)), (*range(30 + i, 32 + i + i % 3), 2)) for i in range(32)
]
TICKETS = [[5, 6, 7], list(range(8, 40)), [2, 31]]
RATES = [0.3, 0.03, 0.1]
SEEDS = [0, 1, 7]


@pytest.fixture(autouse=True)
def group():
    import_deepspeed()
    join_process_group()


class Kept:
    """Checkpoints in memory."""

    def __init__(self, *saved):
        self.saved = list(saved)

    def latest(self):
        return self.saved[-1] if self.saved else None

    def save(self, step, state, shard):
        self.saved.append(Checkpoint(step, state, shard))


def spec(rate, **fields):
    usual = {"steps": 8, "global_batch_size": 8, "micro_batch_size": 4}
    return TrainSpec(learning_rate=rate, **{**usual, "checkpoint_every_steps": 3, **fields})


def alone(make_llama, make_ticket, number, *, kept=None, **fields):
    model = PartialTuning().attach(make_llama(), ticket=make_ticket(TICKETS[number]), seed=0)
    log, kept = [], kept or Kept()
    run = Run(
        model,
        EXAMPLES,
        spec=spec(RATES[number], **fields),
        zero_stage=0,
        seed=SEEDS[number],
        pad_id=0,
        worker=Worker(),
    )
    return run.train(kept, log.append), [one.loss for one in log], kept


def pack(make_llama, make_ticket, *, kept=None, after_step_of_second=None, own=None, **fields):
    model = make_llama()
    packed, name = attach_packed(model, [make_ticket(one) for one in TICKETS])
    logs, kept = [[], [], []], kept or [Kept(), Kept(), Kept()]

    def second(metrics):
        logs[1].append(metrics)
        if after_step_of_second is not None:
            after_step_of_second(packed, metrics)

    on_step = [logs[0].append, second, logs[2].append]
    trials = [
        PackedTrial(spec(RATES[number], **one), SEEDS[number], kept[number], on_step[number])
        for number, one in enumerate(own or [fields] * 3)
    ]
    run = PackedRun(model, packed, name, EXAMPLES, trials, pad_id=0, worker=Worker())
    return run.train(), [[one.loss for one in log] for log in logs], kept


OWN = [
    {"schedule": "cosine", "weight_decay": 0.1},
    {"schedule": "constant", "warmup_ratio": 0.5, "max_gradient_norm": 0.01},
    {"warmup_ratio": 0.0, "max_gradient_norm": 0.1},
]
"""What each of the three trials may have for itself."""


def test_each_trial_has_its_own_schedule_decay_and_bound(make_llama, make_ticket):
    outcomes, losses, _ = pack(make_llama, make_ticket, own=OWN)
    for number, fields in enumerate(OWN):
        wanted, one_by_one, _ = alone(make_llama, make_ticket, number, **fields)
        assert losses[number] == pytest.approx(one_by_one, abs=1e-5)
        for name, value in wanted.state.items():
            torch.testing.assert_close(outcomes[number].state[name], value, atol=1e-5, rtol=1e-4)


def test_the_side_that_is_read_alone_changes_in_a_tied_model(make_llama, make_ticket):
    def tied():
        return make_llama(tied=True)

    _, losses, _ = pack(tied, make_ticket)
    for number in range(3):
        assert losses[number] == pytest.approx(alone(tied, make_ticket, number)[1], abs=1e-5)


@pytest.mark.parametrize("fields", [{}, {"max_gradient_norm": 0.01}, {"weight_decay": 0.1}])
def test_losses_and_rows_are_those_of_runs_alone(make_llama, make_ticket, fields):
    outcomes, losses, _ = pack(make_llama, make_ticket, **fields)
    for number in range(3):
        wanted, one_by_one, _ = alone(make_llama, make_ticket, number, **fields)
        assert losses[number] == pytest.approx(one_by_one, abs=1e-5)
        assert outcomes[number].state.keys() == wanted.state.keys()
        for name, value in wanted.state.items():
            assert bool(value.abs().sum() > 0)
            torch.testing.assert_close(outcomes[number].state[name], value, atol=1e-5, rtol=1e-4)


def test_a_trial_that_diverges_leaves_the_others_as_they_were(make_llama, make_ticket):
    wanted = [alone(make_llama, make_ticket, number)[1] for number in range(3)]

    def spoil(packed, metrics):
        if metrics.step == 3:
            packed.deltas[1].data.fill_(float("nan"))

    outcomes, losses, _ = pack(make_llama, make_ticket, after_step_of_second=spoil)
    assert [one.status for one in outcomes] == ["finished", "diverged", "finished"]
    assert outcomes[1].reason == "the loss is nan at step 4"
    assert outcomes[1].state is None
    assert len(losses[1]) == 4
    for number in (0, 2):
        assert losses[number] == pytest.approx(wanted[number], abs=1e-5)


def test_a_pack_goes_on_from_its_trials_checkpoints(make_llama, make_ticket):
    outcomes, losses, kept = pack(make_llama, make_ticket)
    assert [[one.step for one in trial.saved] for trial in kept] == [[3, 6]] * 3
    cut = [Kept(trial.saved[0]) for trial in kept]
    again, rest, _ = pack(make_llama, make_ticket, kept=cut)
    assert rest == [trial[3:] for trial in losses]
    for one, two in zip(outcomes, again, strict=True):
        assert all(torch.equal(one.state[name], two.state[name]) for name in one.state)


def test_a_trial_goes_on_alone_from_a_checkpoint_of_the_pack(make_llama, make_ticket):
    _, losses, kept = pack(make_llama, make_ticket)
    for number in range(3):
        _, rest, _ = alone(make_llama, make_ticket, number, kept=Kept(kept[number].saved[0]))
        assert rest == pytest.approx(losses[number][3:], abs=1e-5)


def test_checkpoints_of_different_steps_are_left_alone(make_llama, make_ticket):
    _, losses, kept = pack(make_llama, make_ticket)
    mixed = [Kept(kept[0].saved[0]), Kept(kept[1].saved[1]), Kept(kept[2].saved[0])]
    _, again, _ = pack(make_llama, make_ticket, kept=mixed)
    assert again == losses
