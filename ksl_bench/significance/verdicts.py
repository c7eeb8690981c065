"""Not shown to be worse is not shown to be as good: non-inferiority within a margin."""

from __future__ import annotations

from enum import StrEnum

from ksl_bench.significance.intervals import Interval


class Verdict(StrEnum):
    """What an interval of a difference says about a margin."""

    NON_INFERIOR = "non_inferior"
    """At most the margin is lost: the interval lies above -margin."""
    WORSE = "worse"
    """More than the margin is lost: the interval lies below -margin."""
    INCONCLUSIVE = "inconclusive"
    """It holds -margin: either may be so."""


def non_inferiority(difference: Interval, margin: float) -> Verdict:
    """Judge whether a candidate loses at most a margin against a reference.

    The ends of a two-sided 95 % interval are those of two one-sided 97.5 % intervals, so each verdict but the
    last is wrong with probability 2.5 % at most.

    Args:
        difference: Candidate less reference.
        margin: What may be lost, in points of the metric; fixed before the numbers are seen.

    Raises:
        ValueError: If the margin is not above 0.

    Source: ICH E9 (1998), section 3.3.2; Piaggio et al. 2012 (10.1001/jama.2012.87802).
    """
    if not margin > 0:
        raise ValueError(f"margin must be > 0, got {margin}")
    if difference.low > -margin:
        return Verdict.NON_INFERIOR
    return Verdict.WORSE if difference.high < -margin else Verdict.INCONCLUSIVE
