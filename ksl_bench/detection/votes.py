"""Majority votes of detectors.

A vote is a detector itself, so votes nest: statistical detectors among themselves first, then their vote
with the classifiers (Spiegel and Macko 2024, arXiv:2402.13671).

Shapes: D detectors, N texts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ksl_bench.detection.thresholds import Bools, Floats


def vote_share(votes_DN: ArrayLike) -> Floats:
    """Return the share of detectors that call each text machine; from 0 to 1, float64, (N,).

    Args:
        votes_DN: Whether a detector calls a text machine, bool, (D, N), D > 0.

    Raises:
        ValueError: If there is no detector.
    """
    votes: NDArray[np.bool_] = np.asarray(votes_DN, dtype=bool)
    if votes.ndim != 2 or not len(votes):
        raise ValueError(f"votes must be (detectors, texts), got shape {votes.shape}")
    share: Floats = votes.mean(axis=0, dtype=np.float64)
    return share


def majority(votes_DN: ArrayLike) -> Bools:
    """Call a text machine if more than half of the detectors do; bool, (N,).

    A tie is human: a text is called machine by a true majority only.

    Args:
        votes_DN: Whether a detector calls a text machine, bool, (D, N), D > 0.

    Raises:
        ValueError: If there is no detector.
    """
    decided: Bools = vote_share(votes_DN) > 0.5
    return decided
