"""Two certificates of a ticket, as numerics: the KS-sum rule and Gaussian smoothing.

Both ask of a position whether the rows outside the ticket could change what is predicted there. The first is
not sound, the second is; docs/certificates.md derives both, and `ksl-bench certify` holds them against what
models do.

Shapes: V rows (vocabulary), L tokens of a sequence, P positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from ksl_bench.lottery.kstest import Floats


def outside(values_V: Tensor, ticket_ids: Sequence[int]) -> Tensor:
    """Return what each row contributes when the ticket's rows contribute nothing.

    Args:
        values_V: KS distance, or length of the change, of each row, float64, shape (V,).
        ticket_ids: Rows that the audited model takes over.

    Returns:
        A copy with zeros at the ticket's rows, shape (V,).
    """
    return values_V.index_fill(0, torch.tensor(ticket_ids, dtype=torch.int64), 0.0)


def prefix_sums(values_V: Tensor, token_ids_L: Sequence[int]) -> Tensor:
    """Sum a value of the distinct tokens of every prefix of a sequence.

    Args:
        values_V: Value of each row, float64, shape (V,).
        token_ids_L: The sequence.

    Returns:
        float64, shape (L,); entry i covers the first i + 1 tokens, each token counted once.
    """
    values_L = torch.zeros(len(token_ids_L), dtype=values_V.dtype)
    seen: set[int] = set()
    for place, token in enumerate(token_ids_L):
        if token not in seen:
            values_L[place] = values_V[token]
            seen.add(token)
    return values_L.cumsum(0)


def prefix_norms(lengths_V: Tensor, token_ids_L: Sequence[int]) -> Tensor:
    """L2 norm of the change of the embedded prefix, every occurrence counted.

    A prefix is embedded as one long vector, so a token that stands in it twice moves it twice.

    Args:
        lengths_V: Length of each row's change, float64, shape (V,).
        token_ids_L: The sequence.

    Returns:
        float64, shape (L,); entry i covers the first i + 1 tokens.
    """
    return lengths_V[list(token_ids_L)].square().cumsum(0).sqrt()


def ks_sum_certifies(sums_P: Tensor, first_P: Tensor, second_P: Tensor) -> Tensor:
    """Apply the KS-sum rule: the sum of D is below half the gap of the two best probabilities.

    It is NOT sound: a row whose values changed places has D = 0, whatever that does to the model.

    Args:
        sums_P: Sum of D over the distinct tokens of the prefix outside the ticket, float64, shape (P,).
        first_P: Largest next-token probability of the audited model, shape (P,).
        second_P: Second largest, shape (P,).

    Returns:
        bool, shape (P,).

    Source: after KS-Lottery (arXiv:2402.02801); the sum over a prefix is ours.
    """
    return sums_P < (first_P - second_P) / 2


def lower_bounds(successes_P: Sequence[int] | Tensor, *, draws: int, alpha: float) -> Floats:
    """One-sided Clopper-Pearson lower confidence bound of a probability.

    Args:
        successes_P: How many of the draws gave the class, integers, shape (P,).
        draws: N, the same for all positions.
        alpha: Probability that a bound lies above the true value, at most.

    Returns:
        float64, shape (P,); 0 where nothing succeeded.

    Source: Clopper and Pearson 1934, by quantiles of the beta distribution; as
        `scipy.stats.binomtest(..., alternative="greater").proportion_ci(1 - alpha, "exact")`.
    """
    successes = np.asarray(successes_P, dtype=np.float64)
    found = stats.beta.ppf(alpha, np.maximum(successes, 1), draws - successes + 1)
    return np.where(successes > 0, found, 0.0)


def radii(lower_P: Floats, *, sigma: float) -> Floats:
    """Return the L2 radius within which the smoothed class cannot change: sigma * Phi^-1(lower).

    Args:
        lower_P: Lower bound of the probability of the class under noise, shape (P,).
        sigma: Standard deviation of the noise on every value of the embedded prefix.

    Returns:
        float64, shape (P,); 0 where the bound is not above 1/2, which certifies nothing.

    Source: Cohen, Rosenfeld and Kolter 2019 (arXiv:1902.02918), theorem 1 with p_B <= 1 - p_A.
    """
    return sigma * stats.norm.ppf(np.maximum(lower_P, 0.5))


def largest_radius(*, sigma: float, draws: int, alpha: float) -> float:
    """Return the radius when all draws agree: no data can give a larger one.

    The bound is then alpha^(1/N), since (lower)^N = alpha.
    """
    return sigma * float(stats.norm.ppf(alpha ** (1 / draws)))
