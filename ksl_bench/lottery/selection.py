"""A criterion's order, cut to a ticket's size.

Shapes: V rows (vocabulary).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ksl_bench.errors import TicketError
from ksl_bench.lottery.criteria import Criterion
from ksl_bench.lottery.evidence import Evidence
from ksl_bench.lottery.kstest import benjamini_hochberg_count

LEVEL = 0.05
"""The alpha at which p-values are counted where a ticket is not cut by one."""


@dataclass(frozen=True, slots=True)
class Tests:
    """How many rows a test would reject: descriptive, since before and after are paired samples."""

    alpha: float
    rows: int
    moved: int
    below_alpha: int
    benjamini_hochberg: int
    """Rows whose adjusted p-value is at most alpha."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows of a ticket, best first, and what is known of each."""

    token_ids: list[int]
    distances: list[float] | None
    """KS distance of each row; None where nothing was tuned."""
    p_values: list[float] | None
    l2: list[float] | None
    counts: list[int] | None
    template: list[bool] | None
    tests: Tests | None


def select(
    criterion: Criterion,
    evidence: Evidence,
    *,
    alpha: float | None = None,
    excluded: Sequence[int] = (),
) -> Selection:
    """Cut a criterion's order at the evidence's k, or at the rows whose p-value is below alpha.

    Args:
        criterion: Orders the eligible rows.
        evidence: What it looks at, with how many rows are asked for.
        alpha: Bound of the p-value, for a criterion that has p-values.
        excluded: Rows that are passed over.

    Returns:
        The rows, with what is known of each; all eligible ones where neither k nor alpha is given.

    Raises:
        TicketError: If fewer rows are eligible than k, none is below alpha, the criterion has no
            p-values, or the rows before and after cannot be compared.
    """
    try:
        ranked = criterion.rank(evidence)
        order = ranked[~torch.isin(ranked, torch.tensor(list(excluded), dtype=ranked.dtype))]
        taken = len(ranked) - len(order)
        if alpha is not None:
            chosen = _below(order, criterion, evidence, alpha, taken=taken)
        elif evidence.k is not None:
            chosen = _first(order, criterion, evidence.k, taken=taken)
        else:
            assert criterion.own_size
            chosen = order
        return _selection(evidence, chosen, alpha or LEVEL)
    except ValueError as error:
        raise TicketError(f"rows cannot be compared: {error}") from None


def _first(order: Tensor, criterion: Criterion, k: int, *, taken: int) -> Tensor:
    """Return the first k rows; `taken` is how many more there were before earlier tickets took theirs."""
    if k < 1:
        raise TicketError(f"k must be >= 1, got {k}")
    if k > len(order):
        what = "moved" if "tuned" in criterion.needs else "were seen in tuning"
        what = "are named" if criterion.own_size else what
        if taken:
            raise TicketError(
                f"k={k}, but only {len(order)} of the {taken + len(order)} rows that {what} are left; "
                f"earlier tickets took the others"
            )
        raise TicketError(f"k={k}, but only {len(order)} rows {what}")
    return order[:k]


def _below(
    order: Tensor, criterion: Criterion, evidence: Evidence, alpha: float, *, taken: int
) -> Tensor:
    if not criterion.takes_alpha:
        raise TicketError(f"alpha={alpha:g}: this criterion has no p-values; give k")
    if not len(order):
        why = f"earlier tickets took all {taken} rows that moved" if taken else "no row moved"
        raise TicketError(f"alpha={alpha:g}, but {why}")
    p_values = evidence.p_values_V[order.numpy()]
    if not (p_values < alpha).any():
        raise TicketError(f"no row has p < {alpha:g}; the smallest is {p_values.min():.3g}")
    return order[torch.from_numpy(p_values < alpha)]


def _selection(evidence: Evidence, chosen: Tensor, alpha: float) -> Selection:
    counts_V, template_V, tuned = evidence.counts_V, evidence.template_V, evidence.tuned
    width = evidence.pair()[0].shape[1] if tuned else 1
    return Selection(
        token_ids=chosen.tolist(),
        distances=(evidence.heights_V[chosen].double() / width).tolist() if tuned else None,
        p_values=evidence.p_values_V[chosen.numpy()].tolist() if tuned else None,
        l2=evidence.l2_V[chosen].tolist() if tuned else None,
        counts=None if counts_V is None else counts_V.cpu()[chosen].tolist(),
        template=None if template_V is None else template_V.cpu()[chosen].tolist(),
        tests=_tests(evidence, alpha) if tuned else None,
    )


def _tests(evidence: Evidence, alpha: float) -> Tests:
    p_values_V = evidence.p_values_V
    return Tests(
        alpha=alpha,
        rows=len(p_values_V),
        moved=int(evidence.moved_V.sum()),
        below_alpha=int((p_values_V < alpha).sum()),
        benjamini_hochberg=benjamini_hochberg_count(p_values_V, alpha),
    )
