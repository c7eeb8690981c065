"""Criteria: how rows are put in order, best first, and how a ticket's size is fixed.

A criterion is one function and one line in the registry. It sees the evidence and returns the rows that
are eligible in order; `select` cuts that order at k, or at alpha.

Shapes: V vocabulary, D model width, K selected rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ksl_bench.errors import TicketError
from ksl_bench.lottery.kstest import Floats, exact_p_values, ks_heights, moved_rows
from ksl_bench.registry import Registry

NORM_ROWS = 32
"""Rows whose change is held in float64 at a time."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a criterion may look at; what is derived is computed once, when it is asked for.

    The plan gives what the criterion says it needs, so criteria only assert that it is here.
    """

    before_VD: Tensor | None = None
    """Rows of the base model, float32; None where a criterion looks at counts alone."""
    after_VD: Tensor | None = None
    """The same rows after tuning, float32; None where nothing was tuned."""
    counts_V: Tensor | None = None
    """How often each token stands at an input position in tuning, int64."""
    seed: int = 0

    def pair(self) -> tuple[Tensor, Tensor]:
        """Return the rows before and after tuning, each of shape (V, D)."""
        assert self.before_VD is not None
        assert self.after_VD is not None
        return self.before_VD, self.after_VD

    @property
    def tuned(self) -> bool:
        """Whether there is a before and an after to compare."""
        return self.before_VD is not None and self.after_VD is not None

    @cached_property
    def moved_V(self) -> Tensor:
        """Whether any bit of a row has changed, bool, on the CPU."""
        return moved_rows(*self.pair()).cpu()

    @cached_property
    def heights_V(self) -> Tensor:
        """KS statistic of every row as the integer h of h / D, int64, on the CPU."""
        return ks_heights(*self.pair()).cpu()

    @cached_property
    def p_values_V(self) -> Floats:
        """Exact p-value of every row; before and after are paired, so it ranks and tests nothing."""
        before_VD, _ = self.pair()
        return exact_p_values(self.heights_V, before_VD.shape[1])

    @cached_property
    def l2_V(self) -> Tensor:
        """Length of every row's change, float64, on the CPU."""
        before_VD, after_VD = self.pair()
        # Written in place: small results kept between large temporaries would fragment the heap.
        norms_V = torch.zeros(len(before_VD), dtype=torch.float64, device=before_VD.device)
        for start in range(0, len(before_VD), NORM_ROWS):
            rows = slice(start, start + NORM_ROWS)
            change_RD = after_VD[rows].double() - before_VD[rows]
            norms_V[rows] = change_RD.square_().sum(dim=1).sqrt_()
        return norms_V.cpu()


@dataclass(frozen=True, slots=True)
class Criterion:
    """A way to order rows, and what it needs for that."""

    description: str
    rank: Callable[[Evidence], Tensor]
    """From the evidence to the eligible row ids, int64, on the CPU, best first."""
    needs_tuned: bool = False
    needs_counts: bool = False
    needs_seed: bool = False
    takes_alpha: bool = False
    """Whether it has p-values to hold against alpha."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows of a ticket, best first."""

    token_ids: list[int]
    distances: list[float] | None
    """KS distance of each row; None where nothing was tuned."""
    p_values: list[float] | None
    l2: list[float] | None


def by_ks(evidence: Evidence) -> Tensor:
    """Order the rows that moved by p, ties by the length of their change, then by id."""
    rows = evidence.moved_V.nonzero().squeeze(-1).numpy()
    # p falls as h rises, for one width: h sorts as p does, without its rounding.
    heights, l2 = evidence.heights_V.numpy()[rows], evidence.l2_V.numpy()[rows]
    return torch.from_numpy(rows[np.lexsort((rows, -l2, -heights))])


def by_frequency(evidence: Evidence) -> Tensor:
    """Order the rows seen in tuning by their count, ties by id."""
    assert evidence.counts_V is not None
    counts = evidence.counts_V.numpy(force=True)
    seen = counts.nonzero()[0]
    return torch.from_numpy(seen[np.lexsort((seen, -counts[seen]))])


def by_chance(evidence: Evidence) -> Tensor:
    """Shuffle the rows seen in tuning, by the seed."""
    assert evidence.counts_V is not None
    seen = evidence.counts_V.cpu().nonzero().squeeze(-1)
    order = np.random.default_rng(evidence.seed).permutation(len(seen))
    return seen[torch.from_numpy(order)]


CRITERIA: Registry[Criterion] = Registry(
    "criterion",
    {
        "ks": Criterion(
            "Kolmogorov-Smirnov test of each row before and after tuning (KS-Lottery)",
            by_ks,
            needs_tuned=True,
            takes_alpha=True,
        ),
        "frequency": Criterion(
            "how often a token stands at an input position in tuning",
            by_frequency,
            needs_counts=True,
        ),
        "random": Criterion(
            "a random choice among the tokens seen in tuning",
            by_chance,
            needs_counts=True,
            needs_seed=True,
        ),
    },
)


def select(
    criterion: Criterion, evidence: Evidence, *, k: int | None, alpha: float | None
) -> Selection:
    """Cut a criterion's order at k rows, or at the rows whose p-value is below alpha.

    Args:
        criterion: Orders the eligible rows.
        evidence: What it looks at.
        k: How many rows; give this or alpha.
        alpha: Bound of the p-value, for a criterion that has p-values.

    Returns:
        The rows, with D, p and the length of the change where something was tuned.

    Raises:
        TicketError: If fewer rows are eligible than k, none is below alpha, the criterion has no
            p-values, or the rows before and after cannot be compared.
    """
    assert (k is None) != (alpha is None)
    try:
        order = criterion.rank(evidence)
        if alpha is not None:
            return _selection(evidence, _below(order, criterion, evidence, alpha))
        assert k is not None
        return _selection(evidence, _first(order, criterion, k))
    except ValueError as error:
        raise TicketError(f"rows cannot be compared: {error}") from None


def _first(order: Tensor, criterion: Criterion, k: int) -> Tensor:
    if k < 1:
        raise TicketError(f"k must be >= 1, got {k}")
    if k > len(order):
        what = "moved" if criterion.needs_tuned else "were seen in tuning"
        raise TicketError(f"k={k}, but only {len(order)} rows {what}")
    return order[:k]


def _below(order: Tensor, criterion: Criterion, evidence: Evidence, alpha: float) -> Tensor:
    if not criterion.takes_alpha:
        raise TicketError(f"alpha={alpha:g}: this criterion has no p-values; give k")
    if not len(order):
        raise TicketError(f"alpha={alpha:g}, but no row moved")
    p_values = evidence.p_values_V[order.numpy()]
    if not (p_values < alpha).any():
        raise TicketError(f"no row has p < {alpha:g}; the smallest is {p_values.min():.3g}")
    return order[torch.from_numpy(p_values < alpha)]


def _selection(evidence: Evidence, chosen: Tensor) -> Selection:
    ids: list[int] = chosen.tolist()
    if not evidence.tuned:
        return Selection(ids, None, None, None)
    width = evidence.pair()[0].shape[1]
    return Selection(
        token_ids=ids,
        distances=(evidence.heights_V[chosen].double() / width).tolist(),
        p_values=evidence.p_values_V[chosen.numpy()].tolist(),
        l2=evidence.l2_V[chosen].tolist(),
    )
