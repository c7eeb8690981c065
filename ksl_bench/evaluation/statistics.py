"""Metrics as sums over sentences, so that a resample of the sentences is one matrix product.

BLEU and chrF are functions of counts that add up over sentences. Kept by sentence, these counts give the
score of any resample, any document and any share of a test set without the text.

Shapes: N sentences, S numbers a sentence (BLEU 10, chrF 18).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sacrebleu.metrics import CHRF

from ksl_bench.evaluation.metrics import make_scorer

BLEU_ORDER = 4
CHRF_ORDER = int(CHRF.CHAR_ORDER)
CHRF_BETA = int(CHRF.BETA)


def statistics_width(metric: str) -> int:
    """Return S, the numbers that a metric keeps of a sentence."""
    return 3 * CHRF_ORDER if metric == "chrf" else 2 + 2 * BLEU_ORDER


def sentence_statistics(
    metric: str, hypotheses: Sequence[str], references: Sequence[str], language: str
) -> NDArray[np.int32]:
    """Count what a metric needs of every sentence, with sacrebleu.

    Args:
        metric: One of `readings.TEXT_METRICS`.
        hypotheses: One line each, (N,).
        references: As many.
        language: ISO 639-3 code of both, for BLEU's tokenizer.

    Returns:
        int32, (N, S). BLEU: length of hypothesis and reference, matched n-grams by order, n-grams of the
        hypothesis by order. chrF: for every order the n-grams of hypothesis, reference and both.

    Raises:
        ValueError: If there are not as many hypotheses as references.
    """
    if len(hypotheses) != len(references):
        raise ValueError(f"{len(hypotheses)} hypotheses, but {len(references)} references")
    if not hypotheses:
        return np.zeros((0, statistics_width(metric)), dtype=np.int32)
    scorer = make_scorer(metric, language)
    # sacrebleu's own significance tests start from this method, too.
    counts = scorer._extract_corpus_statistics(list(hypotheses), [list(references)])
    return np.asarray(counts, dtype=np.int32)


def corpus_scores(metric: str, summed: ArrayLike) -> NDArray[np.float64]:
    """Score corpora from their summed statistics, as sacrebleu does.

    Args:
        metric: One of `readings.TEXT_METRICS`.
        summed: Statistics summed over sentences, (..., S).

    Returns:
        Scores from 0 to 100, float64, (...).

    Raises:
        ValueError: If the last axis is not S long.
    """
    sums = np.asarray(summed, dtype=np.float64)
    width = statistics_width(metric)
    if sums.ndim == 0 or sums.shape[-1] != width:
        raise ValueError(f"{metric} keeps {width} numbers a sentence, got an array of {sums.shape}")
    return _chrf(sums) if metric == "chrf" else _bleu(sums)


def _bleu(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """BLEU with exponential smoothing (Chen and Cherry 2014, method 3), sacrebleu's default."""
    hypothesis, reference = sums[..., 0], sums[..., 1]
    matched, total = sums[..., 2 : 2 + BLEU_ORDER], sums[..., 2 + BLEU_ORDER :]
    none = matched == 0
    doublings = np.cumsum(none, axis=-1)
    # Where no n-gram of an order was written, sacrebleu's score is 0; the 1 only avoids a division by 0.
    written = np.where(total > 0, total, 1.0)
    precision = np.where(none, 1.0 / (2.0**doublings * written), matched / written)
    defined = (matched > 0).any(axis=-1) & (total > 0).all(axis=-1)
    shortfall = 1.0 - reference / np.where(hypothesis > 0, hypothesis, 1.0)
    brevity = np.exp(np.where(defined, np.minimum(shortfall, 0.0), 0.0))
    scores = 100.0 * brevity * np.exp(np.log(precision).mean(axis=-1))
    return np.where(defined, scores, 0.0)


def _chrf(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """ChrF over the orders that both sides have, sacrebleu's default."""
    counts = sums.reshape(*sums.shape[:-1], CHRF_ORDER, 3)
    hypothesis, reference, both = counts[..., 0], counts[..., 1], counts[..., 2]
    used = (hypothesis > 0) & (reference > 0)
    orders = np.maximum(used.sum(axis=-1), 1)
    precision = np.where(used, both / np.maximum(hypothesis, 1.0), 0.0).sum(axis=-1) / orders
    recall = np.where(used, both / np.maximum(reference, 1.0), 0.0).sum(axis=-1) / orders
    weight = float(CHRF_BETA**2)
    below = weight * precision + recall
    scores: NDArray[np.float64] = 100.0 * (1.0 + weight) * precision * recall
    return scores / np.where(below > 0, below, 1.0)
