"""One run on one worker: a DeepSpeed engine, its steps, its checkpoints.

The function is plain: every rank calls `train` with the same arguments, under Ray Train, under torchrun
or alone. The order of the examples, the schedule and the dropout masks are functions of the seed and
the step, so a resumed run goes on exactly where it was.

Shapes: B examples of a micro-batch, L length, D model width, V vocabulary, N positions with a label.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from ksl_bench.config import TrainSpec
from ksl_bench.data.batching import IGNORED, Encoded, collate, global_batches
from ksl_bench.methods.base import load_state
from ksl_bench.training.engine import (
    gather_trainables,
    restore_shard,
    save_shard,
    set_learning_rate,
    start_engine,
    stop_engine,
)


@dataclass(frozen=True, slots=True)
class Worker:
    """One of the processes that train together."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this is the rank that writes and reports."""
        return self.rank == 0


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """What one optimizer step showed; a line of metrics.jsonl."""

    step: int
    """From 1."""
    loss: float
    """Mean cross entropy over the labels of the global batch, in nats."""
    learning_rate: float
    gradient_norm: float | None
    """Before clipping; None where DeepSpeed does not compute it (stage 0 in fp32)."""
    tokens: int
    """Input tokens of the global batch, padding left out."""
    seconds: float
    """Wall time of the step."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A place to go on from."""

    step: int
    state: dict[str, Tensor]
    """What trains, whole, float32."""
    shard: bytes
    """This rank's fp32 masters and optimizer state."""


class Checkpoints(Protocol):
    """Where checkpoints live; called by every rank."""

    def latest(self) -> Checkpoint | None:
        """Return the newest whole one."""
        ...

    def save(self, step: int, state: dict[str, Tensor], shard: bytes) -> None:
        """Write one; it counts once every rank's part is there."""
        ...


@dataclass(frozen=True, slots=True)
class TrainOutcome:
    """How a run ended."""

    status: Literal["finished", "diverged"]
    reason: str | None
    state: dict[str, Tensor] | None
    """What was trained, float32 on the CPU; None unless finished."""
    last_loss: float


class LabelPositions:
    """Lets a model compute logits only where there are labels.

    A hook before the output head picks the N labelled positions of the (B, L, D) hidden states, so that
    the (B, L, V) logits, which dominate the memory of a small model, never exist. It works for every
    architecture and method, since whatever the model does with its logits comes after.
    """

    def __init__(self, model: nn.Module) -> None:
        """Hook the output head of a model."""
        self._mask_BL: Tensor | None = None
        head: nn.Module = model.get_output_embeddings()  # type: ignore[operator]
        self._hook = head.register_forward_pre_hook(self._select)

    def _select(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if self._mask_BL is None:
            return None
        # Prompt tuning puts virtual tokens before the input: labels are those of the last L positions.
        hidden_BLD = inputs[0][:, -self._mask_BL.shape[1] :]
        return (hidden_BLD[self._mask_BL].unsqueeze(0), *inputs[1:])

    def logits(self, forward: Any, input_ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """Run the model; return its logits at the masked positions, shape (N, V)."""
        self._mask_BL = mask_BL
        try:
            logits_NV: Tensor = forward(input_ids=input_ids_BL, use_cache=False).logits[0]
        finally:
            self._mask_BL = None
        return logits_NV

    def remove(self) -> None:
        """Take the hook away."""
        self._hook.remove()


def learning_rate_at(step: int, *, spec: TrainSpec, total_steps: int) -> float:
    """Return the learning rate of a step, counted from 0.

    Warm-up rises linearly over `warmup_ratio` of the steps, then the schedule falls to 0 at the end; as
    `transformers.get_scheduler` has it.
    """
    warmup = math.ceil(spec.warmup_ratio * total_steps)
    if step < warmup:
        return spec.learning_rate * step / max(1, warmup)
    progress = (step - warmup) / max(1, total_steps - warmup)
    if spec.schedule == "linear":
        return spec.learning_rate * (1 - progress)
    if spec.schedule == "cosine":
        return spec.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
    return spec.learning_rate


def loss_limit(model: nn.Module, spec: TrainSpec) -> float:
    """Return the loss above which a run has diverged: so many times that of blind guessing, ln V."""
    vocabulary: int = model.config.get_text_config().vocab_size  # type: ignore[union-attr,operator]
    return spec.divergence_factor * math.log(vocabulary)


def divergence(metrics: StepMetrics, limit: float) -> str | None:
    """Return why a run has diverged, None while it has not; the same before and after a resume."""
    if not math.isfinite(metrics.loss):
        return f"the loss is {metrics.loss} at step {metrics.step}"
    if metrics.loss > limit:
        return f"the loss is {metrics.loss:.4g} at step {metrics.step}, the limit {limit:.4g}"
    return None


class Run:
    """One run in progress on this worker."""

    def __init__(
        self,
        model: nn.Module,
        examples: Sequence[Encoded],
        *,
        spec: TrainSpec,
        zero_stage: int,
        seed: int,
        pad_id: int,
        worker: Worker,
    ) -> None:
        """Prepare a run; nothing is trained yet.

        Args:
            model: The base model with a method attached; it is consumed.
            examples: All training examples; every rank takes its share of each batch.
            spec: Steps, schedule, batch sizes, precision.
            zero_stage: 0 to 3.
            seed: Of the order of examples and of dropout.
            pad_id: Fills short rows.
            worker: Which rank this is, and its device.
        """
        self.examples, self.spec, self.seed = examples, spec, seed
        self.pad_id, self.worker = pad_id, worker
        self.zero_stage = zero_stage
        self.model = model
        self.total_steps = spec.total_steps(examples=len(examples))
        self.loss_limit = loss_limit(model, spec)

    def train(
        self, checkpoints: Checkpoints, on_step: Callable[[StepMetrics], None]
    ) -> TrainOutcome:
        """Train to the end, from the newest checkpoint if there is one."""
        if self.spec.gradient_checkpointing:
            self.model.gradient_checkpointing_enable()  # type: ignore[operator]
            self.model.enable_input_require_grads()  # type: ignore[operator]
        checkpoint = checkpoints.latest()
        if checkpoint is not None:
            load_state(self.model, checkpoint.state)
        labels = LabelPositions(self.model)
        engine = start_engine(
            self.model,
            self.spec,
            zero_stage=self.zero_stage,
            world_size=self.worker.world_size,
            device=self.worker.device,
        )
        try:
            if checkpoint is not None:
                restore_shard(engine, checkpoint.shard)
            begin = checkpoint.step if checkpoint else 0
            return self._steps(engine, labels, checkpoints, on_step, begin)
        finally:
            labels.remove()
            stop_engine(engine)
            del engine
            gc.collect()

    def _steps(
        self,
        engine: Any,
        labels: LabelPositions,
        checkpoints: Checkpoints,
        on_step: Callable[[StepMetrics], None],
        begin: int,
    ) -> TrainOutcome:
        engine.train()
        last_loss, reason = math.nan, None
        order = global_batches(
            len(self.examples),
            global_batch_size=self.spec.global_batch_size,
            steps=self.total_steps,
            seed=self.seed,
        )
        for step, indices in enumerate(order):
            if step < begin:
                continue
            batch = [self.examples[index] for index in indices]
            metrics = self._step(engine, labels, step, batch)
            last_loss = metrics.loss
            on_step(metrics)
            reason = divergence(metrics, self.loss_limit)
            if reason is not None:
                break
            done = step + 1
            if done % self.spec.checkpoint_every_steps == 0 and done < self.total_steps:
                checkpoints.save(done, gather_trainables(engine), save_shard(engine))
        state = None if reason else gather_trainables(engine)
        if state is not None and not all(bool(one.isfinite().all()) for one in state.values()):
            reason, state = "the trained parameters are not finite", None
        return TrainOutcome(
            status="diverged" if reason else "finished",
            reason=reason,
            state=state,
            last_loss=last_loss,
        )

    def _step(
        self, engine: Any, labels: LabelPositions, step: int, batch: Sequence[Encoded]
    ) -> StepMetrics:
        started = time.perf_counter()
        # Dropout masks depend on seed, step and rank alone: a resumed step draws the same.
        torch.manual_seed((self.seed * 1_000_003 + step) * 4_096 + self.worker.rank)
        rate = learning_rate_at(step, spec=self.spec, total_steps=self.total_steps)
        set_learning_rate(engine, rate)
        loss = torch.zeros((), dtype=torch.float64, device=self.worker.device)
        label_count = sum(len(one.response_ids) for one in batch)
        world, size = self.worker.world_size, self.spec.micro_batch_size
        accumulation = self.spec.accumulation_steps(world_size=world)
        for index in range(accumulation):
            first = (index * world + self.worker.rank) * size
            micro = collate(batch[first : first + size], pad_id=self.pad_id)
            targets_BL = micro.labels_BL.to(self.worker.device)
            mask_BL = targets_BL != IGNORED
            logits_NV = labels.logits(engine, micro.input_ids_BL.to(self.worker.device), mask_BL)
            total = F.cross_entropy(logits_NV.float(), targets_BL[mask_BL], reduction="sum")
            # DeepSpeed averages over ranks and micro-batches; the mean over the labels of the global
            # batch is meant, whatever the number of workers.
            engine.backward(total / label_count * world * accumulation)
            engine.step()
            loss += total.detach().double()
        if world > 1:
            dist.all_reduce(loss)
        norm = engine.get_global_grad_norm()
        return StepMetrics(
            step=step + 1,
            loss=loss.item() / label_count,
            learning_rate=rate,
            gradient_norm=None if norm is None else float(norm),
            tokens=sum(len(one) for one in batch),
            seconds=time.perf_counter() - started,
        )
