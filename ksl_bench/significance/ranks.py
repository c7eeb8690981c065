"""Ranks that chance alone could not have made: all pairs, corrected for how many there are.

Shapes: M systems, P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from ksl_bench.significance.intervals import ALPHA, Difference, SpeaksOf, differences
from ksl_bench.significance.resampling import Floats, System


@dataclass(frozen=True, slots=True)
class Pair:
    """Two systems of a leaderboard, compared as one of all its pairs."""

    first: int
    """Place of a system among those that were given."""
    second: int
    difference: Difference
    """First less second."""
    adjusted_p_value: float
    """Holm's, from the guarded p values of all pairs."""
    better: int | None
    """Which of the two is better; None where they cannot be told apart."""


@dataclass(frozen=True, slots=True)
class Rank:
    """The ranks that a system may truly have, 1 the best."""

    best: int
    """1 + the systems shown to be better."""
    worst: int
    """M - the systems shown to be worse."""

    def __str__(self) -> str:
        return str(self.best) if self.best == self.worst else f"{self.best}-{self.worst}"


@dataclass(frozen=True, slots=True)
class Ranking:
    """The ranks of M systems and the pairs that they come from."""

    ranks: tuple[Rank, ...]
    pairs: tuple[Pair, ...]
    """Every two systems once, in the order of the systems."""
    speaks_of: SpeaksOf
    """The least that any pair speaks of."""


def holm(p_values: ArrayLike) -> Floats:
    """Adjust p values so that those below alpha hold together, with probability 1 - alpha.

    Args:
        p_values: Of one family of tests, (P,).

    Returns:
        Adjusted p values in the same order, float64, (P,).

    Source: Holm 1979 (Scandinavian Journal of Statistics 6, 65-70).
    """
    p_P = np.asarray(p_values, dtype=np.float64)
    order_P = np.argsort(p_P, kind="stable")
    stepped_P = np.maximum.accumulate(p_P[order_P] * np.arange(len(p_P), 0, -1))
    adjusted_P = np.empty_like(p_P)
    adjusted_P[order_P] = np.minimum(stepped_P, 1.0)
    return adjusted_P


def rank_systems(systems: Sequence[System], *, alpha: float = ALPHA) -> Ranking:
    """Compare all pairs and give every system the ranks that it may have.

    Two systems share a rank unless one is shown to be better. The probability that any pair at all is told
    apart wrongly is alpha at most.

    Args:
        systems: Scored on one draw, higher is better, (M,).
        alpha: Of the whole family of pairs, and of each pair's interval.

    Raises:
        ValueError: As `differences` does.
    """
    places = list(combinations(range(len(systems)), 2))
    gaps = differences([(systems[i], systems[j]) for i, j in places], alpha=alpha)
    adjusted_P = holm([gap.guarded_p_value for gap in gaps])
    pairs = tuple(
        Pair(i, j, gap, float(p), _better(i, j, gap, float(p), alpha))
        for (i, j), gap, p in zip(places, gaps, adjusted_P, strict=True)
    )
    seeds_too = all(gap.interval.speaks_of == "seeds and sentences" for gap in gaps)
    return Ranking(
        rank_intervals(len(systems), pairs),
        pairs,
        "seeds and sentences" if gaps and seeds_too else "sentences",
    )


def rank_intervals(systems: int, pairs: Sequence[Pair]) -> tuple[Rank, ...]:
    """Return the ranks that each of M systems may have, from pairs that were judged."""
    above, below = [0] * systems, [0] * systems
    for pair in pairs:
        if pair.better is not None:
            below[pair.better] += 1
            above[pair.second if pair.better == pair.first else pair.first] += 1
    return tuple(Rank(1 + above[i], systems - below[i]) for i in range(systems))


def _better(
    first: int, second: int, gap: Difference, adjusted_p: float, alpha: float
) -> int | None:
    if adjusted_p >= alpha or gap.interval.value == 0:
        return None
    return first if gap.interval.value > 0 else second
