"""Entries of many weights at once: which of all their numbers a mask keeps.

LoTA keeps the entries that full fine-tuning moved furthest, by one threshold over all weights together, so a
weight that moved more keeps more. The order is exact: the float32 magnitude falling, ties by the order of the
weights and the place in them.

Source: Lottery Ticket Adaptation (arXiv:2406.16797), section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ksl_bench.errors import TicketError
from ksl_bench.lottery.criteria import CRITERIA
from ksl_bench.registry import Registry

Weights = Mapping[str, Tensor]
"""By name, in the order of the model."""

_LOW_BITS = 16

REST = "rest"
"""The criterion that takes all entries that another mask, or earlier steps, leave."""


@dataclass(frozen=True, slots=True)
class EntryEvidence:
    """What a criterion of entries may look at."""

    shapes: Mapping[str, tuple[int, ...]]
    """Of the weights, in the order of the model."""
    task_vector: Callable[[str], Tensor] | None
    """From a weight's name to its change in tuning, float32, in its shape; None where nothing was tuned."""
    seed: int


@dataclass(frozen=True, slots=True)
class EntryCriterion:
    """A way to put entries in order, and what it needs for that."""

    description: str
    magnitude: Callable[[EntryEvidence, str], Tensor]
    """From the evidence and a weight's name to the size of its entries, float32, >= 0, in its shape."""
    needs: frozenset[Literal["tuned", "seed"]]


def by_magnitude(evidence: EntryEvidence, name: str) -> Tensor:
    """Return how far each entry moved in tuning."""
    assert evidence.task_vector is not None
    return evidence.task_vector(name).abs()


def by_chance(evidence: EntryEvidence, name: str) -> Tensor:
    """Draw a size for each entry, uniform in [0, 1); the weight's place in the model is part of the seed."""
    draw = torch.Generator().manual_seed(
        evidence.seed * 100_003 + list(evidence.shapes).index(name)
    )
    return torch.rand(evidence.shapes[name], generator=draw)


def alike(evidence: EntryEvidence, name: str) -> Tensor:
    """Give every entry the same size: where all that are left are kept, there is no order."""
    return torch.ones(evidence.shapes[name])


def kept_entries(sizes: Iterable[int], sparsity: float) -> int:
    """Return how many entries a mask keeps, of weights of so many entries each."""
    return round((1.0 - sparsity) * sum(sizes))


def pick_entries(
    criterion: EntryCriterion,
    evidence: EntryEvidence,
    *,
    sparsity: float | None,
    excluded: Weights | None = None,
) -> dict[str, Tensor]:
    """Keep the largest entries of all weights together.

    Two passes over the weights find the threshold from counts of the float's bits, so that no more than one
    weight's magnitudes are held at a time.

    Args:
        criterion: Gives each entry a size.
        evidence: What it looks at.
        sparsity: Share of all entries, the excluded ones among them, that is left alone, in (0, 1); None
            keeps all that are not excluded.
        excluded: By weight, places in the flat weight that may not be kept, int64.

    Returns:
        By weight, in the order of the model, the kept places in the flat weight, int64, rising; weights of
        which nothing is kept are left out.

    Raises:
        TicketError: If nothing would be kept, or fewer entries moved, or are left, than are to be kept.
    """
    names = list(evidence.shapes)
    sizes = [torch.Size(shape).numel() for shape in evidence.shapes.values()]
    excluded = excluded or {}
    left = sum(sizes) - sum(map(len, excluded.values()))
    keep = left if sparsity is None else kept_entries(sizes, sparsity)
    if keep < 1:
        asked = "all that is left" if sparsity is None else f"sparsity={sparsity:g}"
        raise TicketError(f"{asked} keeps none of {sum(sizes):,} entries")
    if keep > left:
        raise TicketError(
            f"sparsity={sparsity:g} keeps {keep:,} entries, but earlier masks leave {left:,}"
        )

    def bits(name: str) -> Tensor:
        # Of floats that are not negative the bits rise as the values do.
        flat = criterion.magnitude(evidence, name).to("cpu", torch.float32).flatten()
        if not flat.isfinite().all():
            raise TicketError(f"the change of {name} is not finite")
        found = flat.contiguous().view(torch.int32)
        if name in excluded:  # below all that are not
            found = found.index_fill(0, excluded[name], -1)
        return found

    high = _counts(one[one >= 0] >> _LOW_BITS for one in map(bits, names))
    top, above = _bin_that_reaches(high, keep)
    low = _counts(one[one >> _LOW_BITS == top] & ((1 << _LOW_BITS) - 1) for one in map(bits, names))
    bottom, inside = _bin_that_reaches(low, keep - above)
    threshold, ties = (top << _LOW_BITS) | bottom, keep - above - inside
    if threshold == 0 and "tuned" in criterion.needs:
        moved = keep - ties
        raise TicketError(f"sparsity={sparsity:g} keeps {keep:,} entries, but only {moved:,} moved")
    kept: dict[str, Tensor] = {}
    for name in names:
        one = bits(name)
        equal = (one == threshold).nonzero().squeeze(-1)[:ties]
        ties -= len(equal)
        places = torch.cat([(one > threshold).nonzero().squeeze(-1), equal]).sort().values
        if len(places):
            kept[name] = places
    return kept


def _counts(values: Iterable[Tensor]) -> Tensor:
    counts = torch.zeros(1 << _LOW_BITS, dtype=torch.int64)
    for one in values:
        counts += torch.bincount(one, minlength=1 << _LOW_BITS)
    return counts


def _bin_that_reaches(counts: Tensor, wanted: int) -> tuple[int, int]:
    """Return the highest bin down to which there are `wanted` values, and how many lie above it."""
    from_top = counts.flip(0).cumsum(0)
    place = int(torch.searchsorted(from_top, wanted))
    above = int(from_top[place - 1]) if place else 0
    return len(counts) - 1 - place, above


def criterion_needs(name: str) -> frozenset[str]:
    """Return what a criterion looks at, whether it picks rows or entries."""
    return frozenset((ENTRY_CRITERIA if name in ENTRY_CRITERIA else CRITERIA)[name].needs)


ENTRY_CRITERIA: Registry[EntryCriterion] = Registry(
    "criterion of entries",
    {
        "magnitude": EntryCriterion(
            "single entries of attention and MLP weights that tuning moved furthest (LoTA); give sparsity",
            by_magnitude,
            needs=frozenset({"tuned"}),
        ),
        REST: EntryCriterion(
            "complement: all entries of the same weights that another mask, or earlier steps, leave",
            alike,
            needs=frozenset(),
        ),
        "random_entries": EntryCriterion(
            "control: as many single entries of the same weights, drawn at random",
            by_chance,
            needs=frozenset({"seed"}),
        ),
    },
)
