"""How much of a ticket depends on chance, on the prompt, on the data.

Shapes: V rows of a matrix, N rows that moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

UNRANKED = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Effect:
    """One coefficient of a regression."""

    value: float
    low: float
    """Lower end of its 95 % interval, over rows."""
    high: float


@dataclass(frozen=True, slots=True)
class Regression:
    """What a row's rank has to do with its token: ordinary least squares over the rows that moved."""

    rows: int
    log_count: Effect
    """Ranks for each doubling of the token's count; negative where frequent tokens come first."""
    template: Effect | None
    """Ranks for standing in the prompt outside the sentence; None where no row or every row does."""
    r_squared: float


def overlap(first: Sequence[int], second: Sequence[int], k: int) -> int:
    """Return how many rows the first k of two orders share.

    Raises:
        ValueError: If an order has fewer rows.
    """
    if min(len(first), len(second)) < k:
        raise ValueError(f"k={k}, but the orders have {len(first)} and {len(second)} rows")
    return len(set(first[:k]) & set(second[:k]))


def rank_correlation(first: Sequence[int], second: Sequence[int], *, rows: int) -> float | None:
    """Return Spearman's correlation of two orders over the vocabulary.

    Rows that an order leaves out (they did not move) share its last rank; rows that both leave out say
    nothing, and are left out.

    Args:
        first: Row ids, best first.
        second: The same of another run.
        rows: V.

    Returns:
        In [-1, 1]; None where fewer than three rows are ranked.
    """
    ranks_2V = np.stack([_ranks(first, rows), _ranks(second, rows)])
    either = (ranks_2V != UNRANKED).any(axis=0)
    if either.sum() < 3:
        return None
    return float(stats.spearmanr(ranks_2V[0, either], ranks_2V[1, either]).statistic)


def _ranks(order: Sequence[int], rows: int) -> NDArray[np.int64]:
    ranks_V = np.full(rows, UNRANKED)
    ranks_V[np.asarray(order, dtype=np.int64)] = np.arange(1, len(order) + 1)
    return ranks_V


def regress_rank(order: Sequence[int], counts_V: Tensor, template_V: Tensor) -> Regression | None:
    """Regress the rank of each row that moved on its log count and on whether it is the prompt's.

    Args:
        order: Row ids, best first.
        counts_V: How often each token stands at an input position, int64.
        template_V: Whether it stands in the prompt outside the sentence, bool.

    Returns:
        The regression; None where there are too few rows, or all have one count.

    Source: ordinary least squares by statsmodels.
    """
    rows = np.asarray(order, dtype=np.int64)
    log_counts_N = np.log2(1.0 + counts_V.numpy(force=True)[rows].astype(np.float64))
    template_N = template_V.numpy(force=True)[rows].astype(np.float64)
    if len(rows) < 5 or np.ptp(log_counts_N) == 0:
        return None
    import statsmodels.api as sm  # takes a second, and only this needs it

    columns = [log_counts_N]
    if np.ptp(template_N) > 0:
        columns.append(template_N)
    fitted = sm.OLS(np.arange(1.0, len(rows) + 1), sm.add_constant(np.column_stack(columns))).fit()
    bounds = fitted.conf_int(0.05)
    effects = [
        Effect(float(fitted.params[i]), float(bounds[i][0]), float(bounds[i][1]))
        for i in range(1, len(columns) + 1)
    ]
    return Regression(
        rows=len(rows),
        log_count=effects[0],
        template=effects[1] if len(effects) > 1 else None,
        r_squared=float(fitted.rsquared),
    )
