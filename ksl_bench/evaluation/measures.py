"""A metric as the scoring needs it: what to keep of every example, and the score of any draw of them.

Shapes: N examples, S numbers kept of each, B resamples, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ksl_bench.detection.auc import auc
from ksl_bench.evaluation.answers import Answers
from ksl_bench.evaluation.metrics import score_corpus
from ksl_bench.evaluation.statistics import corpus_scores, sentence_statistics, statistics_width
from ksl_bench.significance.resampling import Floats, ScoreFunction
from ksl_bench.tasks.language_id import UNKNOWN, Identify
from ksl_bench.tasks.readings import LABEL_METRICS, LANGUAGE_METRICS, TEXT_METRICS


class Measure(Protocol):
    """One metric."""

    def statistics(self, answers: Answers, rule: str) -> NDArray[np.generic]:
        """Return what is kept of every example, (N, S)."""
        ...

    def scores(self, counts_BN: Floats, kept_NS: NDArray[np.generic]) -> Floats:
        """Return the score of every draw, 0 to 100, float64, (B,).

        Args:
            counts_BN: How often each example is in each draw, float64.
            kept_NS: What was kept of the examples.
        """
        ...

    def value(self, answers: Answers, rule: str) -> float:
        """Return the score of all examples, 0 to 100."""
        ...

    def signature(self, answers: Answers, rule: str) -> str:
        """Return all that another needs to compute the same."""
        ...


class TextMeasure:
    """A metric of sacrebleu: hypotheses against references, tokenized as their languages are."""

    def __init__(self, metric: str) -> None:
        """Take one of `readings.TEXT_METRICS`."""
        self.metric = metric

    def statistics(self, answers: Answers, rule: str) -> NDArray[np.generic]:
        """Return sacrebleu's counts of every sentence, int32."""
        kept_NS = np.zeros((len(answers.references), statistics_width(self.metric)), dtype=np.int32)
        for language in dict.fromkeys(answers.languages):
            places = [at for at, one in enumerate(answers.languages) if one == language]
            some = answers.at(places)
            kept_NS[places] = sentence_statistics(
                self.metric, some.hypotheses[rule], some.references, language
            )
        return kept_NS

    def scores(self, counts_BN: Floats, kept_NS: NDArray[np.generic]) -> Floats:
        """Return the score of every draw from its summed counts."""
        return corpus_scores(self.metric, counts_BN @ kept_NS.astype(np.float64))

    def value(self, answers: Answers, rule: str) -> float:
        """Return sacrebleu's own score; of several languages that of their summed counts."""
        spoken = dict.fromkeys(answers.languages)
        if len(spoken) > 1:
            return _of_each_once(self, answers, rule)
        return score_corpus(
            self.metric, answers.hypotheses[rule], answers.references, language=next(iter(spoken))
        ).value

    def signature(self, answers: Answers, rule: str) -> str:
        """Return sacrebleu's signature; of several languages each that occurs."""
        found = {
            score_corpus(self.metric, ["a"], ["a"], language=language).signature: None
            for language in dict.fromkeys(answers.languages)
        }
        return " or ".join(found)


class LabelMeasure:
    """Accuracy or macro-F1 of labels; an answer that is no label counts as wrong."""

    def __init__(self, metric: str, labels: Sequence[str]) -> None:
        """Take "accuracy" or "macro_f1", and all labels, in the order of the task."""
        self.metric, self.labels = metric, tuple(labels)

    def statistics(self, answers: Answers, rule: str) -> NDArray[np.generic]:
        """Return of every example, by label: right, wrongly given, wrongly not given; int32, (N, 3 C)."""
        labels = np.array(self.labels)
        given_NC = np.array(answers.hypotheses[rule])[:, None] == labels
        wanted_NC = np.array(answers.references)[:, None] == labels
        parts = (given_NC & wanted_NC, given_NC & ~wanted_NC, ~given_NC & wanted_NC)
        return np.concatenate(parts, axis=1).astype(np.int32)

    def scores(self, counts_BN: Floats, kept_NS: NDArray[np.generic]) -> Floats:
        """Return the score of every draw from its summed counts; NaN of one without any example."""
        return label_scores(self.metric, counts_BN @ kept_NS.astype(np.float64))

    def value(self, answers: Answers, rule: str) -> float:
        """Return the score of all examples."""
        return _of_each_once(self, answers, rule)

    def signature(self, answers: Answers, rule: str) -> str:
        """Return how the metric is computed."""
        return f"{self.metric}|labels:{len(self.labels)}|unanswered:wrong|version:1"


def label_scores(metric: str, sums: Floats) -> Floats:
    """Score labels from what a `LabelMeasure` keeps, summed over examples.

    Args:
        metric: "accuracy" or "macro_f1".
        sums: (..., 3 C).

    Returns:
        Scores from 0 to 100, float64, (...); NaN where no example was summed.
    """
    right_C, given_C, missed_C = np.split(sums, 3, axis=-1)
    total = (right_C + missed_C).sum(axis=-1)
    if metric == "accuracy":
        with np.errstate(invalid="ignore"):
            found: Floats = 100.0 * right_C.sum(axis=-1) / total
        return found
    below_C = 2 * right_C + given_C + missed_C
    # A label that was neither wanted nor given has no F1; it is left out, as scikit-learn does.
    present_C = below_C > 0
    f1_C = np.where(present_C, 2 * right_C / np.where(present_C, below_C, 1.0), 0.0)
    with np.errstate(invalid="ignore"):
        mean: Floats = 100.0 * f1_C.sum(axis=-1) / present_C.sum(axis=-1)
    return np.where(total > 0, mean, np.nan)


def score_of_sums(metric: str) -> ScoreFunction | None:
    """Return what scores examples from the sum of what is kept of each; None where no sum tells (AUC)."""
    if metric in TEXT_METRICS:
        return partial(corpus_scores, metric)
    return partial(label_scores, metric) if metric in LABEL_METRICS else None


class LanguageMeasure:
    """How many hypotheses are in another language than the wanted one, or in none that can be told."""

    def __init__(self, metric: str, identify: Identify) -> None:
        """Take "off_target" or "no_language", and what tells the language of a text."""
        self.metric, self.identify = metric, identify

    def statistics(self, answers: Answers, rule: str) -> NDArray[np.generic]:
        """Return of every example whether it counts, and 1; int32, (N, 2)."""
        found = [self.identify(line) for line in answers.hypotheses[rule]]
        counted = [
            one == UNKNOWN if self.metric == "no_language" else one not in (UNKNOWN, wanted)
            for one, wanted in zip(found, answers.languages, strict=True)
        ]
        return np.stack([counted, np.ones(len(found))], axis=1).astype(np.int32)

    def scores(self, counts_BN: Floats, kept_NS: NDArray[np.generic]) -> Floats:
        """Return the per cent of every draw; NaN of one without any example."""
        counted_B, all_B = np.moveaxis(counts_BN @ kept_NS.astype(np.float64), -1, 0)
        with np.errstate(invalid="ignore"):
            found: Floats = 100.0 * counted_B / all_B
        return found

    def value(self, answers: Answers, rule: str) -> float:
        """Return the per cent of all examples."""
        return _of_each_once(self, answers, rule)

    def signature(self, answers: Answers, rule: str) -> str:
        """Return how the metric is computed."""
        return f"{self.metric}|version:1"


class AreaMeasure:
    """The area under the ROC curve of what machine text was detected by; 100 where the classes are apart."""

    def __init__(self, positive: str) -> None:
        """Take the label that a high score speaks for."""
        self.positive = positive

    def statistics(self, answers: Answers, rule: str) -> NDArray[np.generic]:
        """Return the score of every text, and 1 where it is of the positive class; float64, (N, 2)."""
        positive_N = [float(one == self.positive) for one in answers.references]
        return np.stack([np.asarray(answers.scores[rule], dtype=np.float64), positive_N], axis=1)

    def scores(self, counts_BN: Floats, kept_NS: NDArray[np.generic]) -> Floats:
        """Return the area of every draw; NaN of one without either class."""
        positive_N = kept_NS[:, 1].astype(bool)
        if positive_N.all() or not positive_N.any():
            return np.full(len(counts_BN), np.nan)
        return 100.0 * auc(kept_NS[:, 0], positive_N, counts_BN)

    def value(self, answers: Answers, rule: str) -> float:
        """Return the area over all texts; NaN where a class is missing."""
        return _of_each_once(self, answers, rule)

    def signature(self, answers: Answers, rule: str) -> str:
        """Return how the area is computed."""
        return f"auc|positive:{self.positive}|ties:half|version:1"


def _of_each_once(measure: Measure, answers: Answers, rule: str) -> float:
    """Return the score of the draw that has every example once."""
    everything = np.ones((1, len(answers.references)))
    return float(measure.scores(everything, measure.statistics(answers, rule))[0])


def build_measure(metric: str, labels: Sequence[str], identify: Identify | None = None) -> Measure:
    """Return the measure of a metric.

    Args:
        metric: One of those that the task knows.
        labels: Of the task; none where answers are free text.
        identify: Tells the language of a text, for the metrics that ask it.
    """
    if metric in LANGUAGE_METRICS:
        assert identify is not None
        return LanguageMeasure(metric, identify)
    if metric == "auc":
        return AreaMeasure(labels[-1])
    return TextMeasure(metric) if metric in TEXT_METRICS else LabelMeasure(metric, labels)
