"""Make a mask: select single entries by a criterion."""

from __future__ import annotations

import time
from collections.abc import Callable

from safetensors.torch import load
from torch import Tensor

from ksl_bench.config import TicketSpec
from ksl_bench.errors import TicketError
from ksl_bench.lottery.entries import ENTRY_CRITERIA, EntryEvidence, pick_entries
from ksl_bench.lottery.mask import Mask
from ksl_bench.methods.scope import linear_layers
from ksl_bench.plan import Work
from ksl_bench.worker.outcome import Outcome
from ksl_bench.worker.warm import Warm


def build_mask(warm: Warm, work: Work, spec: TicketSpec, sparsity: float) -> Outcome:
    """Select entries and write the mask; the leading worker does it."""
    started, precision = time.perf_counter(), work.baseline.train.precision
    weights = {
        name: one.weight.detach().float()
        for name, one in linear_layers(warm.model(precision)).items()
    }
    shapes = {name: tuple(one.shape) for name, one in weights.items()}
    evidence = EntryEvidence(
        shapes=shapes, task_vector=_task_vector(warm, work, weights), seed=work.seed
    )
    try:
        places = pick_entries(ENTRY_CRITERIA[spec.criterion], evidence, sparsity=sparsity)
    except TicketError as error:
        return Outcome(work.key, "skipped", str(error))
    mask = Mask(
        base_model=warm.setting.model.name,
        revision=warm.setting.model.revision,
        base_digest=warm.digest(spec.scope, precision),
        tensor=spec.scope,
        criterion=spec.criterion,
        sparsity=sparsity,
        source_state=work.state_key,
        shapes=shapes,
        places=places,
    )
    record = {
        "baseline": work.baseline.name,
        "seed": work.seed,
        "inputs": work.inputs,
        "ticket": mask.header(),
        "cost": {"selection_seconds": time.perf_counter() - started},
        **warm.provenance(),
    }
    warm.store.finish("ticket", work.key, record, {"ticket": mask.to_bytes()})
    return Outcome(work.key, "finished")


def _task_vector(
    warm: Warm, work: Work, weights: dict[str, Tensor]
) -> Callable[[str], Tensor] | None:
    """Return what gives a weight's change in the tuning that the mask looks at, float32."""
    if work.state_key is None:
        return None
    content = warm.store.read_bytes("state", work.state_key, "state.safetensors")
    state: dict[str, Tensor] = load(content)
    return lambda name: state[f"{name}.weight"].float() - weights[name]
