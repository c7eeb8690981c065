"""The DeepSpeed engine: how it is configured, and how its shards are gathered, saved and restored.

Only this package imports DeepSpeed, and only when a worker trains: the import probes the machine.
DeepSpeed keeps an fp32 master of every parameter that trains, in flat partitions over the ranks. A
checkpoint holds each rank's masters and AdamW moments as safetensors, so that nothing is unpickled.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load, save
from torch import Tensor, nn

from ksl_bench.config import TrainSpec

MASTERS = (
    "fp32_partitioned_groups_flat",  # ZeRO-3
    "single_partition_of_fp32_groups",  # ZeRO-1 and 2
    "fp32_groups_flat_partition",  # bf16 under ZeRO-1 with fp32 gradients
    "fp32_groups_flat",  # bf16 under stage 0
    "fp32_groups",  # the same, for optimizers that are not fused
)
"""Where the kinds of DeepSpeed optimizer keep their fp32 masters (private names: DeepSpeed is pinned)."""


def import_deepspeed() -> Any:
    """Import DeepSpeed for the device at hand, quietly and without compiling for CPU.

    On a machine without a GPU the accelerator is named, which spares the probe, and the shared-memory
    all-reduce, which would need a C++ compiler and 50 s, is left out in favour of gloo.
    """
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    import deepspeed
    import deepspeed.ops

    deepspeed.utils.logger.setLevel(logging.ERROR)
    if not torch.cuda.is_available():
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


def join_process_group() -> None:
    """Join the ranks that a launcher started (torchrun); alone, make a group of one.

    Under Ray Train the group is there already, and nothing is done.
    """
    if dist.is_initialized():
        return
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if "RANK" in os.environ:
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group(backend)
        return
    os.environ.setdefault("LOCAL_RANK", "0")  # DeepSpeed asks every launcher for it
    store = dist.HashStore()  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=store, rank=0, world_size=1)


def engine_config(
    spec: TrainSpec,
    *,
    zero_stage: int,
    world_size: int,
    accumulation_steps: int,
    clips: bool = True,
) -> dict[str, Any]:
    """Return DeepSpeed's configuration of one run; with `clips` off the caller bounds the gradients."""
    return {
        "train_batch_size": spec.micro_batch_size * accumulation_steps * world_size,
        "train_micro_batch_size_per_gpu": spec.micro_batch_size,
        "gradient_accumulation_steps": accumulation_steps,
        "gradient_clipping": spec.max_gradient_norm if clips else 0.0,
        "bf16": {"enabled": spec.precision == "bf16"},
        "zero_optimization": {"stage": zero_stage},
        # A client AdamW needs no compiled kernel; it is not on DeepSpeed's list of tested ones.
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 10**9,
    }


def start_engine(
    model: nn.Module,
    spec: TrainSpec,
    *,
    zero_stage: int,
    world_size: int,
    device: torch.device,
    groups: Sequence[Mapping[str, Any]] | None = None,
) -> Any:
    """Wrap a model in a DeepSpeed engine with AdamW over what requires gradients.

    Args:
        model: It is moved to the device.
        spec: Batch sizes, precision, AdamW.
        zero_stage: 0 to 3.
        world_size: Workers of the run.
        device: Of this worker.
        groups: Parameters in groups with what is the group's own, as `torch.optim` takes them; then the
            caller bounds the gradients, group by group.
    """
    deepspeed = import_deepspeed()
    config = engine_config(
        spec,
        zero_stage=zero_stage,
        world_size=world_size,
        accumulation_steps=spec.accumulation_steps(world_size=world_size),
        clips=groups is None,
    )
    parameters = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters if groups is None else [dict(one) for one in groups],
        lr=spec.learning_rate,
        betas=(spec.adam_beta1, spec.adam_beta2),
        weight_decay=spec.weight_decay,
    )
    engine, *_ = deepspeed.initialize(
        model=model.to(device), model_parameters=parameters, optimizer=optimizer, config=config
    )
    return engine


def stop_engine(engine: Any) -> None:
    """End an engine, so that nothing but the caller holds its model: a worker goes on to the next run."""
    engine.destroy()
    if engine.zero_optimization_partition_weights():
        _forget_modules(engine.module)


def _forget_modules(model: nn.Module) -> None:
    """Take a model out of what ZeRO-3 keeps for the life of the process; `destroy` leaves it there.

    There are two such places: the stack of the modules in their forward pass, at the bottom of which the
    model stays (above it, after an error, those it was in), and a cache of what each module releases.
    """
    from deepspeed.runtime.zero import parameter_offload
    from deepspeed.runtime.zero.partitioned_param_coordinator import PartitionedParameterCoordinator

    # Another DeepSpeed may keep it elsewhere; then memory leaks, but no finished run is lost.
    stack = getattr(parameter_offload, "FWD_MODULE_STACK", [])
    ours = {id(one) for one in model.modules()}
    stack[:] = [one for one in stack if id(one) not in ours]
    # The cached method is held by its decorator's closure. Were another engine at work, it would compute
    # again what the cache had of it.
    for method in vars(PartitionedParameterCoordinator).values():
        for cell in getattr(method, "__closure__", None) or ():
            if hasattr(cell.cell_contents, "cache_clear"):
                cell.cell_contents.cache_clear()


def set_learning_rate(engine: Any, value: float) -> None:
    """Set the learning rate of the next step."""
    for group in engine.optimizer.param_groups:
        group["lr"] = value


def gather_trainables(engine: Any) -> dict[str, Tensor]:
    """Gather the fp32 values of what trains, whole, on every rank.

    A collective call. Names are those of the module that the engine wraps.

    Returns:
        Name to float32 tensor on the CPU; never empty.
    """
    from deepspeed.utils import safe_get_full_fp32_param

    state: dict[str, Tensor] = {}
    for name, parameter in engine.module.named_parameters():
        if not parameter.requires_grad:
            continue
        full = safe_get_full_fp32_param(parameter)
        value = parameter.detach() if full is None else full  # stage 0 in fp32 has no other master
        state[name] = value.to("cpu", torch.float32, copy=True)
    assert state, "nothing trains"
    assert all(one.numel() for one in state.values()), "a gathered parameter came out empty"
    return state


def _flat(tensors: Iterable[Any]) -> list[Tensor]:
    return [one for item in tensors for one in (_flat(item) if isinstance(item, list) else [item])]


def _masters(engine: Any) -> list[Tensor]:
    for name in MASTERS:
        if hasattr(engine.optimizer, name):
            return _flat(getattr(engine.optimizer, name))
    return _flat(group["params"] for group in engine.basic_optimizer.param_groups)


def save_shard(engine: Any, masters: Sequence[Tensor] | None = None) -> bytes:
    """Serialize this rank's masters, all or some of them, and their optimizer state."""
    tensors: dict[str, Tensor] = {}
    for index, master in enumerate(_masters(engine) if masters is None else masters):
        tensors[f"{index}.master"] = master.detach().to("cpu", copy=True).contiguous()
        for name, value in engine.basic_optimizer.state.get(master, {}).items():
            tensors[f"{index}.{name}"] = torch.as_tensor(value).detach().to("cpu", copy=True)
    data: bytes = save(tensors)
    return data


def restore_shard(engine: Any, data: bytes, masters: Sequence[Tensor] | None = None) -> None:
    """Put back what `save_shard` wrote, into an engine over the same parameters, ranks and stage.

    The model's own (low-precision) parameters must have been loaded before the engine was made.
    """
    tensors = load(data)
    for index, master in enumerate(_masters(engine) if masters is None else masters):
        mine = {
            name.split(".", 1)[1]: value
            for name, value in tensors.items()
            if name.split(".", 1)[0] == str(index)
        }
        with torch.no_grad():
            master.copy_(mine.pop("master"))
        engine.basic_optimizer.state[master] = {
            # PyTorch's AdamW keeps its step count on the CPU.
            name: value if name == "step" else value.to(master.device)
            for name, value in mine.items()
        }
