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


@dataclass(frozen=True)
class Evidence:
    """What a criterion may look at."""

    before_VD: Tensor
    """Rows of the base model, float32."""
    after_VD: Tensor | None = None
    """The same rows after tuning, float32; None where nothing was tuned."""
    counts_V: Tensor | None = None
    """How often each token stands at an input position in tuning, int64."""
    seed: int = 0

    @cached_property
    def heights_V(self) -> Tensor:
        """KS statistic of every row as the integer h of h / D."""
        assert self.after_VD is not None
        return ks_heights(self.before_VD, self.after_VD)

    @cached_property
    def p_values_V(self) -> Floats:
        """Exact p-value of every row."""
        return exact_p_values(self.heights_V.numpy(), self.before_VD.shape[1])

    @cached_property
    def l2_V(self) -> Tensor:
        """Length of every row's change, float64."""
        assert self.after_VD is not None
        change_VD = self.after_VD.double() - self.before_VD.double()
        return change_VD.square().sum(dim=1).sqrt()


@dataclass(frozen=True, slots=True)
class Criterion:
    """A way to order rows, and what it needs for that."""

    description: str
    rank: Callable[[Evidence], Tensor]
    """From the evidence to the eligible row ids, int64, best first."""
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
    assert evidence.after_VD is not None
    rows = moved_rows(evidence.before_VD, evidence.after_VD).nonzero().squeeze(-1).numpy()
    # p falls as h rises, for one width: h sorts as p does, without its rounding.
    heights, l2 = evidence.heights_V.numpy()[rows], evidence.l2_V.numpy()[rows]
    return torch.from_numpy(rows[np.lexsort((rows, -l2, -heights))])


def by_frequency(evidence: Evidence) -> Tensor:
    """Order the rows seen in tuning by their count, ties by id."""
    assert evidence.counts_V is not None
    counts = evidence.counts_V.numpy()
    seen = counts.nonzero()[0]
    return torch.from_numpy(seen[np.lexsort((seen, -counts[seen]))])


def by_chance(evidence: Evidence) -> Tensor:
    """Shuffle the rows seen in tuning, by the seed."""
    assert evidence.counts_V is not None
    seen = evidence.counts_V.nonzero().squeeze(-1)
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

    Raises:
        TicketError: If fewer rows are eligible than k, or none is below alpha.
    """
    assert (k is None) != (alpha is None)
    order = criterion.rank(evidence)
    if alpha is not None:
        chosen = order[torch.from_numpy(evidence.p_values_V[order.numpy()] < alpha)]
        if not len(chosen):
            raise TicketError(
                f"no row has p < {alpha:g}; the smallest is {_smallest(evidence, order)}"
            )
    else:
        assert k is not None
        if k > len(order):
            what = "moved" if criterion.needs_tuned else "were seen in tuning"
            raise TicketError(f"k={k}, but only {len(order)} rows {what}")
        chosen = order[:k]
    return _selection(evidence, chosen)


def _smallest(evidence: Evidence, order: Tensor) -> str:
    return (
        f"{evidence.p_values_V[order.numpy()].min():.3g}" if len(order) else "of no row that moved"
    )


def _selection(evidence: Evidence, chosen: Tensor) -> Selection:
    ids: list[int] = chosen.tolist()
    if evidence.after_VD is None:
        return Selection(ids, None, None, None)
    width = evidence.before_VD.shape[1]
    return Selection(
        token_ids=ids,
        distances=(evidence.heights_V[chosen].double() / width).tolist(),
        p_values=evidence.p_values_V[chosen.numpy()].tolist(),
        l2=evidence.l2_V[chosen].tolist(),
    )
