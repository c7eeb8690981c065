"""The area under the ROC curve, of a split and of all its resamples at once.

Shapes: N texts, U distinct scores.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ksl_bench.detection.thresholds import Floats, checked


def auc(scores: ArrayLike, machine: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the probability that a machine text scores higher than a human one; a tie counts half.

    Args:
        scores: Finite, high for machine, (N,).
        machine: True for machine-generated, bool, (N,).
        weights: How often each text counts, (..., N); once where none is given.

    Returns:
        From 0 to 1, float64, (...); NaN where the weights leave out one class.

    Raises:
        ValueError: If shapes do not fit, a score is not finite, or one class is missing.

    Source: Mann and Whitney 1947 (10.1214/aoms/1177730491).
    """
    values, positive = checked(scores, machine)
    counts = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    if counts.shape[-1:] != values.shape:
        raise ValueError(f"weights {counts.shape} are not one a text of {len(values)}")
    levels, level = np.unique(values, return_inverse=True)
    machines = _by_level(counts * positive, level, len(levels))
    humans = _by_level(counts * ~positive, level, len(levels))
    below = np.cumsum(humans, axis=-1) - humans / 2  # humans under a level, and half of those on it
    pairs = machines.sum(axis=-1) * humans.sum(axis=-1)
    won = (machines * below).sum(axis=-1)
    area: Floats = np.divide(won, pairs, out=np.full_like(pairs, np.nan), where=pairs > 0)
    return area


def _by_level(counts: Floats, level: NDArray[np.intp], levels: int) -> Floats:
    """Sum what texts of one score count; (..., N) to (..., U)."""
    order = np.argsort(level, kind="stable")
    starts = np.searchsorted(level[order], np.arange(levels))
    summed: Floats = np.add.reduceat(counts[..., order], starts, axis=-1)
    return summed
