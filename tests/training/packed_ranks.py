"""A pack and the same runs alone on the ranks that a launcher started; prints how far apart they are."""

import json

import torch
import torch.distributed as dist
from zero_matrix import Memory, examples, model, ticket

from ksl_bench.config import TrainSpec
from ksl_bench.methods.packed import attach_packed
from ksl_bench.methods.partial import PartialTuning
from ksl_bench.training.engine import import_deepspeed, join_process_group
from ksl_bench.training.loop import Run, Worker
from ksl_bench.training.packed import PackedRun, PackedTrial

RATES, SEEDS = (0.3, 0.05), (0, 3)


def spec(rate: float) -> TrainSpec:
    return TrainSpec(
        learning_rate=rate, steps=6, global_batch_size=8, micro_batch_size=2,
        weight_decay=0.1, max_gradient_norm=0.05, checkpoint_every_steps=3,
    )  # fmt: skip


def fresh() -> torch.nn.Module:
    return model(tied=False, dtype=torch.float32)


def main() -> None:
    import_deepspeed()
    join_process_group()
    worker = Worker(dist.get_rank(), dist.get_world_size())
    given = ticket("input_embedding")
    together = fresh()
    packed, name = attach_packed(together, [given, given])
    logs, kept = [[], []], [Memory(), Memory()]
    trials = [
        PackedTrial(spec(RATES[one]), SEEDS[one], kept[one], logs[one].append) for one in (0, 1)
    ]
    ended = PackedRun(together, packed, name, examples(), trials, pad_id=0, worker=worker).train()
    for one in (0, 1):
        losses, rest = alone(one, worker, Memory()), alone(one, worker, kept[one])
        found = [metrics.loss for metrics in logs[one]]
        report = {
            "losses": max(abs(a - b) for a, b in zip(found, losses[0], strict=True)),
            "resumed": max(abs(a - b) for a, b in zip(found[3:], rest[0], strict=True)),
            "rows": max(
                (ended[one].state[name] - value).abs().max().item()
                for name, value in losses[1].items()
            ),
        }
        if worker.leads:
            print("TRIAL " + json.dumps(report), flush=True)
    dist.barrier()
    dist.destroy_process_group()


def alone(one: int, worker: Worker, memory: Memory) -> tuple[list[float], dict[str, torch.Tensor]]:
    attached = PartialTuning().attach(fresh(), ticket=ticket("input_embedding"), seed=0)
    losses: list[float] = []
    run = Run(
        attached, examples(), spec=spec(RATES[one]), zero_stage=0, seed=SEEDS[one], pad_id=0,
        worker=worker,
    )  # fmt: skip
    outcome = run.train(memory, lambda metrics: losses.append(metrics.loss))
    assert outcome.state is not None
    return losses, outcome.state


if __name__ == "__main__":
    main()
