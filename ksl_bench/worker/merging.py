"""Join separately tuned states to one model; nothing is trained.

The change of every weight in tuning, float32, is joined over the states by PEFT's own functions, one weight
at a time, and added to the base. So TIES trims each weight for itself, as PEFT and mergekit do, where its
paper trims all weights together.

Source: task arithmetic, Ilharco et al. 2023 (arXiv:2212.04089); TIES, Yadav et al. 2023 (arXiv:2306.01708).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ksl_bench.config import MergeSpec
from ksl_bench.errors import MethodError
from ksl_bench.methods.base import is_tied, untie
from ksl_bench.plan import Work
from ksl_bench.worker.warm import Warm


def merged_model(warm: Warm, work: Work) -> PreTrainedModel:
    """Return the base model with the joined changes of a work's states."""
    spec, precision = work.baseline.merge, work.baseline.train.precision
    assert spec is not None
    base = warm.model(precision)
    tuned = [warm.with_states(warm.model(precision), [step]) for step in work.merged]
    if is_tied(base) and not all(map(is_tied, tuned)):
        untie(base)  # some changed one side alone
    states = [one.state_dict() for one in tuned]
    with torch.no_grad():
        for name, weight in base.named_parameters():
            changes = [state[name].float() - weight.float() for state in states]
            if any(one.any() for one in changes):
                weight.copy_((weight.float() + joined(changes, spec, name)).to(weight.dtype))
    return base


def joined(changes: Sequence[Tensor], spec: MergeSpec, name: str) -> Tensor:
    """Return the joined change of one weight, in its shape, float32.

    Args:
        changes: Of each state, float32.
        spec: How they are joined.
        name: Of the weight, for messages.

    Raises:
        MethodError: If two states changed the same number, and the rule is that none may.
    """
    from peft.utils.merge_utils import task_arithmetic, ties

    weights = torch.full((len(changes),), spec.weight)
    if spec.rule == "ties":
        assert spec.density is not None
        trimmed: Tensor = ties(list(changes), weights, spec.density)
        return trimmed
    if spec.rule == "disjoint_sum":
        shared = int((torch.stack([one != 0 for one in changes]).sum(dim=0) > 1).sum())
        if shared:
            raise MethodError(
                f"disjoint_sum: {shared:,} numbers of {name} were changed by two states"
            )
    added: Tensor = task_arithmetic(list(changes), weights)
    return added


def trained_by(records: Sequence[Mapping[str, Mapping[str, int]]]) -> int:
    """Return how many parameters were trained for a merge, over its states together."""
    return sum(record["parameters"]["trainable"] for record in records)
