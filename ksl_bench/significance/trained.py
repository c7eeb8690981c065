"""Tests on the sentences of two trained models: other seeds of the same methods are not spoken of.

sacrebleu's two tests, draw for draw, from statistics instead of text, and with ties counted. sacrebleu
counts only resamples beyond the difference that was seen: a system compared with itself gets
p = 1 / (B + 1), and one compared with a copy that differs in one sentence is called different. Here
"as far" counts, too, as in Noreen's definition; where there are no ties, the p values are sacrebleu's.

The two do not keep their levels alike. Approximate randomization is two-sided; the paired bootstrap
is kept for comparison with published numbers, and calls equal systems different about twice as often as its
level says (see `paired_bootstrap`).

Shapes: N sentences, S statistics of a sentence, B resamples or trials.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ksl_bench.significance.intervals import ROUNDING
from ksl_bench.significance.resampling import (
    SEED,
    Floats,
    ScoreFunction,
    document_index,
    resample,
)

_BLOCK = 1000


@dataclass(frozen=True, slots=True)
class SentenceTest:
    """Two trained models, told apart by their sentences or not."""

    test: Literal["paired bootstrap", "approximate randomization"]
    difference: float
    """First less second, in points of the metric."""
    p_value: float
    """1 for a system against itself. Two-sided of approximate randomization; of the paired bootstrap
    sacrebleu's, which is too small: about half a two-sided p."""
    resamples: int
    claims: Literal["these trained models only"] = "these trained models only"


def paired_bootstrap(
    first_NS: ArrayLike,
    second_NS: ArrayLike,
    score: ScoreFunction,
    *,
    resamples: int = 1000,
    seed: int = SEED,
    documents: Sequence[Hashable] | None = None,
) -> SentenceTest:
    """Test whether the sentences tell two trained models apart, by sacrebleu's paired bootstrap.

    The p value is the share of resamples whose |gap| exceeds the mean |gap| by |the gap seen|. That mean is
    about the gap seen where there is one, so only one tail counts: p is about half of a two-sided one, and
    equal systems get p < 0.05 about 11 % of the time. It is given since others publish it; judge by
    `approximate_randomization`.

    Args:
        first_NS: Statistics of every sentence, (N, S).
        second_NS: The other model's, on the same sentences.
        score: From sums over sentences to scores.
        resamples: B.
        seed: Of NumPy's default generator; sacrebleu's by default.
        documents: The document of every sentence, (N,): whole documents are drawn.

    Raises:
        ValueError: If the shapes differ, or as `resample` does.

    Source: Koehn 2004 (W04-3250), as Moses and sacrebleu's `PairedTest(test_type="bs")` have it.
    """
    both_2NS = _both(first_NS, second_NS)
    drawn = resample(both_2NS.shape[1], resamples, seed=seed, documents=documents)
    seen = _gaps(both_2NS.sum(axis=1)[:, None], score)[0]
    gaps_B = np.abs(_gaps(drawn.counts_BN @ both_2NS, score))
    return SentenceTest(
        "paired bootstrap", float(seen), _p(gaps_B - gaps_B.mean(), abs(seen)), resamples
    )


def approximate_randomization(
    first_NS: ArrayLike,
    second_NS: ArrayLike,
    score: ScoreFunction,
    *,
    trials: int = 10_000,
    seed: int = SEED,
    documents: Sequence[Hashable] | None = None,
) -> SentenceTest:
    """Test whether two trained models are exchangeable, by swapping their sentences at random.

    Args:
        first_NS: Statistics of every sentence, (N, S).
        second_NS: The other model's, on the same sentences.
        score: From sums over sentences to scores.
        trials: B.
        seed: Of NumPy's default generator; sacrebleu's by default.
        documents: The document of every sentence, (N,): whole documents are swapped.

    Raises:
        ValueError: If the shapes differ, trials < 1, or as `document_index` does.

    Source: Noreen 1989, chapter 2; Riezler and Maxwell 2005 (W05-0908); sacrebleu's `PairedTest`.
    """
    if trials < 1:
        raise ValueError(f"trials must be >= 1, got {trials}")
    both_2NS = _both(first_NS, second_NS)
    index_N = document_index(documents, both_2NS.shape[1])
    groups = int(index_N.max()) + 1
    # One draw for all trials, as sacrebleu makes it: its bits would fall differently by blocks.
    kept_BG = np.random.default_rng(seed).integers(2, size=(trials, groups), dtype=bool)
    total_S = both_2NS.sum(axis=(0, 1))
    moved_NS = both_2NS[0] - both_2NS[1]
    gaps = []
    for start in range(0, trials, _BLOCK):
        kept_BN = kept_BG[start : start + _BLOCK, index_N].astype(np.float64)
        first_BS = kept_BN @ moved_NS + both_2NS[1].sum(axis=0)
        gaps.append(_gaps(np.stack([first_BS, total_S - first_BS]), score))
    seen = _gaps(both_2NS.sum(axis=1)[:, None], score)[0]
    p = _p(np.abs(np.concatenate(gaps)), abs(seen))
    return SentenceTest("approximate randomization", float(seen), p, trials)


def _both(first_NS: ArrayLike, second_NS: ArrayLike) -> Floats:
    first, second = (np.asarray(one, dtype=np.float64) for one in (first_NS, second_NS))
    if first.ndim != 2 or first.shape != second.shape:
        raise ValueError(f"statistics must both be (N, S), got {first.shape} and {second.shape}")
    return np.stack([first, second])


def _gaps(sums_2BS: Floats, score: ScoreFunction) -> Floats:
    gaps_B = score(sums_2BS[0]) - score(sums_2BS[1])
    return np.where(np.abs(gaps_B) < ROUNDING, 0.0, gaps_B)


def _p(statistics_B: Floats, seen: float) -> float:
    """Return the share of draws that lie as far out, the data counted among them (Noreen 1989)."""
    return (int((statistics_B >= seen - ROUNDING).sum()) + 1) / (len(statistics_B) + 1)
