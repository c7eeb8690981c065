"""Intervals of one system's score and of the difference of two, over seeds and sentences together.

Shapes: R seeds, B resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ksl_bench.significance.resampling import Floats, System
from ksl_bench.significance.variances import (
    Variances,
    guarded_p_value,
    half_width,
    p_value,
    split,
)

SpeaksOf = Literal["sentences", "seeds and sentences"]

ALPHA = 0.05

ROUNDING = 1e-9
"""Points of a metric: a difference of scores below this is the last bits of two sums, not a difference."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A score or a difference of scores with its interval, in points of the metric.

    It is symmetric and not cut at 0 and 100.
    """

    value: float
    """Mean over seeds."""
    low: float
    high: float
    degrees_of_freedom: float
    """Of the t distribution whose quantile the interval uses."""
    standard_error: float
    seed_variance: float
    """Of the mean over seeds; 0 where `speaks_of` is "sentences"."""
    sentence_variance: float
    """Of the mean over seeds."""
    interaction_variance: float
    """What the other two both hold, taken off once."""
    speaks_of: SpeaksOf
    """What else could have been drawn: with "sentences", other sentences for these trained models only."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first of two systems less the second."""

    interval: Interval
    p_value: float
    """Of no difference, two-sided, from the interval's own t distribution: for one pair by itself."""
    guarded_p_value: float
    """The same for many pairs: it holds at the small levels where a corrected family of tests looks."""
    seeds: tuple[int, ...]
    """The seeds that both have; empty where the systems are compared without pairing their seeds."""


def mean_interval(system: System, *, alpha: float = ALPHA) -> Interval:
    """Return a system's mean over seeds with its 1 - alpha interval.

    With one seed, or none, it speaks of the sentences only, and says so.

    Source: variance components of a two-way random layout (Searle, Casella and McCulloch 1992, chapter 4) by
        bootstrap (Koehn 2004); t with the degrees of freedom of Satterthwaite 1946.
    """
    variances = split(system.scores_R, system.resampled_BR, system.resampling.groups)
    return _interval(float(system.scores_R.mean()), variances, alpha)


def difference(first: System, second: System, *, alpha: float = ALPHA) -> Difference:
    """Return the first system less the second on the same sentences, with its 1 - alpha interval.

    Seeds are paired where both systems have at least two in common (the others are left out), or where one
    of the systems has one seed only and the other has it, too. A fixed system is paired with every seed. Else
    both means stand, and the variances of their seeds add up.

    Args:
        first: Scored on the same resampling as
        second: the other.
        alpha: One less the level of the interval.

    Raises:
        ValueError: If the two were scored on different resamplings.
    """
    if first.resampling is not second.resampling:
        raise ValueError("only systems scored on the same resampling can be compared")
    groups = first.resampling.groups
    common = _common_seeds(first, second)
    if common:
        gaps_R = _snapped(_scores(first, common) - _scores(second, common))
        gaps_BR = _snapped(_resampled(first, common) - _resampled(second, common))
        value, variances = float(gaps_R.mean()), split(gaps_R, gaps_BR, groups)
    else:
        value = float(_snapped(first.scores_R.mean() - second.scores_R.mean()))
        variances = _unpaired(first, second)
    seeds = () if first.fixed and second.fixed else common
    return Difference(
        _interval(value, variances, alpha),
        float(p_value(value, variances)),
        float(guarded_p_value(value, variances)),
        seeds,
    )


def _interval(value: float, variances: Variances, alpha: float) -> Interval:
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must be between 0 and 1, got {alpha}")
    half = float(half_width(variances, alpha))
    return Interval(
        value=value,
        low=value - half,
        high=value + half,
        degrees_of_freedom=float(variances.degrees_of_freedom),
        standard_error=float(np.sqrt(variances.total)),
        seed_variance=float(sum(part for part, _ in variances.seeds)),
        sentence_variance=float(variances.sentences),
        interaction_variance=float(variances.interaction),
        speaks_of="seeds and sentences" if variances.seeds else "sentences",
    )


def _common_seeds(first: System, second: System) -> tuple[int, ...]:
    """Return the seeds to pair; none where the systems are better compared without."""
    if first.fixed:
        return second.seeds
    if second.fixed:
        return first.seeds
    common = tuple(seed for seed in first.seeds if seed in second.seeds)
    alone = min(len(first.seeds), len(second.seeds)) == 1
    return common if len(common) > 1 or alone else ()


def _scores(system: System, seeds: tuple[int, ...]) -> Floats:
    if system.fixed:
        return np.repeat(system.scores_R, len(seeds))
    return system.scores_R[[system.seeds.index(seed) for seed in seeds]]


def _resampled(system: System, seeds: tuple[int, ...]) -> Floats:
    if system.fixed:
        return np.repeat(system.resampled_BR, len(seeds), axis=1)
    return system.resampled_BR[:, [system.seeds.index(seed) for seed in seeds]]


def _unpaired(first: System, second: System) -> Variances:
    """Add the seeds' variances of both; the sentences stay paired. One seed alone tells of no variance."""
    groups = first.resampling.groups
    gap_B1 = (first.resampled_BR.mean(axis=1) - second.resampled_BR.mean(axis=1))[:, None]
    sentences = split(np.zeros(1), _snapped(gap_B1), groups)
    each = [split(one.scores_R, one.resampled_BR, groups) for one in (first, second)]
    if not all(one.seeds for one in each):
        return sentences
    return Variances(
        (*each[0].seeds, *each[1].seeds),
        sentences.sentences,
        groups - 1,
        each[0].interaction + each[1].interaction,
    )


def _snapped(gaps: Floats) -> Floats:
    return np.where(np.abs(gaps) < ROUNDING, 0.0, gaps)
