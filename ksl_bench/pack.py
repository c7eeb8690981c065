"""Packs: tickets that are trained in one batch, on one copy of the frozen base."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Hashable
from dataclasses import dataclass

from ksl_bench.methods import METHODS
from ksl_bench.methods.partial import PartialTuning
from ksl_bench.methods.scope import INPUT_EMBEDDING
from ksl_bench.plan import Setting, Work

OWN = {"learning_rate", "schedule", "warmup_ratio", "weight_decay", "max_gradient_norm"}
"""What each trial of a pack has for itself; in the rest of its training it agrees with the others."""


@dataclass(frozen=True, slots=True)
class Pack:
    """States that are made together."""

    works: tuple[Work, ...]

    @property
    def keys(self) -> list[str]:
        """Return the keys of the states."""
        return [work.key for work in self.works]


def pack_group(work: Work, setting: Setting) -> Hashable | None:
    """Return what works of one pack have in common, None for work that is done alone.

    ZeRO stages above 0 hold gradients in flat partitions, and bf16 masters too, so that those of one
    trial could not be bounded alone.
    """
    if work.kind != "state" or setting.pack < 2 or setting.zero_stage != 0:
        return None
    if work.parents:  # a pack shares one frozen base
        return None
    baseline, train = work.baseline, work.baseline.train
    if METHODS[baseline.method] is not PartialTuning:  # seen by name: to make some loads PEFT
        return None
    if PartialTuning(**baseline.hyperparameters).sides != "named":
        return None
    if baseline.ticket is None or baseline.ticket.scope != INPUT_EMBEDDING:
        return None
    if train.precision != "fp32" or train.gradient_checkpointing:
        return None
    return work.task, train.model_dump_json(exclude=OWN)


def take_together(
    queue: deque[Work], setting: Setting | None, alone: Container[str], *, groups: int = 1
) -> tuple[Work, ...]:
    """Take the first work off a queue, and those that may be packed with it.

    Args:
        queue: Not empty; what stays keeps its order.
        setting: Says what may be packed; nothing is where none is given.
        alone: Keys of works that are not packed (again).
        groups: That have nothing to do: what could be one pack is shared among them.
    """

    def group_of(work: Work) -> Hashable | None:
        if setting is None or work.key in alone:
            return None
        return pack_group(work, setting)

    first = queue.popleft()
    wanted = group_of(first)
    if wanted is None or setting is None:
        return (first,)
    alike = [work for work in queue if group_of(work) == wanted]
    share = -(-(1 + len(alike)) // max(1, groups))
    taken = alike[: min(setting.pack, share) - 1]
    for work in taken:
        queue.remove(work)
    return (first, *taken)
