"""Thresholds from a calibration split: one for all texts, and one a language where it has enough of them.

Shapes: N texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which score on a text is called machine-generated."""

    all_texts: float
    """Of all languages together."""
    by_language: Mapping[str, float]
    """Of each language with enough texts of either class; infinite where nothing is called machine."""

    def of(self, language: str) -> float:
        """Return a language's threshold; that of all texts where it has none of its own."""
        return self.by_language.get(language, self.all_texts)

    def calibrated(self, scores: ArrayLike, languages: Sequence[str]) -> Bools:
        """Tell by the threshold of its language whether each text is called machine; bool, (N,)."""
        return self._decide(scores, [self.of(one) for one in languages])

    def globally(self, scores: ArrayLike) -> Bools:
        """Tell by the threshold of all texts whether each text is called machine; bool, (N,)."""
        return self._decide(scores, self.all_texts)

    def _decide(self, scores: ArrayLike, thresholds: ArrayLike) -> Bools:
        decided: Bools = np.asarray(scores, dtype=np.float64) >= np.asarray(thresholds)
        return decided


def youden_threshold(scores: ArrayLike, machine: ArrayLike) -> float:
    """Return the threshold with the largest difference of true and false positive rate.

    A text is called machine if its score is at least the threshold. Candidates are the scores and infinity.
    Of several that are best the highest is taken, which calls the fewest texts machine.

    Args:
        scores: Finite, high for machine, (N,).
        machine: True for machine-generated, bool, (N,).

    Returns:
        The threshold; infinity where no score is better than calling nothing machine.

    Raises:
        ValueError: If shapes differ, a score is not finite, or one class is missing.

    Source: Youden 1950 (10.1002/1097-0142(1950)3:1<32::AID-CNCR2820030106>3.0.CO;2-3).
    """
    values, positive = checked(scores, machine)
    order = np.argsort(-values, kind="stable")
    falling, hits = values[order], positive[order]
    last = np.append(
        np.flatnonzero(np.diff(falling)), len(falling) - 1
    )  # of texts that score alike
    true_positives = np.cumsum(hits)[last].astype(np.int64)
    false_positives = last + 1 - true_positives
    # Whole numbers: TPR - FPR times both class sizes, so that ties are ties.
    humans, machines = int((~positive).sum()), int(positive.sum())
    gain = np.append(0, true_positives * humans - false_positives * machines)
    return float(np.append(np.inf, falling[last])[int(np.argmax(gain))])


def calibrate(
    scores: ArrayLike,
    machine: ArrayLike,
    languages: Sequence[str],
    *,
    fewest_per_class: int,
) -> Thresholds:
    """Choose thresholds on a calibration split.

    Args:
        scores: Finite, high for machine, (N,).
        machine: True for machine-generated, bool, (N,).
        languages: Of each text, (N,).
        fewest_per_class: Human and machine texts that a language must have for a threshold of its own.

    Raises:
        ValueError: As `youden_threshold`, or if there are not as many languages.
    """
    values, positive = checked(scores, machine)
    names = np.asarray(languages, dtype=object)
    if names.shape != values.shape:
        raise ValueError(f"{len(values)} scores, but {len(names)} languages")
    by_language = {}
    for language in sorted(set(languages)):
        own = names == language
        if min(positive[own].sum(), (~positive[own]).sum()) >= fewest_per_class:
            by_language[language] = youden_threshold(values[own], positive[own])
    return Thresholds(youden_threshold(values, positive), by_language)


def checked(scores: ArrayLike, machine: ArrayLike) -> tuple[Floats, Bools]:
    """Return scores and classes of texts as arrays.

    Raises:
        ValueError: If shapes differ, a score is not finite, or one class is missing.
    """
    values, positive = np.asarray(scores, dtype=np.float64), np.asarray(machine, dtype=bool)
    if values.ndim != 1 or values.shape != positive.shape:
        raise ValueError(f"scores {values.shape} and classes {positive.shape} must be one a text")
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} scores are not finite")
    if positive.all() or not positive.any():
        kind = "machine" if positive.any() else "human"
        raise ValueError(f"both classes are needed, got {len(values)} {kind} texts only")
    return values, positive
