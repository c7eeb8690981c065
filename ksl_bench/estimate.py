"""What a baseline will take, from shapes alone: parameters, memory, operations, hours.

Estimates, not promises: they leave out fragmentation, libraries' own buffers and communication.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ksl_bench.config import Baseline, ResourcesSpec, TrainSpec
from ksl_bench.lottery.entries import REST, kept_entries
from ksl_bench.lottery.ticket import Ticket, TicketRow
from ksl_bench.methods import METHODS, build_method
from ksl_bench.methods.base import WeightsNeededError, attach_shapes, trainable_parameters
from ksl_bench.methods.scope import INPUT_EMBEDDING, find_scope, linear_layers

if TYPE_CHECKING:  # its model code takes seconds to import
    from transformers import PreTrainedModel

BYTES = {"fp32": 4, "bf16": 2}

MEAN_TOKENS = 128
"""Tokens assumed of a training example where its text is not at hand."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one run of a baseline takes."""

    baseline: str
    trainable_parameters: int | None
    """None where a ticket's size is not given but found: by alpha, or the criterion's own."""
    total_parameters: int
    memory_bytes: dict[str, int] | None
    """Of one worker in training: weights, gradients, optimizer, activations, total."""
    flops: float | None
    """Operations of training."""
    device_hours: float | None
    money: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def estimate(
    baseline: Baseline,
    *,
    make_skeleton: Callable[[], PreTrainedModel],
    resources: ResourcesSpec,
    training_examples: int | None,
) -> Estimate:
    """Estimate one run.

    Args:
        baseline: What is trained, and how.
        make_skeleton: Makes the base model on the meta device.
        resources: Workers, ZeRO stage, speed and price of a device.
        training_examples: For the length of an epoch; None where it is not known.

    Returns:
        The estimate; without hours where the suite does not say how fast a device is.
    """
    model = make_skeleton()
    total = sum(one.numel() for one in model.parameters())
    if baseline.merge is not None:  # its states are those of another baseline
        return Estimate(baseline.name, 0, total, None, None, None, None)
    trainable = count_trainable(baseline, model)
    if trainable is None or not METHODS[baseline.method].trains:
        return Estimate(baseline.name, trainable, total, None, None, None, None)
    memory = training_memory(model.config, baseline.train, resources, trainable, total)
    flops = _flops(baseline, trainable, total, training_examples)
    hours = None
    if flops is not None and resources.tflops_per_device is not None:
        hours = flops / (resources.tflops_per_device * 1e12) / 3600
    price = resources.price_per_device_hour
    money = None if hours is None or price is None else hours * price
    return Estimate(baseline.name, trainable, total, memory, flops, hours, money)


def count_trainable(baseline: Baseline, model: PreTrainedModel) -> int | None:
    """Count what trains by attaching the method to a model on the meta device.

    Returns:
        The number of parameters, None for a ticket whose size is not given but found, and for a method
        that starts from the weights.
    """
    method = build_method(baseline.method, baseline.hyperparameters)
    ticket = None
    if method.needs_ticket:
        assert baseline.ticket is not None
        if baseline.ticket.criterion == REST:
            return None
        if baseline.ticket.sparsity is not None:
            sizes = [one.weight.numel() for one in linear_layers(model).values()]
            return kept_entries(sizes, baseline.ticket.sparsity)
        if baseline.ticket.k is None:
            return None
        if not method.trains:
            return 0
        scope = find_scope(model, baseline.ticket.scope)
        ticket = stand_in_ticket(min(baseline.ticket.k, scope.size), scope.name)
    try:
        attached = attach_shapes(method, model, ticket)
    except WeightsNeededError:
        return None
    return sum(one.numel() for one in trainable_parameters(attached).values())


def stand_in_ticket(k: int, scope: str = INPUT_EMBEDDING) -> Ticket:
    """Return a ticket over the first k rows of a scope: as many as the one that will be found."""
    return Ticket(
        base_model="",
        revision=None,
        base_digest="0" * 64,
        tokenizer_digest=None,
        tensor=scope,
        criterion="stand-in",
        alpha=None,
        k=k,
        source_state=None,
        values="none",
        rows=tuple(TicketRow(token_id=row, token="", D=None, p=None, l2=None) for row in range(k)),
    )


def training_memory(
    config: Any, train: TrainSpec, resources: ResourcesSpec, trainable: int, total: int
) -> dict[str, int]:
    """Estimate a worker's memory in training, in bytes.

    AdamW keeps two fp32 moments of what trains; in bf16, and under ZeRO, DeepSpeed also keeps an fp32 master.
    ZeRO 1 shares out moments and masters, 2 gradients too, 3 weights too.

    Args:
        config: Of the base model.
        train: Precision, batch and lengths.
        resources: Workers and ZeRO stage.
        trainable: Parameters that train.
        total: Parameters of the base model.

    Source: Rajbhandari et al. 2020 (arXiv:1910.02054), section 3.
    """
    size, workers, stage = BYTES[train.precision], resources.workers_per_run, resources.zero_stage
    masters = 0 if train.precision == "fp32" and stage == 0 else 4
    parts = {
        "weights": total * size / (workers if stage >= 3 else 1),
        "gradients": trainable * size / (workers if stage >= 2 else 1),
        "optimizer": trainable * (8 + masters) / (workers if stage >= 1 else 1),
        "activations": activation_bytes(config, train),
    }
    rounded = {name: round(value) for name, value in parts.items()}
    return {**rounded, "total": sum(rounded.values())}


def activation_bytes(config: Any, train: TrainSpec) -> float:
    """Estimate the activations of one micro-batch of full length, in bytes.

    s b h (34 + 5 a s / h) a layer in 16 bit, without the s-by-s scores that fused attention never stores:
    34 s b h. With gradient checkpointing 2 s b h a layer, and one layer whole. Logits are computed at labels
    only, and left out.

    Source: Korthikanti et al. 2022 (arXiv:2205.05198), equations 1 to 4.
    """
    text = config.get_text_config()  # models for text and images keep the decoder's sizes apart
    tokens = train.max_seq_length * train.micro_batch_size
    inputs = float(tokens * text.hidden_size * BYTES[train.precision])
    layers = int(text.num_hidden_layers)
    one_layer = 17.0 * inputs  # 34 bytes in 16 bit
    return one_layer + layers * inputs if train.gradient_checkpointing else layers * one_layer


def _flops(
    baseline: Baseline, trainable: int, total: int, training_examples: int | None
) -> float | None:
    """Estimate the operations of training: 2 N a token forward, 2 N back to the inputs, 2 per trained one.

    Source: Kaplan et al. 2020 (arXiv:2001.08361), section 2.1: 6 N a token when all N train.
    """
    train = baseline.train
    if train.steps is None and training_examples is None:
        return None
    steps = train.total_steps(examples=training_examples or 0)
    tokens = steps * train.global_batch_size * min(MEAN_TOKENS, train.max_seq_length)
    return tokens * (4.0 * total + 2.0 * min(trainable, total))
