"""Make a mask: select single entries by a criterion."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from safetensors.torch import load
from torch import Tensor

from ksl_bench.config import TicketSpec
from ksl_bench.errors import TicketError
from ksl_bench.lottery.entries import ENTRY_CRITERIA, EntryEvidence, pick_entries
from ksl_bench.lottery.mask import Mask
from ksl_bench.plan import Work
from ksl_bench.worker.outcome import Outcome
from ksl_bench.worker.warm import Warm


def build_mask(warm: Warm, work: Work, spec: TicketSpec) -> Outcome:
    """Select entries and write the mask; the leading worker does it."""
    started, precision = time.perf_counter(), work.baseline.train.precision
    weights = {name: one.float() for name, one in warm.layers(precision, work.parents).items()}
    shapes = {name: tuple(one.shape) for name, one in weights.items()}
    evidence = EntryEvidence(
        shapes=shapes, task_vector=_task_vector(warm, work, weights), seed=work.seed
    )
    try:
        places = pick_entries(
            ENTRY_CRITERIA[spec.criterion],
            evidence,
            sparsity=spec.sparsity,
            excluded=_excluded(warm, work),
        )
    except TicketError as error:
        return Outcome(work.key, "skipped", str(error))
    mask = Mask(
        base_model=warm.setting.model.name,
        revision=warm.setting.model.revision,
        base_digest=warm.digest(spec.scope, precision, work.parents),
        tensor=spec.scope,
        criterion=spec.criterion,
        sparsity=_sparsity(spec, shapes, places),
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


def _sparsity(
    spec: TicketSpec, shapes: dict[str, tuple[int, ...]], places: dict[str, Tensor]
) -> float:
    """Return the share of entries that is left alone; as it came out where the suite gives none."""
    if spec.sparsity is not None:
        return spec.sparsity
    return 1.0 - sum(map(len, places.values())) / sum(map(math.prod, shapes.values()))


def _excluded(warm: Warm, work: Work) -> dict[str, Tensor]:
    """Return the places of masks with which this one has nothing in common, each once."""
    found: dict[str, list[Tensor]] = {}
    for key in work.excluded:
        other = warm.selection(key)
        if isinstance(other, Mask):
            for name, places in other.places.items():
                found.setdefault(name, []).append(places)
    return {name: torch.unique(torch.cat(places)) for name, places in found.items()}


def _task_vector(
    warm: Warm, work: Work, weights: dict[str, Tensor]
) -> Callable[[str], Tensor] | None:
    """Return what gives a weight's change in the tuning that the mask looks at, float32."""
    if work.state_key is None:
        return None
    content = warm.store.read_bytes("state", work.state_key, "state.safetensors")
    state: dict[str, Tensor] = load(content)
    return lambda name: state[f"{name}.weight"].float() - weights[name]
