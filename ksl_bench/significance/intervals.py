"""Intervals of one system's score and of the difference of two, over seeds and sentences together.

Shapes: X systems or pairs at once, R seeds, B resamples.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ksl_bench.significance.resampling import Floats, System
from ksl_bench.significance.variances import (
    Variances,
    guarded_p_value,
    half_width,
    p_value,
    split,
    split_centred,
)

SpeaksOf = Literal["sentences", "seeds and sentences"]

ALPHA = 0.05

_BLOCK = 200

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
    """The same for many pairs: it holds at the small levels where a corrected family of tests looks. NaN
    where no family was meant."""
    seeds: tuple[int, ...]
    """The seeds that both have; empty where the systems are compared without pairing their seeds."""


def mean_interval(system: System, *, alpha: float = ALPHA) -> Interval:
    """Return a system's mean over seeds with its 1 - alpha interval; see `mean_intervals`."""
    return mean_intervals([system], alpha=alpha)[0]


def mean_intervals(systems: Sequence[System], *, alpha: float = ALPHA) -> list[Interval]:
    """Return the mean over seeds of every system with its 1 - alpha interval.

    With one seed, or none, it speaks of the sentences only, and says so.

    Source: variance components of a two-way random layout (Searle, Casella and McCulloch 1992, chapter 4) by
        bootstrap (Koehn 2004); t with the degrees of freedom of Satterthwaite 1946.
    """
    _check(alpha)
    found: dict[int, Interval] = {}
    for places in _alike([(*one.resampled_BR.shape, one.draw.groups) for one in systems]):
        some = [systems[place] for place in places]
        scores_XR = np.stack([one.scores_R for one in some])
        centred_XRB = np.stack([one.centred_RB for one in some])
        variances = split_centred(scores_XR, centred_XRB, some[0].draw.groups)
        found.update(zip(places, _intervals(scores_XR.mean(axis=1), variances, alpha), strict=True))
    return [found[place] for place in range(len(systems))]


def difference(first: System, second: System, *, alpha: float = ALPHA) -> Difference:
    """Return the first system less the second; see `differences`."""
    return differences([(first, second)], alpha=alpha)[0]


def differences(
    pairs: Sequence[tuple[System, System]], *, alpha: float = ALPHA, guarded: bool = True
) -> list[Difference]:
    """Return for every pair the first system less the second on the same sentences, with its interval.

    Seeds are paired where both systems have at least two in common (the others are left out), or where one
    of the systems has one seed only and the other has it, too. A fixed system is paired with every seed. Else
    both means stand, and the variances of their seeds add up.

    Args:
        pairs: Of systems on the same draw.
        alpha: One less the level of the intervals.
        guarded: Whether they are tested as one family; else the guarded p-values, which take a third of
            the time, are NaN.

    Raises:
        ValueError: If two were scored on different draws.
    """
    _check(alpha)
    if any(first.draw != second.draw for first, second in pairs):
        raise ValueError("only systems scored on the same draw can be compared")
    seeds = [_common_seeds(first, second) for first, second in pairs]
    # Pairs without common seeds are few; each is one of its kind.
    shapes = [
        (len(seeds[place]), first.draw, first.draw.groups) if seeds[place] else place
        for place, (first, _) in enumerate(pairs)
    ]
    found: dict[int, Difference] = {}
    for places in _alike(shapes):
        some = [pairs[place] for place in places]
        if isinstance(shapes[places[0]], int):
            values_X, variances = _unpaired(*some[0])
        else:
            values_X, variances = _paired(some, [seeds[place] for place in places])
        intervals = _intervals(values_X, variances, alpha)
        p_X = p_value(values_X, variances)
        guarded_X = guarded_p_value(values_X, variances) if guarded else np.full_like(p_X, np.nan)
        for place, interval, p, guarded in zip(places, intervals, p_X, guarded_X, strict=True):
            told = _told(*pairs[place], seeds[place])
            found[place] = Difference(interval, float(p), float(guarded), told)
    return [found[place] for place in range(len(pairs))]


def _check(alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must be between 0 and 1, got {alpha}")


def _alike(shapes: Sequence[Hashable]) -> Iterator[list[int]]:
    """Yield the places of those that have one shape, so many at once as memory likes."""
    places: dict[Hashable, list[int]] = {}
    for place, shape in enumerate(shapes):
        places.setdefault(shape, []).append(place)
    for one in places.values():
        yield from (one[start : start + _BLOCK] for start in range(0, len(one), _BLOCK))


def _told(first: System, second: System, seeds: tuple[int, ...]) -> tuple[int, ...]:
    return () if first.fixed and second.fixed else seeds


def _intervals(values_X: Floats, variances: Variances, alpha: float) -> list[Interval]:
    half_X = half_width(variances, alpha)
    seeds_X = sum((part for part, _ in variances.seeds), np.zeros_like(values_X))
    columns = (
        values_X,
        values_X - half_X,
        values_X + half_X,
        variances.degrees_of_freedom,
        np.sqrt(variances.total),
        seeds_X,
        variances.sentences,
        variances.interaction,
    )
    speaks_of: SpeaksOf = "seeds and sentences" if variances.seeds else "sentences"
    rows: Any = np.stack(columns, axis=-1).tolist()
    return [Interval(*(*numbers, speaks_of)) for numbers in rows]


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


def _of_seeds(system: System, seeds: tuple[int, ...]) -> Floats:
    if system.fixed:
        return np.broadcast_to(system.centred_RB, (len(seeds), system.draw.resamples))
    if seeds == system.seeds:
        return system.centred_RB
    return system.centred_RB[[system.seeds.index(seed) for seed in seeds]]


def _paired(
    pairs: Sequence[tuple[System, System]], seeds: Sequence[tuple[int, ...]]
) -> tuple[Floats, Variances]:
    both = [(*pair, common) for pair, common in zip(pairs, seeds, strict=True)]
    gaps_XR = np.stack([_scores(one, common) - _scores(two, common) for one, two, common in both])
    draw = pairs[0][0].draw
    gaps_XRB = np.empty((*gaps_XR.shape, draw.resamples))
    for gap_RB, (one, two, common) in zip(gaps_XRB, both, strict=True):
        np.subtract(_of_seeds(one, common), _of_seeds(two, common), out=gap_RB)
    gaps_XR = _snapped(gaps_XR)
    return gaps_XR.mean(axis=1), _beyond_rounding(split_centred(gaps_XR, gaps_XRB, draw.groups))


def _unpaired(first: System, second: System) -> tuple[Floats, Variances]:
    """Add the seeds' variances of both; the sentences stay paired. One seed alone tells of no variance."""
    groups = first.draw.groups
    value_X = _snapped(np.array([first.scores_R.mean() - second.scores_R.mean()]))
    gap_XB1 = (first.resampled_BR.mean(axis=1) - second.resampled_BR.mean(axis=1))[None, :, None]
    sentences = _beyond_rounding(split(np.zeros((1, 1)), gap_XB1, groups))
    each = [split(one.scores_R[None], one.resampled_BR[None], groups) for one in (first, second)]
    if not all(one.seeds for one in each):
        return value_X, sentences
    interaction = each[0].interaction + each[1].interaction
    seeds = (*each[0].seeds, *each[1].seeds)
    return value_X, Variances(seeds, sentences.sentences, groups - 1, interaction)


def _snapped(gaps: Floats) -> Floats:
    return np.where(np.abs(gaps) < ROUNDING, 0.0, gaps)


def _beyond_rounding(variances: Variances) -> Variances:
    """Return variances of differences, those of nothing but rounding as 0."""
    sentences, interaction = (
        np.where(one < ROUNDING**2, 0.0, one)
        for one in (variances.sentences, variances.interaction)
    )
    return replace(variances, sentences=sentences, interaction=interaction)
