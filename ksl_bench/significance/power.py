"""What a leaderboard could have seen: the smallest difference that its seeds and sentences can show."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy import special, stats
from scipy.optimize import brentq

from ksl_bench.significance.intervals import ALPHA, Interval
from ksl_bench.significance.resampling import Floats

_NODES = 400


def minimum_detectable_difference(
    differences: Sequence[Interval], *, power: float = 0.8, alpha: float = ALPHA
) -> float:
    """Return the true difference that one planned comparison would find, with the given power.

    The pair is a typical one: of the median standard error and the median degrees of freedom, so that a row
    whose seeds lie far apart does not speak for all. A comparison that is one of many needs more: pass
    alpha / P for the first step of Holm's correction over P pairs.

    Args:
        differences: Of pairs of the leaderboard, at least one.
        power: Probability that the two-sided test at alpha finds it.
        alpha: Level of that test.

    Returns:
        Points of the metric; 0 where the typical pair does not vary.

    Raises:
        ValueError: If there is no pair, or power does not lie between alpha and 1.

    Source: noncentral t (Cohen 1988, chapter 2).
    """
    if not differences:
        raise ValueError("a detectable difference needs at least one pair")
    if not 0.0 < alpha < power < 1.0:
        raise ValueError(f"power must be between alpha={alpha} and 1, got {power}")
    typical = float(np.median([one.standard_error for one in differences]))
    if typical == 0.0:
        return 0.0
    freedom = float(np.median([one.degrees_of_freedom for one in differences]))
    return _shift(power, alpha, freedom) * typical


@cache
def _quadrature() -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return nodes, weights


def _shift(power: float, alpha: float, freedom: float) -> float:
    """Return the noncentrality at which a two-sided t test has the power.

    By quadrature over the estimated standard error: scipy's noncentral t is NaN in the far tail.
    """
    nodes, weights = _quadrature()
    estimates = np.sqrt(stats.chi2.ppf((nodes + 1) / 2, freedom) / freedom)
    needed = float(stats.t.isf(alpha / 2, freedom)) * estimates

    def lacking(shift: float) -> float:
        found = special.ndtr(shift - needed) + special.ndtr(-shift - needed)
        return float(weights @ found) / 2 - power

    top = 1.0
    while lacking(top) < 0:
        top *= 2
    return float(brentq(lacking, 0.0, top))
