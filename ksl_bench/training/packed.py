"""Several runs of partial tuning in one batch, on one copy of the frozen base.

Each trial has its own examples in its own order, mean loss, learning rate and clipping, and no parameter
of another's. What is summed for the backward pass are the trials' mean losses; since the parameters are
disjoint, each gets the gradient that it gets alone. ZeRO stage 0 in fp32 only: there DeepSpeed leaves the
gradients whole, so that each trial's can be bounded by itself.

Shapes: B examples of a trial's micro-batch, T trials, L length, N positions with a label, V vocabulary.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from ksl_bench.config import TrainSpec
from ksl_bench.data.batching import IGNORED, Encoded, collate, global_batches
from ksl_bench.methods.packed import PackedRows
from ksl_bench.training.engine import restore_shard, save_shard, start_engine, stop_engine
from ksl_bench.training.loop import (
    Checkpoint,
    Checkpoints,
    LabelPositions,
    StepMetrics,
    TrainOutcome,
    Worker,
    divergence,
    learning_rate_at,
    loss_limit,
)


@dataclass(frozen=True, slots=True)
class PackedTrial:
    """One run of a pack."""

    spec: TrainSpec
    """It differs from the others' in learning rate, schedule, warm-up and weight decay at most."""
    seed: int
    checkpoints: Checkpoints
    on_step: Callable[[StepMetrics], None]


class _Live:
    """A trial that has not diverged."""

    def __init__(self, number: int, trial: PackedTrial, delta_KD: nn.Parameter) -> None:
        self.number, self.trial, self.delta_KD = number, trial, delta_KD
        self.last_loss = math.nan
        self.indices: list[int] = []


class PackedRun:
    """A pack in progress on this worker."""

    def __init__(
        self,
        model: nn.Module,
        packed: PackedRows,
        name: str,
        examples: Sequence[Encoded],
        trials: Sequence[PackedTrial],
        *,
        pad_id: int,
        worker: Worker,
    ) -> None:
        """Prepare a pack; nothing is trained yet.

        Args:
            model: The base model with the packed rows; it is consumed.
            packed: The wrapper of its embedding.
            name: Of the embedding, for the name that a trial's parameter has in a run alone.
            examples: All training examples, the same for all trials.
            trials: In the order of the packed rows.
            pad_id: Fills short rows.
            worker: Which rank this is, and its device.
        """
        self.model, self.packed, self.examples = model, packed, examples
        self.trials, self.pad_id, self.worker = trials, pad_id, worker
        self.parameter = f"{name}.delta_KD"
        self.spec = trials[0].spec
        self.total_steps = self.spec.total_steps(examples=len(examples))

    def train(self) -> list[TrainOutcome]:
        """Train all trials to the end, from their checkpoints if all have one of the same step."""
        live = [
            _Live(number, trial, delta_KD)
            for number, (trial, delta_KD) in enumerate(
                zip(self.trials, self.packed.deltas, strict=True)
            )
        ]
        begin, found = self._resume(live)
        labels = LabelPositions(self.model)
        engine = start_engine(
            self.model,
            self.spec,
            zero_stage=0,
            world_size=self.worker.world_size,
            device=self.worker.device,
            groups=[
                {"params": [one.delta_KD], "weight_decay": one.trial.spec.weight_decay}
                for one in live
            ],
        )
        try:
            for one, checkpoint in zip(live, found, strict=False):
                restore_shard(engine, checkpoint.shard, [one.delta_KD])
            return self._steps(engine, labels, live, begin)
        finally:
            labels.remove()
            stop_engine(engine)
            del engine
            gc.collect()

    def _resume(self, live: Sequence[_Live]) -> tuple[int, list[Checkpoint]]:
        """Load every trial's rows from its checkpoint, or none: a pack walks in step."""
        found = [checkpoint for one in live if (checkpoint := one.trial.checkpoints.latest())]
        if len(found) < len(live) or len({one.step for one in found}) > 1:
            return 0, []
        for one, checkpoint in zip(live, found, strict=True):
            with torch.no_grad():
                one.delta_KD.copy_(checkpoint.state[self.parameter])
        return found[0].step, found

    def _steps(
        self, engine: Any, labels: LabelPositions, live: Sequence[_Live], begin: int
    ) -> list[TrainOutcome]:
        engine.train()
        limit = loss_limit(self.model, self.spec)
        outcomes: dict[int, TrainOutcome] = {}
        orders = [
            global_batches(
                len(self.examples),
                global_batch_size=self.spec.global_batch_size,
                steps=self.total_steps,
                seed=one.trial.seed,
            )
            for one in live
        ]
        for step, batches in enumerate(zip(*orders, strict=True)):
            if step < begin:
                continue
            going = [one for one in live if one.number not in outcomes]
            if not going:
                break
            for one in going:
                one.indices = batches[one.number]
            for one, metrics in zip(going, self._step(engine, labels, step, going), strict=True):
                one.last_loss = metrics.loss
                one.trial.on_step(metrics)
                reason = divergence(metrics, limit)
                if reason is not None:
                    outcomes[one.number] = TrainOutcome("diverged", reason, None, metrics.loss)
            self._save(engine, [one for one in going if one.number not in outcomes], step + 1)
        return [outcomes.get(one.number) or self._ended(one) for one in live]

    def _ended(self, one: _Live) -> TrainOutcome:
        value = one.delta_KD.detach().to("cpu", torch.float32, copy=True)
        if not bool(value.isfinite().all()):
            reason = "the trained parameters are not finite"
            return TrainOutcome("diverged", reason, None, one.last_loss)
        return TrainOutcome("finished", None, {self.parameter: value}, one.last_loss)

    def _save(self, engine: Any, going: Sequence[_Live], done: int) -> None:
        """Write a checkpoint of each trial, as it would write its own: alone it goes on from there."""
        if done % self.spec.checkpoint_every_steps or done >= self.total_steps:
            return
        for one in going:
            state = {self.parameter: one.delta_KD.detach().to("cpu", torch.float32, copy=True)}
            one.trial.checkpoints.save(done, state, save_shard(engine, [one.delta_KD]))

    def _step(
        self, engine: Any, labels: LabelPositions, step: int, going: Sequence[_Live]
    ) -> list[StepMetrics]:
        """Take one optimizer step; return what each trial showed."""
        started = time.perf_counter()
        rates = [
            learning_rate_at(step, spec=one.trial.spec, total_steps=self.total_steps)
            for one in going
        ]
        for one, rate in zip(going, rates, strict=True):
            engine.optimizer.param_groups[one.number]["lr"] = rate
        batches = [[self.examples[index] for index in one.indices] for one in going]
        counts = [sum(len(one.response_ids) for one in batch) for batch in batches]
        losses_T = self._accumulate(engine, labels, going, batches, counts)
        if self.worker.world_size > 1:
            dist.all_reduce(losses_T)
        seconds = (time.perf_counter() - started) / len(going)
        return [
            StepMetrics(
                step=step + 1,
                loss=losses_T[place].item() / counts[place],
                learning_rate=rates[place],
                gradient_norm=None,  # as a run alone in fp32 under stage 0
                tokens=sum(len(one) for one in batches[place]),
                seconds=seconds,
            )
            for place in range(len(going))
        ]

    def _accumulate(
        self,
        engine: Any,
        labels: LabelPositions,
        going: Sequence[_Live],
        batches: Sequence[Sequence[Encoded]],
        counts: Sequence[int],
    ) -> Tensor:
        """Run all micro-batches and step; return each trial's summed loss on this rank, float64, (T,)."""
        world, size = self.worker.world_size, self.spec.micro_batch_size
        accumulation = self.spec.accumulation_steps(world_size=world)
        device = self.worker.device
        losses_T = torch.zeros(len(going), dtype=torch.float64, device=device)
        numbers = torch.tensor([one.number for one in going], device=device)
        places_B = torch.arange(len(going), device=device).repeat_interleave(size)
        for index in range(accumulation):
            first = (index * world + self.worker.rank) * size
            micro = collate(
                [one for batch in batches for one in batch[first : first + size]],
                pad_id=self.pad_id,
            )
            targets_BL = micro.labels_BL.to(device)
            mask_BL = targets_BL != IGNORED
            self.packed.trials_B = numbers[places_B]
            logits_NV = labels.logits(engine, micro.input_ids_BL.to(device), mask_BL)
            each_N = F.cross_entropy(logits_NV.float(), targets_BL[mask_BL], reduction="none")
            whose_N = places_B[:, None].expand_as(targets_BL)[mask_BL]
            sums_T = torch.zeros(len(going), device=device).index_add(0, whose_N, each_N)
            means = sums_T / torch.tensor(counts, device=device)
            engine.backward(means.sum() * world * accumulation)
            if index == accumulation - 1:
                for one in going:
                    # DeepSpeed's own formula, over this trial's rows alone.
                    nn.utils.clip_grad_norm_([one.delta_KD], one.trial.spec.max_gradient_norm)
            engine.step()
            losses_T += sums_T.detach().double()
        return losses_T
